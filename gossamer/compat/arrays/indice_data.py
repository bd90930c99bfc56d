"""The rulebooks that a SparseConvTensor carries under their indice keys, as arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from gossamer.compat.arrays.layouts import implicit_gemm_arrays, native_arrays
from gossamer.compat.rows.placed import Built, Ends
from gossamer.compat.rows.sites import Link
from gossamer.compat.spconv.core import ConvAlgo


class IndiceData:
    """A rulebook under an indice key, with the arrays of `ConvAlgo.Native`.

    Attributes:
        out_indices, indices: [M, 1+D] and [N, 1+D] int32, the rows that are written and read.
        indice_pairs: [2, K, N] int32, for every tap the rows read and written, -1 past its count.
        indice_pair_num: [K] int32, the counts.
        spatial_shape, out_spatial_shape: D ints each, of input and output.
        is_subm, algo, ksize, stride, dilation, padding: of the layer that made it.
    """

    out_indices: Tensor
    indices: Tensor
    indice_pairs: Tensor
    indice_pair_num: Tensor
    spatial_shape: list[int]
    out_spatial_shape: list[int]
    is_subm: bool
    algo: ConvAlgo
    ksize: list[int]
    stride: list[int]
    dilation: list[int]
    padding: list[int]
    voxel_num: Any | None

    def __init__(
        self,
        out_indices: Tensor,
        indices: Tensor,
        indice_pairs: Tensor,
        indice_pair_num: Tensor,
        spatial_shape: list[int],
        out_spatial_shape: list[int],
        is_subm: bool,
        algo: ConvAlgo,
        ksize: list[int],
        stride: list[int],
        dilation: list[int],
        padding: list[int],
        voxel_num: Any | None = None,
    ):
        self.__dict__.update(_named(locals()))


class ImplicitGemmIndiceData:
    """A rulebook under an indice key, with the arrays of the implicit-GEMM algorithms.

    Attributes:
        pair_fwd: [K, M] int32, the row that each output reads through a tap, or -1.
        pair_bwd: [K, N] int32, the row that each input feeds through a tap, or -1.
        pair_mask_fwd_splits, pair_mask_bwd_splits: int32 bit sets, the taps of each row.
        mask_argsort_fwd_splits, mask_argsort_bwd_splits: int32, the order that sorts those.
        masks: the taps of each split.
        out_indices, indices, spatial_shape, out_spatial_shape, is_subm, algo, ksize, stride,
            dilation, padding: as in IndiceData.
    """

    out_indices: Tensor
    indices: Tensor
    pair_fwd: Tensor
    pair_bwd: Tensor
    pair_mask_fwd_splits: list[Tensor]
    pair_mask_bwd_splits: list[Tensor]
    mask_argsort_fwd_splits: list[Tensor]
    mask_argsort_bwd_splits: list[Tensor]
    masks: list[np.ndarray]
    spatial_shape: list[int]
    out_spatial_shape: list[int]
    is_subm: bool
    algo: ConvAlgo
    ksize: list[int]
    stride: list[int]
    dilation: list[int]
    padding: list[int]
    in_voxel_num: Any | None
    out_voxel_num: Any | None

    def __init__(
        self,
        out_indices: Tensor,
        indices: Tensor,
        pair_fwd: Tensor,
        pair_bwd: Tensor,
        pair_mask_fwd_splits: list[Tensor],
        pair_mask_bwd_splits: list[Tensor],
        mask_argsort_fwd_splits: list[Tensor],
        mask_argsort_bwd_splits: list[Tensor],
        masks: list[np.ndarray],
        spatial_shape: list[int],
        out_spatial_shape: list[int],
        is_subm: bool,
        algo: ConvAlgo,
        ksize: list[int],
        stride: list[int],
        dilation: list[int],
        padding: list[int],
        in_voxel_num: Any | None = None,
        out_voxel_num: Any | None = None,
    ):
        self.__dict__.update(_named(locals()))


NATIVE = ("indice_pairs", "indice_pair_num")
IMPLICIT = (
    "pair_fwd",
    "pair_bwd",
    "pair_mask_fwd_splits",
    "pair_mask_bwd_splits",
    "mask_argsort_fwd_splits",
    "mask_argsort_bwd_splits",
    "masks",
)


class BuiltIndiceData(Built, IndiceData):
    """The IndiceData of a rulebook that a layer built."""

    names = NATIVE

    def __init__(self, link: Link, ends: Ends, **about):
        self.__dict__.update(about, link=link, ends=ends, voxel_num=None)

    def _arrays(self) -> Sequence:
        return native_arrays(self.link)


class BuiltImplicitGemmIndiceData(Built, ImplicitGemmIndiceData):
    """The ImplicitGemmIndiceData of a rulebook that a layer built."""

    names = IMPLICIT
    algo: ConvAlgo

    def __init__(self, link: Link, ends: Ends, **about):
        self.__dict__.update(about, link=link, ends=ends, in_voxel_num=None, out_voxel_num=None)

    def _arrays(self) -> Sequence:
        return implicit_gemm_arrays(self.link, self.algo, is_train=True)


def _named(values: dict) -> dict:
    return {name: value for name, value in values.items() if name != "self"}
