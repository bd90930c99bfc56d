"""Pooling on the CPU: each thread owns tiles of output rows."""

from collections.abc import Sequence

import torch
from numba import njit
from torch import Tensor

from gossamer.ops.arrays import array
from gossamer.ops.conv import ACCUMULATOR
from gossamer.ops.dispatch import Problem
from gossamer.ops.rulebooks import TABLE, TILE, tiles
from gossamer.ops.threads import for_each

TILES_A_PIECE = 8


def refuses(problem: Problem) -> str:
    if problem.device != "cpu":
        return f"runs on cpu, not {problem.device}"
    return "takes pairs, not a table" if problem.lists == TABLE else ""


def pool_sum(x: Tensor, pairs: Sequence[Tensor], rows: int) -> Tensor:
    wide = ACCUMULATOR.get(x.dtype, x.dtype)
    y = x.new_empty(rows, x.shape[1], dtype=wide)
    arrays = [array(x.to(wide)), array(y), *map(array, pairs)]
    for_each(-(-tiles(rows) // TILES_A_PIECE), lambda i: _sum(*arrays, i * TILES_A_PIECE))
    return y.to(x.dtype)


def argmax(x: Tensor, pairs: Sequence[Tensor], rows: int) -> Tensor:
    winner = x.new_empty(rows, x.shape[1], dtype=torch.int64)
    arrays = [array(t) for t in (x.to(ACCUMULATOR.get(x.dtype, x.dtype)), winner, *pairs)]
    for_each(-(-tiles(rows) // TILES_A_PIECE), lambda i: _argmax(*arrays, i * TILES_A_PIECE))
    return winner


@njit(nogil=True, cache=True)
def _sum(x, y, inputs, outputs, starts, taps, first_tile):
    rows, slots = y.shape[0], taps.size
    for tile in range(first_tile, min(first_tile + TILES_A_PIECE, (rows + TILE - 1) // TILE)):
        y[tile * TILE : tile * TILE + TILE] = 0
        for p in range(starts[tile * slots], starts[tile * slots + slots]):
            source, target = inputs[p], outputs[p]
            for c in range(x.shape[1]):
                y[target, c] += x[source, c]


@njit(nogil=True, cache=True)
def _argmax(x, winner, inputs, outputs, starts, taps, first_tile):
    rows, slots = winner.shape[0], taps.size
    for tile in range(first_tile, min(first_tile + TILES_A_PIECE, (rows + TILE - 1) // TILE)):
        winner[tile * TILE : tile * TILE + TILE] = -1
        for p in range(starts[tile * slots], starts[tile * slots + slots]):
            source, target = inputs[p], outputs[p]
            for c in range(x.shape[1]):
                best = winner[target, c]
                # `not <=` is true for a NaN, which then stays because nothing is > NaN.
                if best < 0 or (not x[source, c] <= x[best, c] and x[best, c] == x[best, c]):
                    winner[target, c] = source
