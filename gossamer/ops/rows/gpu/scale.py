"""Rows times vectors, in one pass; and the gate that an activation is for its gradient."""

import struct
from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from gossamer.ops.conv import ACCUMULATOR
from gossamer.ops.launch import launch
from gossamer.ops.pool.gpu.tiles import columns_of

BYTES, WIDEST = 1 << 13, 128  # of a tile as it is computed with, and channels
RELU, LEAKY, NONE = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2)
"""Kinds of activation, by the slope: 0, any other, 1."""


def bits_of(value: float) -> int:
    """The bits of a float64, which `number` undoes: a float would be passed as a float32."""
    return struct.unpack("<q", struct.pack("<d", value))[0]


def activation(slope: float) -> tuple[int, int]:
    """The kind, and the bits of the slope."""
    if slope in (0, 1):
        return (RELU.value if slope == 0 else NONE.value), 0
    return LEAKY.value, bits_of(slope)


@triton.jit
def number(bits, like: tl.constexpr):
    """The float64 that `bits` are, as the dtype `like`."""
    return tl.cast(bits.to(tl.int64), tl.float64, bitcast=True).to(like)


@triton.jit
def scaled(x, scale, shift, more, OTHER: tl.constexpr):
    """What an activation is applied to; forwards and backwards with the same bits."""
    y = tl.fma(x, scale, shift)
    return y + more if OTHER else y


@triton.jit
def gate(grad, y, slope, KIND: tl.constexpr):
    """The gradient of `y`, where `grad` is that of its activation."""
    if KIND == NONE:
        return grad
    return tl.where(y > 0, grad, grad * (0.0 if KIND == RELU else number(slope, grad.dtype)))


@triton.jit
def vector(pointer, column, C: tl.constexpr, like: tl.constexpr):
    """[1, COLUMNS]: some numbers of a vector [C]."""
    return tl.load(pointer + column, mask=column < C, other=0.0).to(like)[None, :]


@triton.jit(do_not_specialize=["slope", "height"])
def scale_rows(
    x, scale, shift, other, y, slope, height,
    C: tl.constexpr, OTHER: tl.constexpr, KIND: tl.constexpr, WIDE: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Fill a tile of y [N, C], as `affine` says."""
    BLOCKS: tl.constexpr = (C + COLUMNS - 1) // COLUMNS
    like = tl.float64 if WIDE else tl.float32
    row = (tl.program_id(0) // BLOCKS).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(0) % BLOCKS * COLUMNS + tl.arange(0, COLUMNS)
    inside = (row < height)[:, None] & (column < C)[None, :]
    at = row[:, None] * C + column[None, :]
    value = tl.load(x + at, mask=inside, other=0.0).to(like)
    more = value
    if OTHER:
        more = tl.load(other + at, mask=inside, other=0.0).to(like)
    factor, term = vector(scale, column, C, like), vector(shift, column, C, like)
    value = scaled(value, factor, term, more, OTHER)
    if KIND == RELU:  # not a product, which would make NaN of an infinity
        value = tl.where(value < 0, 0.0, value)
    if KIND == LEAKY:
        value = tl.where(value < 0, value * number(slope, like), value)
    tl.store(y + at, value.to(y.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["slope", "height"])
def scale_grads(
    grad, x, mean, scale, shift, by_grad, by_x, rest, y, slope, height,
    C: tl.constexpr, KIND: tl.constexpr, WIDE: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Fill a tile of y [N, C], as `normalise_grad` says."""
    BLOCKS: tl.constexpr = (C + COLUMNS - 1) // COLUMNS
    like = tl.float64 if WIDE else tl.float32
    row = (tl.program_id(0) // BLOCKS).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(0) % BLOCKS * COLUMNS + tl.arange(0, COLUMNS)
    inside = (row < height)[:, None] & (column < C)[None, :]
    at = row[:, None] * C + column[None, :]
    value = tl.load(x + at, mask=inside, other=0.0).to(like)
    gated = tl.load(grad + at, mask=inside, other=0.0).to(like)
    factor, term = vector(scale, column, C, like), vector(shift, column, C, like)
    gated = gate(gated, scaled(value, factor, term, value, False), slope, KIND)
    apart = value - vector(mean, column, C, like)
    total = gated * vector(by_grad, column, C, like) + apart * vector(by_x, column, C, like)
    total += vector(rest, column, C, like)
    tl.store(y + at, total.to(y.dtype.element_ty), mask=inside)


def by_affine(
    x: Tensor, scale: Tensor, shift: Tensor, other: Tensor | None, slope: float
) -> Tensor:
    """[N, C]: what `affine` gives."""
    x, y = x.contiguous(), x.new_empty(x.shape)
    kind, bits = activation(slope)
    more = x if other is None else other.contiguous()
    arguments = [x, scale.contiguous(), shift.contiguous(), more, y, bits, x.shape[0]]
    _by_tiles(scale_rows, x, arguments, KIND=kind, OTHER=other is not None)
    return y


def by_gate(rows: Sequence[Tensor], vectors: Sequence[Tensor], slope: float) -> Tensor:
    """[N, C]: what `normalise_grad` gives.

    Args:
        rows: grad and x.
        vectors: mean, scale, shift, and the three of `by`.
        slope: as there.
    """
    x, y = rows[1], rows[1].new_empty(rows[1].shape)
    kind, bits = activation(slope)
    arguments = [t.contiguous() for t in (*rows, *vectors)]
    _by_tiles(scale_grads, x, [*arguments, y, bits, x.shape[0]], KIND=kind)
    return y


def _by_tiles(kernel, x: Tensor, arguments: Sequence[Tensor | int], **constants: int) -> None:
    """Start `kernel` on tiles of rows and channels like those of `x`."""
    height, channels = x.shape
    columns = columns_of(channels, WIDEST)
    wide = ACCUMULATOR.get(x.dtype, x.dtype)
    tile = BYTES // wide.itemsize // columns
    grid = [-(-height // tile) * -(-channels // columns)]
    constants |= {"C": channels, "WIDE": wide == torch.float64, "ROWS": tile, "COLUMNS": columns}
    launch(kernel, grid, arguments, **constants)
