"""Convolutions and poolings over arrays, and sums of tensors: `spconv.pytorch.functional`.

Each comes as a function and as an autograd Function with upstream's arguments. Both have gradients
of every order, for the bias too, in training and in eval, and follow torch.autocast. A function is
one node under torch.compile.
"""

from collections.abc import Callable

import numpy as np
from torch import Tensor
from torch.autograd import Function

from gossamer.compat.arrays import conv as array_conv
from gossamer.compat.arrays import pool as array_pool
from gossamer.compat.arrays.building import rows_of
from gossamer.compat.arrays.conv import Family, lists, tables
from gossamer.compat.cumm import tensorview as tv
from gossamer.compat.layers.activation import number
from gossamer.compat.rows.union import indice_to_scalar, union
from gossamer.compat.spconv.core import ConvAlgo
from gossamer.compat.spconv.debug_utils import spconv_save_debug_data as spconv_save_debug_data
from gossamer.compat.spconv.pytorch import ops as ops
from gossamer.compat.spconv.pytorch.core import SparseConvTensor as SparseConvTensor
from gossamer.compat.spconv.pytorch.hash import HashTable as HashTable
from gossamer.compat.spconv.tools import CUDAKernelTimer as CUDAKernelTimer
from gossamer.nn.autocast import in_autocast_dtype

_UNTIMED = CUDAKernelTimer(False)
_NONE = tv.gemm.Activation.None_


def _convolved(
    family: Family, features: Tensor, filters: Tensor, arrays: tuple, way: tuple, steps: tuple, ctx
) -> Tensor:
    """A convolution in autocast's dtype; `ctx`, where there is one, keeps what gradients need."""
    bias, alpha, beta, act = steps
    last = float(alpha), float(beta), number(act)
    x, w, b = in_autocast_dtype(features, filters, bias)
    y = family.conv(x, w, *arrays, *way, b, *last)
    if ctx is not None:
        array_conv.save(ctx, (features, filters, *arrays, *way, bias, *last), y)
    return y


def indice_conv(
    features: Tensor,
    filters: Tensor,
    indice_pairs: Tensor,
    indice_pair_num: Tensor,
    num_activate_out: int,
    algo: ConvAlgo,
    timer: CUDAKernelTimer = _UNTIMED,
    bias: Tensor | None = None,
    act_alpha: float = 0.0,
    act_beta: float = 0.0,
    act_type: tv.gemm.Activation = _NONE,
) -> Tensor:
    """[M, C_out]: a convolution over the lists of a regular or transposed kernel.

    Args:
        features: [N, C_in].
        filters: [C_out, *ksize, C_in].
        indice_pairs, indice_pair_num: as `ops.get_indice_pairs` returns them.
        num_activate_out: M.
        algo, timer, act_beta: not looked at.
        bias: [C_out].
        act_alpha: LeakyReLU's slope below zero.
        act_type: an activation.

    Raises:
        TypeError: dtypes differ, or an array is not of ints.
        ValueError: a wrong shape, or a count or row out of range.
    """
    arrays, way = (
        (indice_pairs, indice_pair_num),
        (rows_of(num_activate_out), False, False),
    )
    steps = bias, act_alpha, act_beta, act_type
    return _convolved(lists, features, filters, arrays, way, steps, None)


def indice_inverse_conv(
    features: Tensor,
    filters: Tensor,
    indice_pairs: Tensor,
    indice_pair_num: Tensor,
    num_activate_out: int,
    algo: ConvAlgo,
    timer: CUDAKernelTimer = _UNTIMED,
    bias: Tensor | None = None,
    act_alpha: float = 0.0,
    act_beta: float = 0.0,
    act_type: tv.gemm.Activation = _NONE,
) -> Tensor:
    """`indice_conv` over the lists read backwards, onto the rows that they were made from."""
    arrays, way = (
        (indice_pairs, indice_pair_num),
        (rows_of(num_activate_out), True, False),
    )
    steps = bias, act_alpha, act_beta, act_type
    return _convolved(lists, features, filters, arrays, way, steps, None)


