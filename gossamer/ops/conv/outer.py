"""The weight gradient of some tiles: w[tap] += x[input] outer g[output] over the pairs."""

from numba import njit

from gossamer.ops.arrays import CACHE_LINE
from gossamer.ops.conv.microkernel import Block, emit_outer, kernel
from gossamer.ops.conv.rows import MEDIUM, MEDIUM_VECTORS, NARROW, VECTOR, WIDE, WIDE_VECTORS

# Rows of x and g that fit into the first-level cache beside the weights being summed: every block
# of the weight reads them anew.
CHUNK_BYTES = 24 << 10
FEWEST_PAIRS = 16


def _accumulating(block: Block):
    """One tap's weight gradient from some pairs, as many rows at a time as the block has.

    Each pass over the pairs asks for one cache line of every row that the next pairs will need:
    first those of x, then those of g. It returns how many passes there were so far.
    """
    most, rest = block.rows, block.rest.rows
    many, few = kernel(emit_outer, block), kernel(emit_outer, block.rest)

    @njit(nogil=True)
    def accumulate(x, g, xs, gs, ws, ins, outs, pairs, c_in, ldw, lanes, passes, x_lines, g_lines):
        ldx, ldg, size, i = x.shape[1], g.shape[1], x.itemsize, 0
        while i < c_in:
            if passes < x_lines:
                ahead, wanted, lda = x.ctypes.data + CACHE_LINE * passes, ins + 4 * pairs, ldx
            elif passes < x_lines + g_lines:
                line = passes - x_lines
                ahead, wanted, lda = g.ctypes.data + CACHE_LINE * line, outs + 4 * pairs, ldg
            else:
                ahead, wanted, lda = ws, ins, 0  # a line that is there already
            passes += 1
            xi, wi, count = xs + i * size, ws + i * ldw * size, c_in - i
            if count >= most:
                many(
                    x, xi, ins, gs, outs, wi, pairs, ldx, ldg, ldw, lanes, most, ahead, wanted, lda
                )
                i += most
            else:
                count = min(count, rest)
                few(
                    x, xi, ins, gs, outs, wi, pairs, ldx, ldg, ldw, lanes, count, ahead, wanted, lda
                )
                i += rest
        return passes

    return accumulate


def _outer(block: Block) -> Block:
    """A block for the weight gradient: a number of rows that often divides that of channels."""
    return block if block.rows <= 8 else Block(8, block.vectors, block.masked)


_wide, _medium, _narrow = (_accumulating(_outer(block)) for block in (WIDE, MEDIUM, NARROW))


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
    passes = x_lines = g_lines = 0
    if begin + 2 * pairs <= inputs.size:
        x_lines = (x.shape[1] * itemsize + CACHE_LINE - 1) // CACHE_LINE
        g_lines = (g.shape[1] * itemsize + CACHE_LINE - 1) // CACHE_LINE
    for group in range(groups):
        xs = x.ctypes.data + group * c_in * itemsize
        c = group * columns
        last = c + columns
        while c < last:
            ws, gs = w.ctypes.data + c * itemsize, g.ctypes.data + c * itemsize
            left = last - c
            if left >= WIDE_VECTORS * lanes:
                passes = _wide(
                    x, g, xs, gs, ws, ins, outs, pairs, c_in, c_out, 0, passes, x_lines, g_lines
                )
                c += WIDE_VECTORS * lanes
            elif left >= MEDIUM_VECTORS * lanes:
                passes = _medium(
                    x, g, xs, gs, ws, ins, outs, pairs, c_in, c_out, 0, passes, x_lines, g_lines
                )
                c += MEDIUM_VECTORS * lanes
            else:
                passes = _narrow(
                    x, g, xs, gs, ws, ins, outs, pairs, c_in, c_out, left, passes, x_lines, g_lines
                )
                c += lanes
