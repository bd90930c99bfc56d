"""Rulebooks as arrays, and what is computed with them: `spconv.pytorch.ops`.

Signatures and results are upstream's; kernels are gossamer's, so a timer, an allocator or a flag
that chooses among upstream's kernels changes nothing. Everything here has gradients.
"""

from collections.abc import Sequence
from math import prod

import numpy as np
import torch
from torch import Tensor

from gossamer.checks import per_axis, whole
from gossamer.compat.arrays.building import conv_size, deconv_size, rows_of
from gossamer.compat.arrays.building import get_indice_pairs as _native
from gossamer.compat.arrays.building import get_indice_pairs_implicit_gemm as _implicit
from gossamer.compat.arrays.conv import LINEAR, lists, tables
from gossamer.compat.arrays.layouts import TILE, split_masks, tile_masks
from gossamer.compat.arrays.pooling import global_pool_rearrange as global_pool_rearrange
from gossamer.compat.arrays.pooling import (
    indice_avgpool_implicit_gemm as indice_avgpool_implicit_gemm,
)
from gossamer.compat.arrays.pooling import (
    indice_avgpool_implicit_gemm_backward as indice_avgpool_implicit_gemm_backward,
)
from gossamer.compat.arrays.pooling import indice_maxpool as indice_maxpool
from gossamer.compat.arrays.pooling import indice_maxpool_backward as indice_maxpool_backward
from gossamer.compat.arrays.pooling import (
    indice_maxpool_implicit_gemm as indice_maxpool_implicit_gemm,
)
from gossamer.compat.arrays.pooling import (
    indice_maxpool_implicit_gemm_backward as indice_maxpool_implicit_gemm_backward,
)
from gossamer.compat.arrays.pooling import maximum_value_int_ as maximum_value_int_
from gossamer.compat.cumm import tensorview as tv
from gossamer.compat.layers.activation import NONE, activate, number
from gossamer.compat.spconv.constants import ALL_WEIGHT_IS_KRSC as ALL_WEIGHT_IS_KRSC
from gossamer.compat.spconv.constants import FILTER_HWIO as FILTER_HWIO
from gossamer.compat.spconv.constants import SPCONV_ALLOW_TF32 as SPCONV_ALLOW_TF32
from gossamer.compat.spconv.constants import SPCONV_CPP_GEMM as SPCONV_CPP_GEMM
from gossamer.compat.spconv.constants import SPCONV_CPP_INDICE_PAIRS as SPCONV_CPP_INDICE_PAIRS
from gossamer.compat.spconv.constants import (
    SPCONV_CPP_INDICE_PAIRS_IGEMM as SPCONV_CPP_INDICE_PAIRS_IGEMM,
)
from gossamer.compat.spconv.constants import (
    SPCONV_DIRECT_TABLE_HASH_SIZE_SCALE as SPCONV_DIRECT_TABLE_HASH_SIZE_SCALE,
)
from gossamer.compat.spconv.constants import SPCONV_DO_SORT as SPCONV_DO_SORT
from gossamer.compat.spconv.constants import SPCONV_USE_DIRECT_TABLE as SPCONV_USE_DIRECT_TABLE
from gossamer.compat.spconv.constants import AllocKeys as AllocKeys
from gossamer.compat.spconv.core import AlgoHint as AlgoHint
from gossamer.compat.spconv.core import ConvAlgo as ConvAlgo
from gossamer.compat.spconv.cppconstants import CPU_ONLY_BUILD as CPU_ONLY_BUILD
from gossamer.compat.spconv.pytorch.core import ThrustSortAllocator as ThrustSortAllocator
from gossamer.compat.spconv.pytorch.cppcore import get_arch as get_arch
from gossamer.compat.spconv.pytorch.cppcore import get_current_stream as get_current_stream
from gossamer.compat.spconv.pytorch.cppcore import torch_tensor_to_tv as torch_tensor_to_tv
from gossamer.compat.spconv.tools import CUDAKernelTimer as CUDAKernelTimer
from gossamer.compat.spconv.utils import nullcontext as nullcontext