def indice_subm_conv(
    features: Tensor,
    filters: Tensor,
    indice_pairs: Tensor,
    indice_pair_num: Tensor,
    num_activate_out: int,
    algo: ConvAlgo,
    timer: CUDAKernelTimer = _UNTIMED,
    bias: Tensor | None = None,
    act_alpha: float = 0.0,
    act_beta: float = 0.0,
    act_type: tv.gemm.Activation = _NONE,
) -> Tensor:
    """`indice_conv` over the lists of a submanifold kernel, which leave out half of the counts."""
    arrays, way = (
        (indice_pairs, indice_pair_num),
        (rows_of(num_activate_out), False, True),
    )
    steps = bias, act_alpha, act_beta, act_type
    return _convolved(lists, features, filters, arrays, way, steps, None)


def implicit_gemm(
    features: Tensor,
    filters: Tensor,
    pair_fwd: Tensor,
    pair_bwd: Tensor,
    pair_mask_fwd_splits: list[Tensor],
    pair_mask_bwd_splits: list[Tensor],
    mask_argsort_fwd_splits: list[Tensor],
    mask_argsort_bwd_splits: list[Tensor],
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
) -> Tensor:
    """[M, C_out]: a convolution over the table of outputs.

    Args:
        features: [N, C_in].
        filters: [C_out, *ksize, C_in].
        pair_fwd: [K, M] int32, the row that each output reads, or -1; for an inverse convolution
            the `pair_bwd` of the kernel that is undone.
        pair_bwd and the bit sets, masks, is_train, is_subm, timer, fp32_accum, act_beta: not looked
            at; half types are always summed in float32.
        num_activate_out: M.
        bias: [C_out].
        act_alpha: LeakyReLU's slope below zero.
        act_type: an activation.

    Raises:
        TypeError: dtypes differ, or the table is not of ints.
        ValueError: a wrong shape, or a row out of range.
    """
    steps, way = (
        (bias, act_alpha, act_beta, act_type),
        (rows_of(num_activate_out), False, False),
    )
    return _convolved(tables, features, filters, (pair_fwd,), way, steps, None)


def indice_maxpool(
    features: Tensor, indice_pairs: Tensor, indice_pair_num: Tensor, num_activate_out: int
) -> Tensor:
    """[M, C]: the largest value that an output sees, also where all are negative; 0 without any."""
    rows = rows_of(num_activate_out)
    return array_pool.max_of_lists(features, indice_pairs, indice_pair_num, rows)


def indice_maxpool_implicit_gemm(
    features: Tensor, pair_fwd: Tensor, pair_bwd: Tensor, num_activate_out: int
) -> Tensor:
    """`indice_maxpool` over the table of outputs; `pair_bwd` is not looked at."""
    return array_pool.max_of_table(features, pair_fwd, rows_of(num_activate_out))


def indice_avgpool_implicit_gemm(
    features: Tensor, pair_fwd: Tensor, pair_bwd: Tensor, num_activate_out: int, calc_count: bool
) -> Tensor:
    """[M, C]: the mean of the rows that an output sees, 0 without any.

    `pair_bwd` and `calc_count` are not looked at.
    """
    return array_pool.mean_of_table(features, pair_fwd, rows_of(num_activate_out))[0]


def _over_lists(inverse: bool, subm: bool) -> Callable[..., Tensor]:
    """The forward of an autograd Function over lists."""

    def forward(
        ctx,
        features,
        filters,
        indice_pairs,
        indice_pair_num,
        num_activate_out,
        algo,
        timer=_UNTIMED,
        bias=None,
        act_alpha=0.0,
        act_beta=0.0,
        act_type=_NONE,
    ):
        arrays, way = (
            (indice_pairs, indice_pair_num),
            (rows_of(num_activate_out), inverse, subm),
        )
        steps = bias, act_alpha, act_beta, act_type
        return _convolved(lists, features, filters, arrays, way, steps, ctx)

    return forward


def _back_over_lists(ctx, *grad_outputs) -> tuple[Tensor | None, ...]:
    return _gradients(ctx, grad_outputs[0], lists, 7)


class SparseConvFunction(Function):
    """`indice_conv` as an autograd Function."""

    forward = staticmethod(_over_lists(inverse=False, subm=False))
    backward = staticmethod(_back_over_lists)


