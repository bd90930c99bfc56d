"""Points and voxels on the CPU: threads own points when reading, rows and channels when writing."""

import torch
from numba import njit
from torch import Tensor

from gossamer.ops.arrays import array
from gossamer.ops.conv import ACCUMULATOR
from gossamer.ops.dispatch import Problem
from gossamer.ops.threads import for_each

POINTS_A_PIECE = 1 << 13
CHANNELS_A_PIECE = 16  # a cache line of float32, so two threads never write the same one


def refuses(problem: Problem) -> str:
    return "" if problem.device == "cpu" else f"runs on cpu, not {problem.device}"


def interpolate(x: Tensor, weights: Tensor, rows: Tensor) -> Tensor:
    wide = ACCUMULATOR.get(x.dtype, x.dtype)
    y = x.new_empty(rows.shape[0], x.shape[1], dtype=wide)
    arrays = [array(t) for t in (x.to(wide), weights.to(wide), rows, y)]
    pieces = -(-rows.shape[0] // POINTS_A_PIECE)
    for_each(pieces, lambda i: _interpolate(*arrays, i * POINTS_A_PIECE))
    return y.to(x.dtype)


def spread(g: Tensor, weights: Tensor, rows: Tensor, count: int) -> Tensor:
    wide = ACCUMULATOR.get(g.dtype, g.dtype)
    out = g.new_zeros(count, g.shape[1], dtype=wide)
    arrays = [array(t) for t in (g.to(wide), weights.to(wide), rows, out)]
    blocks = -(-g.shape[1] // CHANNELS_A_PIECE)
    # Every piece looks at all points, so rows are cut only where channels do not make a piece a
    # thread. A row's sum is taken in the order of the points wherever the cut is.
    parts = -(-torch.get_num_threads() // max(1, blocks))
    size = -(-count // parts)
    for_each(
        blocks * parts,
        lambda i: _spread(*arrays, i // parts * CHANNELS_A_PIECE, i % parts * size, size),
    )
    return out.to(g.dtype)


def interpolation_dots(x: Tensor, g: Tensor, rows: Tensor) -> Tensor:
    wide = ACCUMULATOR.get(x.dtype, x.dtype)
    dots = x.new_empty(rows.shape, dtype=wide)
    arrays = [array(t) for t in (x.to(wide), g.to(wide), rows, dots)]
    pieces = -(-rows.shape[0] // POINTS_A_PIECE)
    for_each(pieces, lambda i: _dots(*arrays, i * POINTS_A_PIECE))
    return dots.to(x.dtype)


@njit(nogil=True, cache=True)
def _interpolate(x, weights, rows, y, first):
    for p in range(first, min(first + POINTS_A_PIECE, rows.shape[0])):
        y[p] = 0
        for j in range(rows.shape[1]):
            row, weight = rows[p, j], weights[p, j]
            if row >= 0:
                for c in range(x.shape[1]):
                    y[p, c] += weight * x[row, c]


@njit(nogil=True, cache=True)
def _spread(g, weights, rows, out, first, first_row, size):
    last = min(first + CHANNELS_A_PIECE, g.shape[1])
    for p in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            row, weight = rows[p, j], weights[p, j]
            if first_row <= row < first_row + size:
                for c in range(first, last):
                    out[row, c] += weight * g[p, c]


@njit(nogil=True, cache=True)
def _dots(x, g, rows, dots, first):
    for p in range(first, min(first + POINTS_A_PIECE, rows.shape[0])):
        for j in range(rows.shape[1]):
            row = rows[p, j]
            total = dots.dtype.type(0)
            if row >= 0:
                for c in range(x.shape[1]):
                    total += x[row, c] * g[p, c]
            dots[p, j] = total
