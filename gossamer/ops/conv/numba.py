"""Convolution on the CPU: output-stationary tiles, walked with register-blocked micro-kernels.

A thread owns tiles of output rows, so nothing is locked, added atomically or copied together. The
weight gradient is summed in slabs of tiles whose number follows from the data, and the slabs are
added in order; so both give the same bits for any number of threads.
"""

from collections.abc import Sequence

import numpy as np
from numba import njit
from torch import Tensor

from gossamer.ops.arrays import array, tensor
from gossamer.ops.conv import ACCUMULATOR
from gossamer.ops.conv.microkernel import HOST, MEDIUM, NARROW, WIDE, outer_kernel, row_kernel
from gossamer.ops.dispatch import Problem
from gossamer.ops.rulebooks import TILE
from gossamer.ops.threads import for_each

VECTOR = HOST.vector_bytes
FLOPS_A_PIECE = 8_000_000  # a tenth of a millisecond or so: well above the cost of handing over
TILES_A_SLAB, MAX_SLABS = 16, 8

wide, wide_few, wide_one = (row_kernel(r, WIDE[1], False) for r in (WIDE[0], 2, 1))
medium, medium_few, medium_one = (row_kernel(r, MEDIUM[1], False) for r in (MEDIUM[0], 3, 1))
narrow, narrow_few, narrow_one = (row_kernel(r, NARROW[1], True) for r in (NARROW[0], 3, 1))
WIDE_ROWS, MEDIUM_ROWS, NARROW_ROWS = WIDE[0], MEDIUM[0], NARROW[0]
WIDE_VECTORS, MEDIUM_VECTORS = WIDE[1], MEDIUM[1]

outer_wide, outer_wide_one = (outer_kernel(r, WIDE[1], False) for r in (WIDE[0], 1))
outer_medium, outer_medium_one = (outer_kernel(r, MEDIUM[1], False) for r in (8, 1))
outer_narrow, outer_narrow_one = (outer_kernel(r, NARROW[1], True) for r in (8, 1))


def refuses(problem: Problem) -> str:
    return "" if problem.device == "cpu" else f"runs on cpu, not {problem.device}"