INT32_MAX = torch.iinfo(torch.int32).max
DEBUG = False
DEBUG_INT64_HASH_K = False

_UNTIMED = CUDAKernelTimer(False)
_NONE = tv.gemm.Activation.None_
Ints = Sequence[int]
PerAxis = int | Ints


def get_conv_output_size(
    input_size: Ints, kernel_size: Ints, stride: Ints, padding: Ints, dilation: Ints
) -> list[int]:
    """The spatial shape after a convolution or pooling; 1 an axis where `kernel_size` is -1."""
    return conv_size(input_size, kernel_size, stride, padding, dilation)


def get_deconv_output_size(
    input_size: Ints,
    kernel_size: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    output_padding: Ints,
) -> list[int]:
    """The spatial shape after a transposed convolution; dilation has no part in it.

    Raises:
        ValueError: `kernel_size` is -1 on an axis.
    """
    return deconv_size(input_size, kernel_size, stride, padding, dilation, output_padding)


def get_indice_pairs(
    indices: Tensor,
    batch_size: int,
    spatial_shape: list[int],
    algo: ConvAlgo,
    ksize: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    out_padding: list[int],
    subm: bool = False,
    transpose: bool = False,
    num_out_act_bound: int = -1,
) -> tuple[Tensor, Tensor, Tensor]:
    """Output sites, and the lists of ConvAlgo.Native.

    Args:
        indices: [N, 1+D] int32, (batch, axes), in any order; rows may repeat.
        batch_size: B.
        spatial_shape: D ints.
        ksize, stride, padding, dilation, out_padding: one int or D.
        algo, num_out_act_bound: not looked at.
        subm: whether outputs are the input's rows; `stride` and `padding` then have nothing to say.
        transpose: whether outputs are all sites that taps reach.

    Returns:
        out_inds: [M, 1+D] int32, sorted; where `subm`, `indices` themselves.
        indice_pairs: [2, K, N] int32, rows read and rows written, -1 past the count.
        indice_pair_num: [K] int32, the counts; where `subm`, only of taps before the centre.

    Raises:
        RuntimeError: an even submanifold kernel, or an empty output shape.
        ValueError: a wrong shape, or a row out of range.
    """
    sites = indices, whole("batch_size", batch_size), _shape(spatial_shape)
    sizes = _sizes(indices, ksize, stride, padding, dilation, out_padding)
    out, pairs, counts = _native(*sites, *sizes, bool(subm), bool(transpose))
    return (indices[:] if subm else out), pairs, counts


def get_indice_pairs_implicit_gemm(
    indices: Tensor,
    batch_size: int,
    spatial_shape: list[int],
    algo: ConvAlgo,
    ksize: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    out_padding: list[int],
    subm: bool = False,
    transpose: bool = False,
    is_train: bool = True,
    alloc: ThrustSortAllocator | None = None,
    timer: CUDAKernelTimer = _UNTIMED,
    num_out_act_bound: int = -1,
    direct_table: bool = SPCONV_USE_DIRECT_TABLE,
    do_sort: bool = SPCONV_DO_SORT,
) -> tuple:
    """Output sites, and the tables of the implicit-GEMM algorithms.

    Args:
        indices, batch_size, spatial_shape, ksize, stride, padding, dilation, out_padding, subm,
            transpose: as in `get_indice_pairs`.
        algo: whether bit sets come in one or in two splits.
        is_train: whether a submanifold kernel gets what only gradients need.
        alloc, timer, direct_table: not looked at.
        num_out_act_bound: how many outputs there may be, of which the first are kept; -1 for all.
        do_sort: whether bit sets are sorted.

    Returns:
        out_inds: [M, 1+D] int32, sorted; where `subm`, `indices` themselves.
        num_inds_per_loc: [K] int32 of zeros.
        pair_fwd, pair_bwd, pair_mask_fwd_splits, pair_mask_bwd_splits, mask_argsort_fwd_splits,
            mask_argsort_bwd_splits, masks: as `ImplicitGemmIndiceData` has them; `pair_bwd` and
            the bit sets of inputs are empty for a submanifold kernel that is not trained.

    Raises:
        RuntimeError: an even submanifold kernel, or an empty output shape.
        ValueError: a wrong shape, a row out of range, rows that repeat where a table can't say so.
    """
    sites = indices, whole("batch_size", batch_size), _shape(spatial_shape)
    sizes = _sizes(indices, ksize, stride, padding, dilation, out_padding)
    masks = split_masks(prod(sizes[0]), algo)
    last = number(algo), is_train, num_out_act_bound, do_sort
    out, *arrays = _implicit(*sites, *sizes, bool(subm), bool(transpose), *last)
    return (indices if subm else out), *arrays, masks


