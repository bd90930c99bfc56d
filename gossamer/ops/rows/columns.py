"""Sums over all rows on the CPU, for batch norm: one pass over memory, in an order that is fixed.

torch adds up one part a thread, so the last digits of its batch norm change with their number.
"""

import numpy as np
from numba import njit
from torch import Tensor

from gossamer.ops.arrays import array, fresh, tensor
from gossamer.ops.conv import ACCUMULATOR
from gossamer.ops.threads import for_each

# Few enough that float32 keeps its digits and that the second look at a slab finds it in the cache.
ROWS_A_SLAB = 128
ROWS_A_PIECE = 32 * ROWS_A_SLAB


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    wide = ACCUMULATOR.get(x.dtype, x.dtype)
    rows, parts = array(x.to(wide)), _partial_sums(x)
    for_each(len(parts), lambda i: _moments(rows, i * ROWS_A_PIECE, parts[i]))
    sums = np.zeros((2, x.shape[1]))
    _join_pieces(parts, len(rows), sums)
    return tensor(sums[0]).to(wide), tensor(sums[1] / max(len(rows), 1)).to(wide)


def column_dots(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    wide = ACCUMULATOR.get(a.dtype, a.dtype)
    zeros = a.new_zeros(a.shape[1], dtype=wide)
    total, dot, _ = gated_dots(a.to(wide), b.to(wide), zeros, zeros, zeros, None, 1.0)
    return total, dot


def gated_dots(
    grad: Tensor,
    x: Tensor,
    mean: Tensor,
    scale: Tensor,
    shift: Tensor,
    other: Tensor | None,
    slope: float,
) -> tuple[Tensor, Tensor, Tensor]:
    arrays = [array(t) for t in (grad, x)]
    vectors = [array(t.to(x.dtype)) for t in (mean, scale, shift)]
    more = arrays[1][:0] if other is None else array(other)
    gated, parts = fresh(len(more), x.shape[1], x.dtype), _partial_sums(x)
    last = more, arrays[1].dtype.type(slope), array(gated)
    for_each(
        len(parts), lambda i: _gated_dots(*arrays, *vectors, *last, i * ROWS_A_PIECE, parts[i])
    )
    sums = parts.sum(0)
    return tensor(sums[0]).to(x.dtype), tensor(sums[1]).to(x.dtype), gated


def _partial_sums(x: Tensor) -> np.ndarray:
    """Two sums a channel for every piece of rows."""
    return np.zeros((-(-x.shape[0] // ROWS_A_PIECE), 2, x.shape[1]))


# Loops in place of array expressions, which take Numba a second more to compile.
@njit(nogil=True, cache=True)
def _moments(x, first, out):
    """The mean of a piece's rows, and the sum of squares of what is left without it."""
    last, columns = min(first + ROWS_A_PIECE, x.shape[0]), x.shape[1]
    total, square = np.empty(columns, x.dtype), np.empty(columns, x.dtype)
    for begin in range(first, last, ROWS_A_SLAB):
        end = min(begin + ROWS_A_SLAB, last)
        for c in range(columns):
            total[c] = 0
            square[c] = 0
        for p in range(begin, end):
            for c in range(columns):
                total[c] += x[p, c]
        for c in range(columns):
            total[c] /= end - begin
        for p in range(begin, end):
            for c in range(columns):
                square[c] += (x[p, c] - total[c]) ** 2
        for c in range(columns):
            _join(out, c, begin - first, total[c], square[c], end - begin)


@njit(nogil=True, cache=True)
def _join_pieces(parts, rows, sums):
    for i in range(parts.shape[0]):
        before = i * ROWS_A_PIECE
        count = min(ROWS_A_PIECE, rows - before)
        for c in range(parts.shape[2]):
            _join(sums, c, before, parts[i, 0, c], parts[i, 1, c], count)


@njit(nogil=True, cache=True)
def _join(sums, c, before, mean, square, count):
    """Take `count` more rows of a mean and a sum of squares into column c of `sums`."""
    share = count / (before + count)
    apart = np.float64(mean) - sums[0, c]
    sums[0, c] += apart * share
    sums[1, c] += square + apart * apart * before * share


@njit(nogil=True, cache=True)
def _gated_dots(grad, x, mean, scale, shift, other, slope, gated, first, out):
    last, columns = min(first + ROWS_A_PIECE, x.shape[0]), x.shape[1]
    total, dot = np.empty(columns, x.dtype), np.empty(columns, x.dtype)
    for begin in range(first, last, ROWS_A_SLAB):
        for c in range(columns):
            total[c] = 0
            dot[c] = 0
        for p in range(begin, min(begin + ROWS_A_SLAB, last)):
            if other.shape[0]:
                for c in range(columns):
                    positive = x[p, c] * scale[c] + shift[c] + other[p, c] > 0
                    part = grad[p, c] if positive else grad[p, c] * slope
                    gated[p, c] = part
                    total[c] += part
                    dot[c] += part * (x[p, c] - mean[c])
            else:
                for c in range(columns):
                    positive = x[p, c] * scale[c] + shift[c] > 0
                    part = grad[p, c] if positive else grad[p, c] * slope
                    total[c] += part
                    dot[c] += part * (x[p, c] - mean[c])
        for c in range(columns):
            out[0, c] += total[c]
            out[1, c] += dot[c]
