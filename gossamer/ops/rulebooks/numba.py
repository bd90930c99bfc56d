"""Rulebooks on the CPU, by walking along sorted sites instead of hashing.

Rows are sorted, so for a fixed tap the wanted sites of successive outputs only move forward, and
one pointer follows them: over whole lines of sites first, then along the two lines that met.
"""

import sys

import numpy as np
from numba import njit
from torch import Tensor

from gossamer.ops.arrays import array, int64s, tensor
from gossamer.ops.dispatch import Problem
from gossamer.ops.keys.capacity import existing
from gossamer.ops.keys.numba import sorting_order
from gossamer.ops.rulebooks import TILE, tiles
from gossamer.ops.rulebooks.join import joined
from gossamer.ops.rulebooks.lines import Lines
from gossamer.ops.rulebooks.mirror import mirrored
from gossamer.ops.rulebooks.reference import arrange, listed, turn
from gossamer.ops.rulebooks.streams import streams_of

# Tables are for GPUs; that they can be made here too serves who looks at one.
__all__ = ["LAYOUT", "arrange", "listed", "match", "refuses", "transpose", "turn"]
LAYOUT = "pairs"


def refuses(problem: Problem) -> str:
    return "" if problem.device == "cpu" else f"runs on cpu, not {problem.device}"


def match(
    fine: Tensor,
    coarse: Tensor,
    lower: list[int],
    upper: list[int],
    stride: list[int],
    offsets: list[int],
    batches: int,
    fine_count: Tensor | None,
    coarse_count: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    fine = existing(fine, fine_count)
    coarse = fine if coarse is fine else existing(coarse, coarse_count)
    low, high = int64s(lower), int64s(upper)
    streams = streams_of(tuple(offsets), len(stride), fine is coarse and set(stride) == {1})
    sizes, steps = high - low, int64s(stride)
    rows = array(fine)
    near = far = Lines.of("far", rows, np.ones_like(steps), low, sizes)
    if fine is not coarse:
        rows = array(coarse)
        near = Lines.of("near", rows, steps, low, sizes, windows=False)
    counts = np.zeros((tiles(len(rows)), len(offsets) // len(stride)), np.int64)
    pairs = joined(near, far, rows[:, -1] * steps[-1], streams, sizes, counts)
    if streams.opposites is not None:
        lists = mirrored(pairs, counts, len(rows), streams.opposites)
    else:
        starts = np.zeros(counts.size + 1, np.int64)
        np.cumsum(counts.reshape(-1), out=starts[1:])
        halves = pairs.view(np.int32).reshape(-1, 2)
        low, high = (0, 1) if sys.byteorder == "little" else (1, 0)
        lists = halves[:, low].copy(), halves[:, high].copy(), starts
    return tensor(lists[0]), tensor(lists[1]), tensor(lists[2])


def transpose(
    inputs: Tensor, outputs: Tensor, starts: Tensor, slots: int, rows: int
) -> tuple[Tensor, Tensor, Tensor]:
    arrays = array(inputs), array(outputs), array(starts)
    new_inputs, new_outputs, new_starts, sorted_already = _transpose(*arrays, slots, tiles(rows))
    if not sorted_already:  # several pairs of a slot share an output, as the points of a voxel do
        group = np.repeat(np.arange(len(new_starts) - 1), np.diff(new_starts))
        order = sorting_order(group * rows + new_outputs)
        new_inputs, new_outputs = new_inputs[order], new_outputs[order]
    return tensor(new_inputs), tensor(new_outputs), tensor(new_starts)


@njit(nogil=True, cache=True)
def _transpose(inputs, outputs, starts, slots, new_tiles):
    """A stable counting sort of the pairs by (tile of input, slot); whether rows are in order."""
    new_starts = np.zeros(new_tiles * slots + 1, np.int64)
    for group in range(starts.size - 1):
        slot = group % slots
        for i in range(starts[group], starts[group + 1]):
            new_starts[inputs[i] // TILE * slots + slot + 1] += 1
    for group in range(new_tiles * slots):
        new_starts[group + 1] += new_starts[group]
    free = new_starts[:-1].copy()
    new_inputs = np.empty(inputs.size, np.int32)
    new_outputs = np.empty(inputs.size, np.int32)
    sorted_already = True
    for group in range(starts.size - 1):
        slot = group % slots
        for i in range(starts[group], starts[group + 1]):
            target = inputs[i] // TILE * slots + slot
            place = free[target]
            if place > new_starts[target] and new_outputs[place - 1] > inputs[i]:
                sorted_already = False
            new_inputs[place] = outputs[i]
            new_outputs[place] = inputs[i]
            free[target] += 1
    return new_inputs, new_outputs, new_starts, sorted_already