def _shape(spatial_shape: Ints) -> list[int]:
    return [whole("spatial_shape's size", n) for n in spatial_shape]


def _sizes(indices: Tensor, *values: PerAxis) -> list[tuple[int, ...]]:
    """D ints of each; what is out of range is the kernel's to say."""
    ndim = indices.shape[-1] - 1
    names = ("ksize", "stride", "padding", "dilation", "out_padding")
    pairs = zip(names, values, strict=True)
    return [per_axis(name, value, ndim, -INT32_MAX) for name, value in pairs]


def indice_conv(
    features: Tensor,
    filters: Tensor,
    indice_pairs: Tensor,
    indice_pair_num: Tensor,
    num_activate_out: int,
    inverse: bool = False,
    subm: bool = False,
    algo: ConvAlgo = ConvAlgo.Native,
    timer: CUDAKernelTimer = _UNTIMED,
    bias: Tensor | None = None,
    act_alpha: float = 0.0,
    act_beta: float = 0.0,
    act_type: tv.gemm.Activation = _NONE,
) -> Tensor:
    """[M, C_out]: a convolution over lists, plus a bias, through an activation.

    Args:
        features: [N, C_in].
        filters: [C_out, *ksize, C_in], of the dtype of features.
        indice_pairs, indice_pair_num: as `get_indice_pairs` returns them.
        num_activate_out: M.
        inverse: whether the lists are read backwards.
        subm: whether they leave out half of the counts.
        algo, timer, act_beta: not looked at.
        bias: [C_out].
        act_alpha: LeakyReLU's slope below zero.
        act_type: the activation.

    Raises:
        TypeError: dtypes differ, or an array is not of ints.
        ValueError: a wrong shape, or a count or row out of range.
    """
    way = rows_of(num_activate_out), inverse, subm
    steps = bias, float(act_alpha), float(act_beta), number(act_type)
    return lists.conv(features, filters, indice_pairs, indice_pair_num, *way, *steps)


def fused_indice_conv(
    features: Tensor,
    filters: Tensor,
    bias: Tensor,
    indice_pairs: Tensor,
    indice_pair_num: Tensor,
    num_activate_out: int,
    inverse: bool,
    subm: bool,
) -> Tensor:
    """[M, C_out]: `indice_conv` with a bias."""
    arrays = indice_pairs, indice_pair_num, num_activate_out
    return indice_conv(features, filters, *arrays, inverse, subm, bias=bias)


def indice_conv_backward(
    features: Tensor,
    filters: Tensor,
    out_bp: Tensor,
    indice_pairs: Tensor,
    indice_pair_num: Tensor,
    inverse: bool = False,
    subm: bool = False,
    algo: ConvAlgo = ConvAlgo.Native,
    timer: CUDAKernelTimer = _UNTIMED,
) -> tuple[Tensor, Tensor]:
    """The gradients of features and filters, of their shapes, from that of the result.

    Args:
        out_bp: [M, C_out].
        features, filters, indice_pairs, indice_pair_num, inverse, subm, algo, timer: as in
            `indice_conv`.
    """
    arrays, flipped = (indice_pairs, indice_pair_num), filters.transpose(0, -1)
    back = features.shape[0], not inverse, subm
    grad = lists.conv(out_bp, flipped, *arrays, *back, *LINEAR)
    grad_filters = lists.weight_grad(features, out_bp, *arrays, inverse, subm)
    return grad, grad_filters.view(filters.shape)


