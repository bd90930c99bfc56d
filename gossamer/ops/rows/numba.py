"""Rows moved and scaled on the CPU: each thread owns a range of rows, or of channels of a grid."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numba import njit
from torch import Tensor

from gossamer.ops.arrays import array, fresh, tensor
from gossamer.ops.conv import ACCUMULATOR
from gossamer.ops.dispatch import Problem
from gossamer.ops.rows.columns import column_dots, gated_dots, moments
from gossamer.ops.rows.reference import fold, from_grid
from gossamer.ops.threads import for_each

__all__ = [
    "affine",
    "column_dots",
    "fold",
    "from_grid",
    "gated_dots",
    "moments",
    "normalise_grad",
    "onto_grid",
    "permute",
    "refuses",
]
VALUES_A_PIECE = 1 << 18  # a tenth of a millisecond or so: well above the cost of handing over
CHANNELS_A_PIECE = 16  # a cache line of float32, so that a row is read once
WORDS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def refuses(problem: Problem) -> str:
    return "" if problem.device == "cpu" else f"runs on cpu, not {problem.device}"


def permute(x: Tensor, to: Tensor) -> Tensor:
    # Rows are read in order and written anywhere: a processor need not wait for what it writes.
    # 97,000 rows of 16 took 0.5 ms so, and 1.5 ms read from anywhere and written in order.
    rows, places, y = _words(x), array(to), _rows_like(x, WORDS[x.itemsize])
    out = array(y)
    _by_rows(out, lambda first, last: _permute(rows, places, out, first, last))
    return y.view(x.dtype)


def onto_grid(x: Tensor, cell: Tensor, samples: int, cells: int) -> Tensor:
    rows, places = _words(x), array(cell)
    # Zeros from NumPy lie on large pages: for 36 MB 3 ms, where torch.zeros takes 12.
    grid = np.zeros((samples, x.shape[1], cells), rows.dtype)
    pieces = -(-x.shape[1] // CHANNELS_A_PIECE)
    for_each(pieces, lambda i: _onto_grid(rows, places, grid, i * CHANNELS_A_PIECE))
    return tensor(grid).view(x.dtype)


def affine(x: Tensor, scale: Tensor, shift: Tensor, other: Tensor | None, slope: float) -> Tensor:
    wide = ACCUMULATOR.get(x.dtype, x.dtype)
    rows, by = array(x.to(wide)), [array(t.to(wide)) for t in (scale, shift)]
    more = rows[:0] if other is None else array(other.to(wide))
    y, steep = _rows_like(x, wide), rows.dtype.type(slope)
    out = array(y)
    _by_rows(out, lambda first, last: _affine(rows, *by, more, steep, out, first, last))
    return y.to(x.dtype)


def normalise_grad(
    grad: Tensor,
    x: Tensor,
    mean: Tensor,
    scale: Tensor,
    shift: Tensor,
    by: Sequence[Tensor],
    slope: float,
) -> Tensor:
    rows = [array(t) for t in (grad, x)]
    vectors = [array(t.to(x.dtype)) for t in (mean, scale, shift, *by)]
    y, steep = _rows_like(x, x.dtype), rows[1].dtype.type(slope)
    out = array(y)
    _by_rows(out, lambda first, last: _normalise_grad(*rows, *vectors, steep, out, first, last))
    return y


def _rows_like(x: Tensor, dtype: torch.dtype) -> Tensor:
    return fresh(x.shape[0], x.shape[1], dtype)


def _words(x: Tensor) -> np.ndarray:
    """The bits of `x` as integers, so that all dtypes of a width share a kernel."""
    return array(x.detach().contiguous().view(WORDS[x.itemsize]))


def _by_rows(rows: np.ndarray, work: Callable[[int, int], None]) -> None:
    """Call `work(first, last)` on ranges of rows, each of about VALUES_A_PIECE numbers."""
    size = max(1, VALUES_A_PIECE // max(1, rows.shape[1]))
    pieces = -(-rows.shape[0] // size)
    for_each(pieces, lambda i: work(i * size, min(i * size + size, rows.shape[0])))


@njit(nogil=True, cache=True)
def _permute(x, to, y, first, last):
    for i in range(first, last):
        row = to[i]
        for c in range(x.shape[1]):
            y[row, c] = x[i, c]


@njit(nogil=True, cache=True)
def _onto_grid(x, cell, grid, first):
    last, cells = min(first + CHANNELS_A_PIECE, x.shape[1]), grid.shape[2]
    for i in range(x.shape[0]):
        if cell[i] < 0:
            continue
        sample = cell[i] // cells
        place = cell[i] - sample * cells
        for c in range(first, last):
            grid[sample, c, place] = x[i, c]


@njit(nogil=True, cache=True)
def _affine(x, scale, shift, other, slope, y, first, last):
    columns, zero = x.shape[1], x.dtype.type(0)
    for i in range(first, last):
        for c in range(columns):
            y[i, c] = x[i, c] * scale[c] + shift[c]
        if other.shape[0]:
            for c in range(columns):
                y[i, c] += other[i, c]
        if slope == 0:  # not a product, which would make NaN of an infinity
            for c in range(columns):
                y[i, c] = zero if y[i, c] < 0 else y[i, c]
        elif slope != 1:
            for c in range(columns):
                y[i, c] = y[i, c] * slope if y[i, c] < 0 else y[i, c]


@njit(nogil=True, cache=True)
def _normalise_grad(grad, x, mean, scale, shift, by_grad, by_x, rest, slope, out, first, last):
    columns = x.shape[1]
    for i in range(first, last):
        for c in range(columns):
            positive = x[i, c] * scale[c] + shift[c] > 0
            gated = grad[i, c] if positive else grad[i, c] * slope
            out[i, c] = gated * by_grad[c] + (x[i, c] - mean[c]) * by_x[c] + rest[c]
