"""Depthwise convolution: a product for each number read, so memory decides and not arithmetic."""

from collections.abc import Callable

from numba import njit

from gossamer.ops.conv.epilogue import finish
from gossamer.ops.conv.microkernel import Block, emit_depthwise, emit_depthwise_outer, kernel
from gossamer.ops.conv.rows import AHEAD, VECTOR
from gossamer.ops.rulebooks import TILE

WIDE, NARROW = Block(1, 4), Block(1, 1, masked=True)
WIDE_VECTORS = WIDE.vectors


def _over_columns(body: Callable):
    """The pairs of a slot, for all columns, a block of them at a time."""
    wide, narrow = kernel(body, WIDE), kernel(body, NARROW)

    @njit(nogil=True)
    def over_columns(x, ins, w, other, outs, pairs, known):
        columns, size = x.shape[1], x.itemsize
        lanes, c = VECTOR // size, 0
        ahead = AHEAD if pairs + AHEAD <= known else 0
        while c < columns:
            xs, ws = x.ctypes.data + c * size, w.ctypes.data + c * size
            ys, left = other.ctypes.data + c * size, columns - c
            if left >= WIDE_VECTORS * lanes:
                wide(x, xs, ins, ws, ys, outs, pairs, columns, columns, 0, ahead)
                c += WIDE_VECTORS * lanes
            else:
                narrow(x, xs, ins, ws, ys, outs, pairs, columns, columns, left, ahead)
                c += lanes

    return over_columns


_multiply, _accumulate = _over_columns(emit_depthwise), _over_columns(emit_depthwise_outer)


@njit(nogil=True, cache=True)
def conv_depthwise(
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
            begin = starts[tile * slots + j]
            pairs = starts[tile * slots + j + 1] - begin
            if pairs:
                ins, outs = inputs.ctypes.data + 4 * begin, outputs.ctypes.data + 4 * begin
                _multiply(x, ins, w[taps[j], 0], y, outs, pairs, inputs.size - begin)
        finish(y, tile, scale, shift, residual, slope)


@njit(nogil=True, cache=True)
def weight_grad_depthwise(x, g, w, inputs, outputs, starts, taps, first_tile, last_tile, groups):
    slots = taps.size
    for tile in range(first_tile, last_tile):
        for j in range(slots):
            begin = starts[tile * slots + j]
            pairs = starts[tile * slots + j + 1] - begin
            if pairs:
                ins, outs = inputs.ctypes.data + 4 * begin, outputs.ctypes.data + 4 * begin
                _accumulate(x, ins, w[taps[j], 0], g, outs, pairs, inputs.size - begin)