def implicit_gemm(
    features: Tensor,
    filters: Tensor,
    pair_fwd: Tensor,
    pair_mask_fwd_splits: list[Tensor],
    mask_argsort_fwd_splits: list[Tensor],
    num_activate_out: int,
    masks: list[np.ndarray],
    is_train: bool,
    is_subm: bool,
    timer: CUDAKernelTimer = _UNTIMED,
    fp32_accum: bool | None = None,
    bias: Tensor | None = None,
    act_alpha: float = 0.0,
    act_beta: float = 0.0,
    act_type: tv.gemm.Activation = _NONE,
    output_scale: float = 1.0,
    scale: Tensor | None = None,
    output_add: Tensor | None = None,
    output_add_scale: float = 0.0,
    output_dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor | None, int]:
    """A convolution over a table, plus a bias and a residual, through an activation.

    Args:
        features, filters, num_activate_out, bias, act_alpha, act_type: as in `indice_conv`.
        pair_fwd: [K, M] int32, the row that each output reads, or -1.
        pair_mask_fwd_splits: the sorted bit sets of outputs, for `mask_out` alone.
        is_train: whether to return `mask_out`.
        output_scale, scale, output_add_scale: of 8-bit products, which there are none of.
        output_add: [M, C_out], added before the activation.
        output_dtype: of the result. Default: that of features.

    Returns:
        out: [M, C_out].
        mask_out: int32, the taps of every `mask_width` bit sets, or None.
        mask_width: TILE.

    Raises:
        NotImplementedError: features are of 8 bits, or something is to be scaled.
        TypeError, ValueError: as `indice_conv`.
    """
    _check_unscaled(features, output_scale, scale)
    act = number(act_type)
    steps = bias, float(act_alpha), 0.0, act if output_add is None else NONE
    y = tables.conv(features, filters, pair_fwd, rows_of(num_activate_out), False, False, *steps)
    if output_add is not None:
        y = activate(y + output_add, act, act_alpha)
    mask_out = tile_masks(pair_mask_fwd_splits) if is_train and pair_mask_fwd_splits else None
    return (y if output_dtype is None else y.to(output_dtype)), mask_out, TILE


def _check_unscaled(features: Tensor, output_scale: float, scale: Tensor | None) -> None:
    if not features.is_floating_point() or scale is not None or output_scale != 1.0:
        raise NotImplementedError(
            f"features are {features.dtype}, output_scale is {output_scale}, scale is {scale}; "
            "there are no 8-bit products here; use dequantize(), and floating filters"
        )


def implicit_gemm_backward(
    features: Tensor,
    filters: Tensor,
    out_bp: Tensor,
    pair_fwd: Tensor,
    pair_bwd: Tensor,
    pair_mask_fwd_splits: list[Tensor],
    pair_mask_bwd_splits: list[Tensor],
    mask_argsort_fwd_splits: list[Tensor],
    mask_argsort_bwd_splits: list[Tensor],
    mask_output_fwd: Tensor | None,
    masks: list[np.ndarray],
    mask_width: int,
    is_subm: bool,
    timer: CUDAKernelTimer = _UNTIMED,
    fp32_accum: bool | None = None,
) -> tuple[Tensor, Tensor]:
    """The gradients of features and filters, of their shapes, from that of the result.

    Args:
        out_bp: [M, C_out].
        features, filters, pair_fwd: as in `implicit_gemm`.
        pair_bwd and all the others: not looked at; `pair_fwd` says it all.
    """
    back = features.shape[0], True, False
    flipped = filters.transpose(0, -1)
    grad = tables.conv(out_bp, flipped, pair_fwd, *back, *LINEAR)
    grad_filters = tables.weight_grad(features, out_bp, pair_fwd, False, False)
    return grad, grad_filters.view(filters.shape)
