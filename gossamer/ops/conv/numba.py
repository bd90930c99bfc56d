"""Convolution on the CPU: output-stationary tiles, walked with register-blocked micro-kernels.

A thread owns tiles of output rows, so nothing is locked, added atomically or copied together. The
weight gradient is summed in slabs of tiles whose number follows from the data, and the slabs are
added in order; so both give the same bits for any number of threads.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numba import njit
from torch import Tensor

from gossamer.ops.arrays import array
from gossamer.ops.conv import ACCUMULATOR, Epilogue
from gossamer.ops.conv.microkernel import HOST, Block, emit_outer, emit_rows, kernel
from gossamer.ops.dispatch import Problem
from gossamer.ops.rulebooks import TILE
from gossamer.ops.threads import for_each

VECTOR = HOST.vector_bytes
FLOPS_A_PIECE = 8_000_000  # a tenth of a millisecond or so: well above the cost of handing over
TILES_A_SLAB, MAX_SLABS = 16, 8


def refuses(problem: Problem) -> str:
    return "" if problem.device == "cpu" else f"runs on cpu, not {problem.device}"


def conv(
    x: Tensor,
    weight: Tensor,
    pairs: Sequence[Tensor],
    rows: int,
    groups: int,
    epilogue: Epilogue,
) -> Tensor:
    wide_type = ACCUMULATOR.get(x.dtype, x.dtype)
    y = x.new_empty(rows, weight.shape[2], dtype=wide_type)
    arrays = [array(t) for t in (x.to(wide_type), weight.to(wide_type), y)]
    lists = [array(t) for t in pairs]
    last = _last_steps(epilogue, y)
    depthwise = weight.shape[1] == 1 and x.shape[1] == weight.shape[2]
    kernel = _conv_depthwise if depthwise else _conv
    pieces = _pieces(lists, rows, x.shape[1] * weight.shape[2] // groups)
    for_each(len(pieces), lambda i: kernel(*arrays, *lists, *pieces[i], groups, *last))
    return y.to(x.dtype)


def _last_steps(epilogue: Epilogue, y: Tensor) -> tuple:
    """The epilogue as the kernels take it: empty arrays for what there is not."""
    none = y.new_empty(0)
    scale, shift = (none if t is None else t.to(y.dtype) for t in (epilogue.scale, epilogue.shift))
    residual = epilogue.residual
    residual = none.view(0, y.shape[1]) if residual is None else residual.to(y.dtype)
    slope = y.numpy().dtype.type(epilogue.below_zero)
    return array(scale), array(shift), array(residual), slope


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


def _row_kernels(block: Block, some: int):
    kernels = tuple(kernel(emit_rows, replace(block, rows=r)) for r in (block.rows, some, 1))
    return _rows_by(kernels, block.rows, some)


def _outer_kernels(block: Block, most: int):
    kernels = tuple(kernel(emit_outer, replace(block, rows=r)) for r in (most, 1))
    return _outer_by(kernels, most)


WIDE, MEDIUM, NARROW = Block.sizes(HOST)
WIDE_VECTORS, MEDIUM_VECTORS = WIDE.vectors, MEDIUM.vectors
_wide, _outer_wide = _row_kernels(WIDE, 2), _outer_kernels(WIDE, WIDE.rows)
_medium, _outer_medium = _row_kernels(MEDIUM, 3), _outer_kernels(MEDIUM, 8)
_narrow, _outer_narrow = _row_kernels(NARROW, 3), _outer_kernels(NARROW, 8)


@njit(nogil=True, cache=True)
def _conv(
    x,
    w,
    y,
    inputs,
    outputs,
    starts,
    taps,
    first_tile,
    last_tile,
    groups,
    scale,
    shift,
    residual,
    slope,
):
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
        _finish(y, tile, scale, shift, residual, slope)


@njit(nogil=True, cache=True)
def _finish(y, tile, scale, shift, residual, slope):
    """The epilogue of a tile's rows, while they are still in the cache."""
    begin, end = tile * TILE, min(y.shape[0], tile * TILE + TILE)
    if scale.size:
        for row in range(begin, end):
            for c in range(y.shape[1]):
                y[row, c] *= scale[c]
    if shift.size:
        for row in range(begin, end):
            for c in range(y.shape[1]):
                y[row, c] += shift[c]
    if residual.shape[0]:
        for row in range(begin, end):
            for c in range(y.shape[1]):
                y[row, c] += residual[row, c]
    if slope == 0:  # not a product, which would make NaN of an infinity
        for row in range(begin, end):
            for c in range(y.shape[1]):
                y[row, c] = 0 if y[row, c] < 0 else y[row, c]
    elif slope != 1:
        for row in range(begin, end):
            for c in range(y.shape[1]):
                y[row, c] *= slope if y[row, c] < 0 else 1


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
def _conv_depthwise(
    x,
    w,
    y,
    inputs,
    outputs,
    starts,
    taps,
    first_tile,
    last_tile,
    groups,
    scale,
    shift,
    residual,
    slope,
):
    slots = taps.size
    for tile in range(first_tile, last_tile):
        y[tile * TILE : tile * TILE + TILE] = 0
        for j in range(slots):
            tap = taps[j]
            for p in range(starts[tile * slots + j], starts[tile * slots + j + 1]):
                source, target = inputs[p], outputs[p]
                for c in range(groups):
                    y[target, c] += x[source, c] * w[tap, 0, c]
        _finish(y, tile, scale, shift, residual, slope)


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
