"""Depthwise convolution: a product for each number read, so memory decides and not arithmetic."""

from numba import njit

from gossamer.ops.conv.epilogue import finish
from gossamer.ops.rulebooks import TILE


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
            tap = taps[j]
            for p in range(starts[tile * slots + j], starts[tile * slots + j + 1]):
                source, target = inputs[p], outputs[p]
                for c in range(groups):
                    y[target, c] += x[source, c] * w[tap, 0, c]
        finish(y, tile, scale, shift, residual, slope)


@njit(nogil=True, cache=True)
def weight_grad_depthwise(x, g, w, inputs, outputs, starts, taps, first_tile, last_tile, groups):
    slots = taps.size
    for tile in range(first_tile, last_tile):
        for j in range(slots):
            tap = taps[j]
            for p in range(starts[tile * slots + j], starts[tile * slots + j + 1]):
                source, target = inputs[p], outputs[p]
                for c in range(groups):
                    w[tap, 0, c] += x[source, c] * g[target, c]
