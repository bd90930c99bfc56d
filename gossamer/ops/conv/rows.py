"""Output rows, tile by tile: y[output] += x[input] @ w[tap] over the pairs of every slot."""

import numpy as np
from numba import njit

from gossamer.ops.arrays import CACHE_LINE
from gossamer.ops.conv.emitter import HOST
from gossamer.ops.conv.epilogue import finish
from gossamer.ops.conv.microkernel import Block, emit_panel, emit_prefetch, emit_rows, kernel
from gossamer.ops.rulebooks import TILE

VECTOR = HOST.vector_bytes
# How many pairs before its turn a row is asked for: gathered rows come from the last-level cache or
# further, and the arithmetic of that many pairs covers the wait.
AHEAD = 24


def _multiplying(block: Block):
    """All pairs of a slot against one block of columns, as many rows at a time as the block has.

    The functions made here are compiled into the kernels that call them, so these alone are cached.
    """
    most, rest = block.rows, block.rest.rows
    many, few = kernel(emit_rows, block), kernel(emit_rows, block.rest)
    fetch_many, fetch_few = kernel(emit_prefetch, block), kernel(emit_prefetch, block.rest)

    @njit(nogil=True)
    def multiply(x, xs, ins, ws, ys, outs, pairs, known, c_in, c_out, ldy, lanes):
        ldx, p = x.shape[1], 0
        lines = (c_in * x.itemsize + CACHE_LINE - 1) // CACHE_LINE
        while p + most <= pairs:
            if p + AHEAD + most <= known:
                fetch_many(x, xs, ins + 4 * (p + AHEAD), ldx, lines)
            many(x, xs, ins + 4 * p, ws, ys, outs + 4 * p, c_in, ldx, c_out, ldy, lanes, most)
            p += most
        while p < pairs:
            if p + AHEAD + rest <= known:
                fetch_few(x, xs, ins + 4 * (p + AHEAD), ldx, lines)
            count = min(rest, pairs - p)
            few(x, xs, ins + 4 * p, ws, ys, outs + 4 * p, c_in, ldx, c_out, ldy, lanes, count)
            p += rest

    return multiply


def _narrowing(block: Block):
    """What `_multiplying` gives, for one vector of columns."""
    multiply = _multiplying(block)
    depth = PANEL.rows
    hold = kernel(emit_panel, PANEL)

    @njit(nogil=True)
    def narrow(x, xs, ins, ws, ys, outs, pairs, known, c_in, c_out, ldy, lanes):
        if c_in % depth:  # a rest would be a pass of its own
            multiply(x, xs, ins, ws, ys, outs, pairs, known, c_in, c_out, ldy, lanes)
            return
        ldx, known = x.shape[1], max(known, pairs)
        for k in range(0, c_in, depth):
            xk, wk = xs + k * x.itemsize, ws + k * c_out * x.itemsize
            hold(x, xk, ins, wk, ys, outs, pairs, ldx, c_out, ldy, lanes, AHEAD, known)

    return narrow


PANEL = Block.panel(HOST)
*BLOCKS, NARROW = Block.sizes(HOST)
FOUR, THREE, TWO = (block.vectors for block in BLOCKS)
(_four, _three, _two), _one = map(_multiplying, BLOCKS), _narrowing(NARROW)


@njit(nogil=True, cache=True)
def conv_rows(
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
    # Rows that do not fill vectors are summed apart from each other: a load waits for a masked
    # store to the row before, where that is within a vector's length.
    odd = groups == 1 and c_out % lanes != 0
    ldy = (c_out // lanes + 1) * lanes if odd else c_out
    apart = np.empty((TILE if odd else 0, ldy), y.dtype)
    for tile in range(first_tile, last_tile):
        first = tile * TILE
        rows = y[first : first + TILE]
        sums = apart if odd else rows
        sums[:] = 0
        base = sums.ctypes.data - first * ldy * itemsize
        for j in range(slots):
            begin = starts[tile * slots + j]
            pairs = starts[tile * slots + j + 1] - begin
            if pairs == 0 or c_in == 0:
                continue
            ins = inputs.ctypes.data + 4 * begin
            outs = outputs.ctypes.data + 4 * begin
            for group in range(groups):
                xs = x.ctypes.data + group * c_in * itemsize
                c = group * columns
                last = c + columns
                # Only the first block of columns has to wait for rows, and looks past its slot.
                known = inputs.size - begin
                while c < last:
                    ws = w.ctypes.data + (taps[j] * c_in * c_out + c) * itemsize
                    ys = base + c * itemsize
                    left = last - c
                    if left >= FOUR * lanes:
                        _four(x, xs, ins, ws, ys, outs, pairs, known, c_in, c_out, ldy, 0)
                        c += FOUR * lanes
                    elif left >= THREE * lanes:
                        _three(x, xs, ins, ws, ys, outs, pairs, known, c_in, c_out, ldy, 0)
                        c += THREE * lanes
                    elif left >= TWO * lanes:
                        _two(x, xs, ins, ws, ys, outs, pairs, known, c_in, c_out, ldy, 0)
                        c += TWO * lanes
                    else:
                        _one(x, xs, ins, ws, ys, outs, pairs, known, c_in, c_out, ldy, left)
                        c += lanes
                    known = 0
        if odd:
            for row in range(rows.shape[0]):
                for c in range(c_out):
                    rows[row, c] = apart[row, c]
        finish(y, tile, scale, shift, residual, slope)
