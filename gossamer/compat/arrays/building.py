"""From indices and a kernel to the arrays of spconv's rulebooks, as torch ops.

`gossamer.compat.spconv.pytorch.ops` calls them with upstream's arguments.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from gossamer.checks import per_axis, whole
from gossamer.compat.arrays.layouts import WORD, implicit_gemm_arrays, native_arrays, split_masks
from gossamer.compat.rows.sites import Link, Rows, Sites
from gossamer.geometry import Geometry
from gossamer.ops.register import new_size, register
from gossamer.rulebook import Rulebook

NAMESPACE = "gossamer_spconv"
Ints = Sequence[int]


def rows_of(num_activate_out: int) -> int:
    """`num_activate_out` as an op takes it.

    Raises:
        TypeError: it is not a whole number.
    """
    return whole("num_activate_out", num_activate_out)


def conv_size(size: Ints, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints) -> list[int]:
    """The spatial shape after a convolution or pooling; 1 an axis where `kernel` is -1."""
    axes = zip(size, kernel, stride, padding, dilation, strict=True)
    return [1 if k == -1 else (n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes]


def deconv_size(
    size: Ints, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints, output_padding: Ints
) -> list[int]:
    """The spatial shape after a transposed convolution; dilation has no part in it.

    Raises:
        ValueError: `kernel` is -1 on an axis.
    """
    if any(k == -1 for k in kernel):
        raise ValueError(
            f"kernel_size is {list(kernel)}; a transposed convolution has no kernel over the whole "
            "grid, so wanted 1 or more an axis"
        )
    axes = zip(size, kernel, stride, padding, dilation, output_padding, strict=True)
    return [(n - 1) * s - 2 * p + k + more for n, k, s, p, _, more in axes]


@dataclass(frozen=True)
class Kernel:
    """A kernel as `get_indice_pairs` is told of it, D ints each."""

    ksize: Ints
    stride: Ints
    padding: Ints
    dilation: Ints
    out_padding: Ints
    subm: bool = False
    transpose: bool = False

    @property
    def taps(self) -> int:
        """K."""
        return prod(self.ksize)

    def geometry(self, ndim: int) -> Geometry:
        """The native kernel.

        Raises:
            RuntimeError: an even submanifold kernel.
            ValueError: another number of axes, or a number out of range.
        """
        size = per_axis("ksize", self.ksize, ndim, 1)
        if self.subm:
            if any(k % 2 == 0 for k in size):
                raise RuntimeError(
                    f"ksize is {list(size)}; subm only support odd ksize, because a submanifold "
                    "kernel needs a centre"
                )
            return Geometry.of("submanifold", ndim, size, dilation=self.dilation)
        kind = "generative" if self.transpose else "regular"
        return Geometry.of(
            kind,
            ndim,
            size,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
        )

    def output_shape(self, shape: Ints) -> tuple[int, ...]:
        """The spatial shape that outputs lie in.

        Raises:
            RuntimeError: it would be empty.
        """
        if self.subm:
            return tuple(shape)
        sizes = (shape, self.ksize, self.stride, self.padding, self.dilation)
        out = deconv_size(*sizes, self.out_padding) if self.transpose else conv_size(*sizes)
        if any(n < 1 for n in out):
            raise RuntimeError(
                f"spatial_shape is {list(shape)}, which gives the output shape {out} with ksize "
                f"{list(self.ksize)}, stride {list(self.stride)}, padding {list(self.padding)} and "
                f"dilation {list(self.dilation)}; use a smaller kernel or more padding"
            )
        return tuple(out)

    def link(self, indices: Tensor, batch_size: int, shape: Ints) -> tuple[Tensor, Link]:
        """The rows [M, 1+D] that `indices` [N, 1+D] lead to, and the rulebook between them.

        Raises:
            TypeError: indices are not ints.
            ValueError: a wrong shape, or a row out of range.
        """
        source = Sites.of(indices, shape, batch_size)
        geometry = self.geometry(source.coords.ndim)
        out = self.output_shape(shape)
        bound = out if self.transpose and not self.subm else None
        target = source.led_to(geometry, bound)
        rulebook = source.coords.rulebook(geometry, bound)
        link = Link(source.rows, target.rows, rulebook, self.subm)
        return (indices.clone() if self.subm else target.coords.rows), link


def _native(indices: Tensor, batch_size: int, shape: Ints, *kernel):
    out, link = Kernel(*kernel).link(indices, batch_size, shape)
    return out, *native_arrays(link)


def _native_shape(indices: Tensor, batch_size: int, shape: Ints, *kernel):
    taps = Kernel(*kernel).taps
    return (
        _rows_like(indices, Kernel(*kernel).subm),
        indices.new_empty(2, taps, indices.shape[0], dtype=torch.int32),
        indices.new_empty(taps, dtype=torch.int32),
    )


def _rows_like(indices: Tensor, subm: bool) -> Tensor:
    if subm:
        return torch.empty_like(indices, memory_format=torch.contiguous_format)
    return indices.new_empty(new_size(), indices.shape[1], dtype=torch.int32)


_SITES = "Tensor indices, SymInt batch_size, SymInt[] spatial_shape"
_KERNEL = "int[] ksize, int[] stride, int[] padding, int[] dilation, int[] out_padding"
_KIND = "bool subm, bool transpose"

get_indice_pairs = register(
    f"get_indice_pairs({_SITES}, {_KERNEL}, {_KIND}) -> (Tensor, Tensor, Tensor)",
    run=_native,
    shape=_native_shape,
    namespace=NAMESPACE,
)
"""The lists of ConvAlgo.Native.