def conv(x: Tensor, weight: Tensor, pairs: Sequence[Tensor], rows: int, groups: int) -> Tensor:
    wide_type = ACCUMULATOR.get(x.dtype, x.dtype)
    y = x.new_empty(rows, weight.shape[2], dtype=wide_type)
    arrays = [array(t) for t in (x.to(wide_type), weight.to(wide_type), y)]
    lists = [array(t) for t in pairs]
    kernel = _conv_depthwise if _is_depthwise(x, weight) else _conv
    pieces = _pieces(lists, rows, x.shape[1] * weight.shape[2] // groups)
    for_each(len(pieces), lambda i: kernel(*arrays, *lists, *pieces[i], groups))
    return y.to(x.dtype)


def conv_weight_grad(x: Tensor, grad: Tensor, pairs: Sequence[Tensor], groups: int) -> Tensor:
    wide_type = ACCUMULATOR.get(x.dtype, x.dtype)
    lists = [array(t) for t in pairs]
    shape = (len(lists[3]), x.shape[1] // groups, grad.shape[1])
    tile_count = (len(lists[2]) - 1) // max(1, shape[0])
    slabs = max(1, min(MAX_SLABS, tile_count // TILES_A_SLAB))
    partial = x.new_zeros(slabs, *shape, dtype=wide_type)
    arrays = [array(t) for t in (x.to(wide_type), grad.to(wide_type))]
    sums = array(partial)
    depthwise = shape[1] == 1 and x.shape[1] == grad.shape[1]
    kernel = _weight_grad_depthwise if depthwise else _weight_grad
    edges = [tile_count * i // slabs for i in range(slabs + 1)]
    for_each(slabs, lambda i: kernel(*arrays, sums[i], *lists, edges[i], edges[i + 1], groups))
    return partial.sum(0).to(x.dtype)


def _is_depthwise(x: Tensor, weight: Tensor) -> bool:
    return weight.shape[1] == 1 and x.shape[1] == weight.shape[2]


def _pieces(lists: list[np.ndarray], rows: int, products: int) -> list[tuple[int, int]]:
    """Ranges of tiles, each worth about FLOPS_A_PIECE: what one thread takes at a time."""
    tile_count = -(-rows // TILE)
    flops = 2 * len(lists[0]) * products
    count = min(tile_count, 1 + flops // FLOPS_A_PIECE)
    edges = [tile_count * i // max(1, count) for i in range(count + 1)]
    return list(zip(edges[:-1], edges[1:], strict=True))


@njit(nogil=True, cache=True)
def _conv(x, w, y, inputs, outputs, starts, taps, first_tile, last_tile, groups):
    slots, c_in, c_out = taps.size, w.shape[1], w.shape[2]
    columns = c_out // groups
    itemsize = y.itemsize
    lanes = VECTOR // itemsize
    for tile in range(first_tile, last_tile):
        for row in range(tile * TILE, min(y.shape[0], tile * TILE + TILE)):
            for c in range(c_out):
                y[row, c] = 0
        for j in range(slots):
            begin, end = starts[tile * slots + j], starts[tile * slots + j + 1]
            if begin == end:
                continue
            for group in range(groups):
                xs = x.ctypes.data + group * c_in * itemsize
                c = group * columns
                last = c + columns
                while c < last:
                    ws = w.ctypes.data + (taps[j] * c_in * c_out + c) * itemsize
                    ys = y.ctypes.data + c * itemsize
                    left = last - c
                    if left >= WIDE_VECTORS * lanes:
                        _wide(x, xs, inputs, ws, ys, outputs, begin, end, c_in, y.shape[1])
                        c += WIDE_VECTORS * lanes
                    elif left >= MEDIUM_VECTORS * lanes:
                        _medium(x, xs, inputs, ws, ys, outputs, begin, end, c_in, y.shape[1])
                        c += MEDIUM_VECTORS * lanes
                    else:
                        _narrow(x, xs, inputs, ws, ys, outputs, begin, end, c_in, y.shape[1], left)
                        c += lanes


@njit(nogil=True, cache=True, inline="always")
def _wide(x, xs, inputs, ws, ys, outputs, begin, end, c_in, c_out):
    ins, outs, ldx, p = inputs.ctypes.data, outputs.ctypes.data, x.shape[1], begin
    while p + WIDE_ROWS <= end:
        wide(x, xs, ins + 4 * p, ws, ys, outs + 4 * p, c_in, ldx, c_out, c_out, 0)
        p += WIDE_ROWS
    while p + 2 <= end:
        wide_few(x, xs, ins + 4 * p, ws, ys, outs + 4 * p, c_in, ldx, c_out, c_out, 0)
        p += 2
    while p < end:
        wide_one(x, xs, ins + 4 * p, ws, ys, outs + 4 * p, c_in, ldx, c_out, c_out, 0)
        p += 1


@njit(nogil=True, cache=True, inline="always")
def _medium(x, xs, inputs, ws, ys, outputs, begin, end, c_in, c_out):
    ins, outs, ldx, p = inputs.ctypes.data, outputs.ctypes.data, x.shape[1], begin
    while p + MEDIUM_ROWS <= end:
        medium(x, xs, ins + 4 * p, ws, ys, outs + 4 * p, c_in, ldx, c_out, c_out, 0)
        p += MEDIUM_ROWS
    while p + 3 <= end:
        medium_few(x, xs, ins + 4 * p, ws, ys, outs + 4 * p, c_in, ldx, c_out, c_out, 0)
        p += 3
    while p < end:
        medium_one(x, xs, ins + 4 * p, ws, ys, outs + 4 * p, c_in, ldx, c_out, c_out, 0)
        p += 1


@njit(nogil=True, cache=True, inline="always")
def _narrow(x, xs, inputs, ws, ys, outputs, begin, end, c_in, c_out, lanes):
    ins, outs, ldx, p = inputs.ctypes.data, outputs.ctypes.data, x.shape[1], begin
    while p + NARROW_ROWS <= end:
        narrow(x, xs, ins + 4 * p, ws, ys, outs + 4 * p, c_in, ldx, c_out, c_out, lanes)
        p += NARROW_ROWS
    while p + 3 <= end:
        narrow_few(x, xs, ins + 4 * p, ws, ys, outs + 4 * p, c_in, ldx, c_out, c_out, lanes)
        p += 3
    while p < end:
        narrow_one(x, xs, ins + 4 * p, ws, ys, outs + 4 * p, c_in, ldx, c_out, c_out, lanes)
        p += 1


@njit(nogil=True, cache=True)
def _weight_grad(x, g, w, inputs, outputs, starts, taps, first_tile, last_tile, groups):
    slots, c_in, c_out = taps.size, w.shape[1], w.shape[2]
    columns = c_out // groups
    itemsize = w.itemsize
    lanes = VECTOR // itemsize
    ldx, ldg = x.shape[1], g.shape[1]
    for tile in range(first_tile, last_tile):
        for j in range(slots):
            begin = starts[tile * slots + j]
            pairs = starts[tile * slots + j + 1] - begin
            if pairs == 0:
                continue
            ins = inputs.ctypes.data + 4 * begin
            outs = outputs.ctypes.data + 4 * begin
            for group in range(groups):
                xs = x.ctypes.data + group * c_in * itemsize
                c = group * columns
                last = c + columns
                while c < last:
                    ws = w.ctypes.data + (taps[j] * c_in * c_out + c) * itemsize
                    gs = g.ctypes.data + c * itemsize
                    left = last - c
                    if left >= WIDE_VECTORS * lanes:
                        _outer_wide(x, xs, ins, gs, outs, ws, pairs, c_in, ldx, ldg, c_out, itemsize)
                        c += WIDE_VECTORS * lanes
                    elif left >= MEDIUM_VECTORS * lanes:
                        _outer_medium(
                            x, xs, ins, gs, outs, ws, pairs, c_in, ldx, ldg, c_out, itemsize
                        )
                        c += MEDIUM_VECTORS * lanes
                    else:
                        _outer_narrow(
                            x, xs, ins, gs, outs, ws, pairs, c_in, ldx, ldg, c_out, itemsize, left
                        )
                        c += lanes


@njit(nogil=True, cache=True, inline="always")
def _outer_wide(x, xs, ins, gs, outs, ws, pairs, c_in, ldx, ldg, ldw, size):
    i = 0
    while i + WIDE_ROWS <= c_in:
        outer_wide(x, xs + i * size, ins, gs, outs, ws + i * ldw * size, pairs, ldx, ldg, ldw, 0)
        i += WIDE_ROWS
    while i < c_in:
        outer_wide_one(
            x, xs + i * size, ins, gs, outs, ws + i * ldw * size, pairs, ldx, ldg, ldw, 0
        )
        i += 1


@njit(nogil=True, cache=True, inline="always")
def _outer_medium(x, xs, ins, gs, outs, ws, pairs, c_in, ldx, ldg, ldw, size):
    i = 0
    while i + 8 <= c_in:
        outer_medium(x, xs + i * size, ins, gs, outs, ws + i * ldw * size, pairs, ldx, ldg, ldw, 0)
        i += 8
    while i < c_in:
        outer_medium_one(
            x, xs + i * size, ins, gs, outs, ws + i * ldw * size, pairs, ldx, ldg, ldw, 0
        )
        i += 1


@njit(nogil=True, cache=True, inline="always")
def _outer_narrow(x, xs, ins, gs, outs, ws, pairs, c_in, ldx, ldg, ldw, size, lanes):
    i = 0
    while i + 8 <= c_in:
        outer_narrow(
            x, xs + i * size, ins, gs, outs, ws + i * ldw * size, pairs, ldx, ldg, ldw, lanes
        )
        i += 8
    while i < c_in:
        outer_narrow_one(
            x, xs + i * size, ins, gs, outs, ws + i * ldw * size, pairs, ldx, ldg, ldw, lanes
        )
        i += 1


@njit(nogil=True, cache=True)
def _conv_depthwise(x, w, y, inputs, outputs, starts, taps, first_tile, last_tile, groups):
    slots = taps.size
    for tile in range(first_tile, last_tile):
        y[tile * TILE : tile * TILE + TILE] = 0
        for j in range(slots):
            tap = taps[j]
            for p in range(starts[tile * slots + j], starts[tile * slots + j + 1]):
                source, target = inputs[p], outputs[p]
                for c in range(groups):
                    y[target, c] += x[source, c] * w[tap, 0, c]


@njit(nogil=True, cache=True)
def _weight_grad_depthwise(x, g, w, inputs, outputs, starts, taps, first_tile, last_tile, groups):
    slots = taps.size
    for tile in range(first_tile, last_tile):
        for j in range(slots):
            tap = taps[j]
            for p in range(starts[tile * slots + j], starts[tile * slots + j + 1]):
                source, target = inputs[p], outputs[p]
                for c in range(groups):
                    w[tap, 0, c] += x[source, c] * g[target, c]