class SparseInverseConvFunction(Function):
    """`indice_inverse_conv` as an autograd Function."""

    forward = staticmethod(_over_lists(inverse=True, subm=False))
    backward = staticmethod(_back_over_lists)


class SubMConvFunction(Function):
    """`indice_subm_conv` as an autograd Function."""

    forward = staticmethod(_over_lists(inverse=False, subm=True))
    backward = staticmethod(_back_over_lists)


class SparseImplicitGemmFunction(Function):
    """`implicit_gemm` as an autograd Function."""

    @staticmethod
    def forward(
        ctx,
        features,
        filters,
        pair_fwd,
        pair_bwd,
        pair_mask_fwd_splits,
        pair_mask_bwd_splits,
        mask_argsort_fwd_splits,
        mask_argsort_bwd_splits,
        num_activate_out,
        masks,
        is_train,
        is_subm,
        timer=_UNTIMED,
        fp32_accum=None,
        bias=None,
        act_alpha=0.0,
        act_beta=0.0,
        act_type=_NONE,
    ):
        steps, way = (
            (bias, act_alpha, act_beta, act_type),
            (rows_of(num_activate_out), False, False),
        )
        return _convolved(tables, features, filters, (pair_fwd,), way, steps, ctx)

    @staticmethod
    def backward(ctx, *grad_outputs):
        return _gradients(ctx, grad_outputs[0], tables, 14)


def _gradients(ctx, grad: Tensor, family: Family, bias: int) -> tuple[Tensor | None, ...]:
    """One gradient, or None, per argument, of which `bias` is the number of the bias."""
    wanted = ctx.needs_input_grad
    given = [None] * max(0, len(wanted) - bias - 1)
    grads = array_conv.gradients(ctx, grad, family, [*wanted[:2], any(wanted[bias : bias + 1])])
    return *grads[:2], *[None] * (bias - 2), grads[2], *given


class SparseMaxPoolFunction(Function):
    """`indice_maxpool` as an autograd Function."""

    @staticmethod
    def forward(ctx, features, indice_pairs, indice_pair_num, num_activate_out):
        arrays, rows = (indice_pairs, indice_pair_num), rows_of(num_activate_out)
        array_pool.save_max(ctx, (features, *arrays, rows), features)
        return array_pool.max_of_lists(features, *arrays, rows)

    @staticmethod
    def backward(ctx, *grad_outputs):
        return array_pool.max_gradient(ctx, grad_outputs[0]), None, None, None


class SparseMaxPoolImplicitGemmFunction(Function):
    """`indice_maxpool_implicit_gemm` as an autograd Function."""

    @staticmethod
    def forward(ctx, features, indice_pairs_fwd, indice_pairs_bwd, num_activate_out):
        rows = rows_of(num_activate_out)
        array_pool.save_max(ctx, (features, indice_pairs_fwd, rows), features)
        return array_pool.max_of_table(features, indice_pairs_fwd, rows)

    @staticmethod
    def backward(ctx, *grad_outputs):
        return array_pool.max_gradient(ctx, grad_outputs[0]), None, None, None


class SparseAvgPoolImplicitGemmFunction(Function):
    """`indice_avgpool_implicit_gemm` as an autograd Function."""

    @staticmethod
    def forward(ctx, features, indice_pairs_fwd, indice_pairs_bwd, num_activate_out, calc_count):
        rows = rows_of(num_activate_out)
        array_pool.save_mean(ctx, (features, indice_pairs_fwd, rows), features)
        return array_pool.mean_of_table(features, indice_pairs_fwd, rows)[0]

    @staticmethod
    def backward(ctx, *grad_outputs):
        return array_pool.mean_gradient(ctx, grad_outputs[0]), None, None, None, None


def sparse_add(*tens: SparseConvTensor) -> SparseConvTensor:
    """The sum of tensors on the union of their sites, sorted.

    Raises:
        IndexError: there is no tensor.
        AssertionError: spatial shapes, batch sizes or numbers of channels differ.
    """
    return union(tens, sort=True)


def sparse_add_hash_based(*tens: SparseConvTensor) -> SparseConvTensor:
    """`sparse_add` with the rows of the largest tensor first, in its order."""
    return union(tens, sort=False)


_indice_to_scalar = indice_to_scalar
