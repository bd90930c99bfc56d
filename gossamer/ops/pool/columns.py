"""Sums over all rows on the CPU, for batch norm: one pass over memory, in an order that is fixed.

torch adds up one part a thread, so the last digits of its batch norm change with their number.
"""

import numpy as np
import torch
from numba import njit
from torch import Tensor

from gossamer.ops.arrays import array, tensor
from gossamer.ops.conv import ACCUMULATOR
from gossamer.ops.threads import for_each

# Few enough that float32 keeps its digits and that the second look at a slab finds it in the cache.
ROWS_A_SLAB = 128
ROWS_A_PIECE = 32 * ROWS_A_SLAB


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    wide = ACCUMULATOR.get(x.dtype, x.dtype)
    rows, pieces = array(x.to(wide)), -(-x.shape[0] // ROWS_A_PIECE)
    partial = x.new_empty(pieces, 2, x.shape[1], dtype=torch.float64)
    parts = array(partial)
    for_each(pieces, lambda i: _moments(rows, i * ROWS_A_PIECE, parts[i]))
    mean, variance = _joined(parts, rows.shape[0])
    return tensor(mean).to(wide), tensor(variance).to(wide)


def column_dots(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    wide = ACCUMULATOR.get(a.dtype, a.dtype)
    arrays, pieces = [array(t.to(wide)) for t in (a, b)], -(-a.shape[0] // ROWS_A_PIECE)
    partial = a.new_empty(pieces, 2, a.shape[1], dtype=torch.float64)
    parts = array(partial)
    for_each(pieces, lambda i: _dots(*arrays, i * ROWS_A_PIECE, parts[i]))
    sums = parts.sum(0)
    return tensor(sums[0]).to(wide), tensor(sums[1]).to(wide)


@njit(nogil=True, cache=True)
def _moments(x, first, out):
    """The mean of a piece's rows, and the sum of squares of what is left without it."""
    last, columns = min(first + ROWS_A_PIECE, x.shape[0]), x.shape[1]
    out[:] = 0
    total, square = np.empty(columns, x.dtype), np.empty(columns, x.dtype)
    for begin in range(first, last, ROWS_A_SLAB):
        end = min(begin + ROWS_A_SLAB, last)
        total[:] = 0
        for p in range(begin, end):
            for c in range(columns):
                total[c] += x[p, c]
        for c in range(columns):
            total[c] /= end - begin
        square[:] = 0
        for p in range(begin, end):
            for c in range(columns):
                square[c] += (x[p, c] - total[c]) ** 2
        before, count = begin - first, end - begin
        for c in range(columns):
            _join(out, c, before, np.float64(total[c]), np.float64(square[c]), count)


@njit(nogil=True, cache=True)
def _join(sums, c, before, mean, square, count):
    """Take `count` more rows of a mean and a sum of squares into column c of `sums`."""
    share = count / (before + count)
    apart = mean - sums[0, c]
    sums[0, c] += apart * share
    sums[1, c] += square + apart * apart * before * share


@njit(nogil=True, cache=True)
def _joined(parts, rows):
    columns = parts.shape[2]
    sums = np.zeros((2, columns), np.float64)
    for i in range(parts.shape[0]):
        before = i * ROWS_A_PIECE
        for c in range(columns):
            count = min(ROWS_A_PIECE, rows - before)
            _join(sums, c, before, parts[i, 0, c], parts[i, 1, c], count)
    return sums[0], sums[1] / max(rows, 1)


@njit(nogil=True, cache=True)
def _dots(a, b, first, out):
    last, columns = min(first + ROWS_A_PIECE, a.shape[0]), a.shape[1]
    out[:] = 0
    total, dot = np.empty(columns, a.dtype), np.empty(columns, a.dtype)
    for begin in range(first, last, ROWS_A_SLAB):
        total[:] = 0
        dot[:] = 0
        for p in range(begin, min(begin + ROWS_A_SLAB, last)):
            for c in range(columns):
                total[c] += a[p, c]
                dot[c] += a[p, c] * b[p, c]
        for c in range(columns):
            out[0, c] += total[c]
            out[1, c] += dot[c]
