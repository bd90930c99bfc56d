"""Points and voxels on the CPU: threads own points when reading, rows and channels when writing."""

import numpy as np
import torch
from numba import njit
from torch import Tensor

from gossamer.ops.arrays import array, int64s, tensor
from gossamer.ops.conv import ACCUMULATOR
from gossamer.ops.dispatch import Problem
from gossamer.ops.threads import for_each

POINTS_A_PIECE = 1 << 13
GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / the golden ratio: spreads neighbouring keys
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


def first_come(
    points: Tensor, lower: list[float], edges: list[float], size: list[int], most: int
) -> tuple[Tensor, Tensor, Tensor]:
    cloud = array(points)
    voxel, place = (points.new_empty(points.shape[0], dtype=torch.int64) for _ in range(2))
    bounds = [np.array(values, cloud.dtype) for values in (lower, edges)]
    cells = _first_come(cloud, *bounds, int64s(size), most, array(voxel), array(place))
    return voxel, place, tensor(cells)


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


@njit(nogil=True, cache=True, error_model="numpy")
def _first_come(points, lower, edges, size, most, voxel, place):
    most = min(most, points.shape[0])
    bits = 4
    while (1 << bits) < 2 * most:
        bits += 1
    # Open addressing. A slot holds the voxel and not its key, so that the slots fit the cache.
    slots = np.full(1 << bits, -1, np.int32)
    shift, last = np.uint64(64 - bits), (1 << bits) - 1
    keys = np.empty(most, np.int64)
    counts = np.zeros(most, np.int64)
    # The row after the last voxel takes the cell of the point at hand, in case it opens the next.
    cells = np.empty((most + 1, size.size), np.int32)
    count = 0
    for p in range(points.shape[0]):
        voxel[p] = -1
        place[p] = 0
        key = np.int64(0)
        for axis in range(size.size):
            cell = np.floor((points[p, axis] - lower[axis]) / edges[axis])
            if not (cell >= 0 and cell < size[axis]):
                key = np.int64(-1)
                break
            cells[count, axis] = np.int32(cell)
            key = key * size[axis] + np.int64(cell)
        if key < 0:
            continue
        slot = np.int64((np.uint64(key) * GOLDEN) >> shift)
        while slots[slot] >= 0 and keys[slots[slot]] != key:
            slot = (slot + 1) & last
        v = slots[slot]
        if v < 0:
            if count == most:
                continue
            v = count
            slots[slot] = v
            keys[v] = key
            count += 1
        voxel[p] = v
        place[p] = counts[v]
        counts[v] += 1
    return cells[:count].copy()