Args:
    indices: [N, 1+D] int32, (batch, axes), in any order; rows may repeat.
    batch_size: B.
    spatial_shape: D ints.
    ksize, stride, padding, dilation, out_padding: D ints each.
    subm: whether outputs are the input's rows.
    transpose: whether outputs are all sites that taps reach.

Returns:
    out_inds: [M, 1+D] int32, sorted, or `indices` where `subm`.
    indice_pairs, indice_pair_num: as `gossamer.compat.arrays.layouts.native_arrays` has them.

Raises:
    RuntimeError: an even submanifold kernel, or an empty output shape.
    ValueError: a wrong shape, or a row out of range.
"""


def _implicit(indices: Tensor, batch_size: int, shape: Ints, *rest):
    *kernel, algo, is_train, bound, do_sort = rest
    out, link = Kernel(*kernel).link(indices, batch_size, shape)
    out, link = _first(bound, out, link)
    arrays = implicit_gemm_arrays(link, algo, is_train, do_sort)
    return out, arrays[0].new_zeros(link.rulebook.taps), *arrays[:-1]


def _first(bound: int, out: Tensor, link: Link) -> tuple[Tensor, Link]:
    """Only the first `bound` outputs of a kernel that makes new ones, where it is positive."""
    if link.submanifold or not 0 < bound < len(out):
        return out, link
    triples, rows = link.triples(), len(link.source)
    triples = triples[triples[:, 2] < bound]
    rulebook = Rulebook.of_triples(triples, link.rulebook.taps, rows, bound)
    return out[:bound].clone(), Link(Rows(rows), Rows(bound), rulebook)


def _implicit_shape(indices: Tensor, batch_size: int, shape: Ints, *rest):
    *kernel, algo, is_train, _, _ = rest
    taps, subm = Kernel(*kernel).taps, Kernel(*kernel).subm
    out = _rows_like(indices, subm)
    rows, splits = (out.shape[0], indices.shape[0]), len(split_masks(taps, algo))

    def ints(*size) -> Tensor:
        return indices.new_empty(size, dtype=torch.int32)

    forward, backward = (
        ([ints(n, -(-taps // WORD)) for _ in range(splits)], [ints(n) for _ in range(splits)])
        for n in rows
    )
    if subm and not is_train:
        return out, ints(taps), ints(taps, rows[0]), torch.empty(0), forward[0], [], forward[1], []
    tables = ints(taps, rows[0]), ints(taps, rows[1])
    return out, ints(taps), *tables, forward[0], backward[0], forward[1], backward[1]


get_indice_pairs_implicit_gemm = register(
    f"get_indice_pairs_implicit_gemm({_SITES}, {_KERNEL}, {_KIND}, int algo, bool is_train,"
    " int num_out_act_bound, bool do_sort) -> (Tensor, Tensor, Tensor, Tensor, Tensor[], Tensor[],"
    " Tensor[], Tensor[])",
    run=_implicit,
    shape=_implicit_shape,
    namespace=NAMESPACE,
)
"""The tables of the implicit-GEMM algorithms.

Args:
    indices, batch_size, spatial_shape, ksize, stride, padding, dilation, out_padding, subm,
        transpose: as in `get_indice_pairs`.
    algo: the number of a ConvAlgo.
    is_train, do_sort: as in `gossamer.compat.arrays.layouts.implicit_gemm_arrays`.
    num_out_act_bound: how many outputs there may be, of which the first are kept; -1 for all.

Returns:
    out_inds: as in `get_indice_pairs`.
    num_inds_per_loc: [K] int32 of zeros.
    Then what `implicit_gemm_arrays` returns, without the masks.

Raises:
    As `get_indice_pairs`; and ValueError where rows repeat and a table can't say so.
"""
