"""The weight gradient of some tiles: w[tap] += x[input] outer g[output] over the pairs."""

from numba import njit

from gossamer.ops.arrays import CACHE_LINE
from gossamer.ops.conv.emitter import HOST
from gossamer.ops.conv.microkernel import Block, emit_outer, kernel
from gossamer.ops.conv.rows import VECTOR

# Rows of x and g that fit into the first-level cache beside the weights being summed: every block
# of the weight reads them anew.
CHUNK_BYTES = 24 << 10
FEWEST_PAIRS = 16


def _accumulating(block: Block):
    """One tap's weight gradient from some pairs, as many rows at a time as the block has.

    Each pass over the pairs asks for one cache line of every row that lies `ahead` pairs behind.
    It returns how many passes there were so far.
    """
    most, rest = block.rows, block.rest.rows
    many, few = kernel(emit_outer, block), kernel(emit_outer, block.rest)

    @njit(nogil=True)
    def accumulate(x, g, xs, gs, ws, ins, outs, pairs, c_in, ldw, lanes, passes, ahead):
        ldx, ldg, size, i = x.shape[1], g.shape[1], x.itemsize, 0
        while i < c_in:
            x_line = x.ctypes.data + min(passes * CACHE_LINE, (ldx - 1) * size)
            g_line = g.ctypes.data + min(passes * CACHE_LINE, (ldg - 1) * size)
            passes += 1
            xi, wi, count = xs + i * size, ws + i * ldw * size, min(rest, c_in - i)
            if i + most <= c_in:
                many(
                    *(x, xi, ins, gs, outs, wi, pairs, ldx, ldg, ldw, lanes),
                    *(most, x_line, g_line, ahead),
                )
                i += most
            else:
                few(
                    *(x, xi, ins, gs, outs, wi, pairs, ldx, ldg, ldw, lanes),
                    *(count, x_line, g_line, ahead),
                )
                i += rest
        return passes

    return accumulate


BLOCKS = Block.outer_sizes(HOST)
FOUR, THREE, TWO, _ = (block.vectors for block in BLOCKS)
_four, _three, _two, _one = map(_accumulating, BLOCKS)


@njit(nogil=True, cache=True)
def weight_grad(x, g, w, inputs, outputs, starts, taps, first_tile, last_tile, groups):
    slots = taps.size
    row_bytes = (x.shape[1] + g.shape[1]) * w.itemsize
    most = max(FEWEST_PAIRS, CHUNK_BYTES // max(1, row_bytes))
    for tile in range(first_tile, last_tile):
        for j in range(slots):
            begin, end = starts[tile * slots + j], starts[tile * slots + j + 1]
            while begin < end:
                pairs = min(most, end - begin)
                _weight_grad_chunk(x, g, w[taps[j]], inputs, outputs, begin, pairs, groups)
                begin += pairs


@njit(nogil=True, inline="always")
def _weight_grad_chunk(x, g, w, inputs, outputs, begin, pairs, groups):
    c_in, c_out = w.shape
    columns = c_out // groups
    itemsize = w.itemsize
    lanes = VECTOR // itemsize
    ins, outs = inputs.ctypes.data + 4 * begin, outputs.ctypes.data + 4 * begin
    ahead = pairs if begin + 2 * pairs <= inputs.size else 0
    passes = 0
    for group in range(groups):
        xs = x.ctypes.data + group * c_in * itemsize
        c = group * columns
        last = c + columns
        while c < last:
            ws, gs = w.ctypes.data + c * itemsize, g.ctypes.data + c * itemsize
            left = last - c
            if left >= FOUR * lanes:
                passes = _four(x, g, xs, gs, ws, ins, outs, pairs, c_in, c_out, 0, passes, ahead)
                c += FOUR * lanes
            elif left >= THREE * lanes:
                passes = _three(x, g, xs, gs, ws, ins, outs, pairs, c_in, c_out, 0, passes, ahead)
                c += THREE * lanes
            elif left >= TWO * lanes:
                passes = _two(x, g, xs, gs, ws, ins, outs, pairs, c_in, c_out, 0, passes, ahead)
                c += TWO * lanes
            else:
                passes = _one(x, g, xs, gs, ws, ins, outs, pairs, c_in, c_out, left, passes, ahead)
                c += lanes
