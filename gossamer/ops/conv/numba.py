"""Convolution on the CPU: output-stationary tiles, walked with register-blocked micro-kernels.

A thread owns tiles of output rows, so nothing is locked, added atomically or copied together. The
weight gradient is summed in slabs of tiles whose number follows from the data, and the slabs are
added in order; so both give the same bits for any number of threads.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numba import njit
from torch import Tensor

from gossamer.ops.arrays import array
from gossamer.ops.conv import ACCUMULATOR
from gossamer.ops.conv.microkernel import HOST, MEDIUM, NARROW, WIDE, outer_kernel, row_kernel
from gossamer.ops.dispatch import Problem
from gossamer.ops.rulebooks import TILE
from gossamer.ops.threads import for_each

VECTOR = HOST.vector_bytes
FLOPS_A_PIECE = 8_000_000  # a tenth of a millisecond or so: well above the cost of handing over
TILES_A_SLAB, MAX_SLABS = 16, 8


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
    return list(pairwise(edges))


def _rows_by(kernels: tuple, most: int, some: int):
    """All pairs of a slot against one block of columns, `most` rows at a time, then `some`, then 1.

    The functions made here are compiled into the kernels that call them, so these alone are cached.
    """
    many, few, one = kernels

    @njit(nogil=True)
    def multiply(x, xs, ins, ws, ys, outs, pairs, c_in, c_out, lanes):
        ldx, p = x.shape[1], 0
        while p + most <= pairs:
            many(x, xs, ins + 4 * p, ws, ys, outs + 4 * p, c_in, ldx, c_out, c_out, lanes)
            p += most
        while p + some <= pairs:
            few(x, xs, ins + 4 * p, ws, ys, outs + 4 * p, c_in, ldx, c_out, c_out, lanes)
            p += some
        while p < pairs:
            one(x, xs, ins + 4 * p, ws, ys, outs + 4 * p, c_in, ldx, c_out, c_out, lanes)
            p += 1

    return multiply


def _outer_by(kernels: tuple, most: int):
    """One tap's weight gradient from all pairs of a slot, `most` rows of it at a time, then 1."""
    many, one = kernels

    @njit(nogil=True)
    def accumulate(x, xs, ins, gs, outs, ws, pairs, c_in, ldg, ldw, lanes):
        ldx, size, i = x.shape[1], x.itemsize, 0
        while i + most <= c_in:
            many(x, xs + i * size, ins, gs, outs, ws + i * ldw * size, pairs, ldx, ldg, ldw, lanes)
            i += most
        while i < c_in:
            one(x, xs + i * size, ins, gs, outs, ws + i * ldw * size, pairs, ldx, ldg, ldw, lanes)
            i += 1

    return accumulate


def _row_kernels(rows: tuple[int, ...], vectors: int, masked: bool) -> tuple:
    return tuple(row_kernel(r, vectors, masked) for r in rows)


def _outer_kernels(rows: int, vectors: int, masked: bool) -> tuple:
    return outer_kernel(rows, vectors, masked), outer_kernel(1, vectors, masked)


WIDE_VECTORS, MEDIUM_VECTORS = WIDE[1], MEDIUM[1]
_wide = _rows_by(_row_kernels((WIDE[0], 2, 1), WIDE[1], False), WIDE[0], 2)
_medium = _rows_by(_row_kernels((MEDIUM[0], 3, 1), MEDIUM[1], False), MEDIUM[0], 3)
_narrow = _rows_by(_row_kernels((NARROW[0], 3, 1), NARROW[1], True), NARROW[0], 3)
_outer_wide = _outer_by(_outer_kernels(WIDE[0], WIDE[1], False), WIDE[0])
_outer_medium = _outer_by(_outer_kernels(8, MEDIUM[1], False), 8)
_outer_narrow = _outer_by(_outer_kernels(8, NARROW[1], True), 8)


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
                    ys = y.ctypes.data + c * itemsize
                    left = last - c
                    if left >= WIDE_VECTORS * lanes:
                        _wide(x, xs, ins, ws, ys, outs, pairs, c_in, c_out, 0)
                        c += WIDE_VECTORS * lanes
                    elif left >= MEDIUM_VECTORS * lanes:
                        _medium(x, xs, ins, ws, ys, outs, pairs, c_in, c_out, 0)
                        c += MEDIUM_VECTORS * lanes
                    else:
                        _narrow(x, xs, ins, ws, ys, outs, pairs, c_in, c_out, left)
                        c += lanes


@njit(nogil=True, cache=True)
def _weight_grad(x, g, w, inputs, outputs, starts, taps, first_tile, last_tile, groups):
    slots, c_in, c_out = taps.size, w.shape[1], w.shape[2]
    columns = c_out // groups
    itemsize = w.itemsize
    lanes = VECTOR // itemsize
    ldg = g.shape[1]
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
                        _outer_wide(x, xs, ins, gs, outs, ws, pairs, c_in, ldg, c_out, 0)
                        c += WIDE_VECTORS * lanes
                    elif left >= MEDIUM_VECTORS * lanes:
                        _outer_medium(x, xs, ins, gs, outs, ws, pairs, c_in, ldg, c_out, 0)
                        c += MEDIUM_VECTORS * lanes
                    else:
                        _outer_narrow(x, xs, ins, gs, outs, ws, pairs, c_in, ldg, c_out, left)
                        c += lanes


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
