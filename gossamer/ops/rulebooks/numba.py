"""Rulebooks on the CPU, by merging sorted keys instead of hashing.

Rows are sorted, so for a fixed tap the wanted keys of successive outputs only grow, and one pointer
into the keys follows them. Taps that differ along the last axis alone see keys that lie next to
each other: they share one pointer, so a 3x3x3 kernel is nine merges, not 27.
"""

import numpy as np
from numba import njit
from torch import Tensor

from gossamer.ops.arrays import array, int64s, matrix, tensor
from gossamer.ops.dispatch import Problem
from gossamer.ops.keys.numba import packed, sorting_order
from gossamer.ops.rulebooks import TILE, tiles
from gossamer.ops.rulebooks.mirror import FAR, match_itself
from gossamer.ops.rulebooks.streams import Streams, opposites
from gossamer.ops.threads import for_each

# Tiles that one thread takes at a time: about 8 k rows, a fraction of a millisecond.
TILES_A_PIECE = 16


def refuses(problem: Problem) -> str:
    return "" if problem.device == "cpu" else f"runs on cpu, not {problem.device}"


def match(
    fine: Tensor,
    coarse: Tensor,
    lower: list[int],
    upper: list[int],
    stride: list[int],
    offsets: list[int],
) -> tuple[Tensor, Tensor, Tensor]:
    low, high = int64s(lower), int64s(upper)
    keys = packed(array(fine), low, high)
    shifts = matrix(offsets, len(stride))
    opposite = opposites(shifts) if fine is coarse and set(stride) == {1} else None
    if opposite is not None:
        lists = match_itself(keys, shifts, opposite, high - low)
    else:
        anchors = _anchors(array(coarse), low, high, int64s(stride))
        lists = _match(np.append(keys, FAR), anchors, Streams.of(shifts, high - low), len(shifts))
    return tensor(lists[0]), tensor(lists[1]), tensor(lists[2])


def _match(
    keys: np.ndarray, anchors: np.ndarray, streams: Streams, taps: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs, outputs, starts, from keys that end with a sentinel and the anchors of outputs."""
    counts = np.zeros((tiles(len(anchors)), taps), np.int64)
    parts: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def piece(i: int) -> None:
        first = i * TILES_A_PIECE
        parts[i] = _merge(keys, anchors, first, streams.first, streams.reach, streams.slot, counts)

    pieces = -(-len(counts) // TILES_A_PIECE)
    for_each(pieces, piece)
    starts = np.zeros(counts.size + 1, np.int64)
    np.cumsum(counts.reshape(-1), out=starts[1:])
    empty = np.empty(0, np.int32)
    inputs = np.concatenate([empty, *(parts[i][0] for i in range(pieces))])
    outputs = np.concatenate([empty, *(parts[i][1] for i in range(pieces))])
    return inputs, outputs, starts


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
def _anchors(coarse, lower, upper, stride):
    """The key, in the box of the fine sites, of `coarse * stride`."""
    keys = np.empty(coarse.shape[0], np.int64)
    for i in range(coarse.shape[0]):
        key = np.int64(coarse[i, 0])
        for axis in range(lower.size):
            fine = np.int64(coarse[i, axis + 1]) * stride[axis]
            key = key * (upper[axis] - lower[axis]) + (fine - lower[axis])
        keys[i] = key
    return keys


@njit(nogil=True, cache=True)
def _merge(keys, anchors, first_tile, first, reach, slot, counts):
    """The pairs of TILES_A_PIECE tiles. `keys` ends with a sentinel larger than all."""
    slots = counts.shape[1]
    last_tile = min(first_tile + TILES_A_PIECE, counts.shape[0])
    rows = min(anchors.size, last_tile * TILE) - first_tile * TILE
    inputs = np.empty(rows * slots, np.int32)
    outputs = np.empty(rows * slots, np.int32)
    # One tile's pairs, slot by slot; then they move up to form the piece's list without gaps.
    tile_inputs = np.empty((slots, TILE), np.int32)
    tile_outputs = np.empty((slots, TILE), np.int32)
    filled = 0
    for tile in range(first_tile, last_tile):
        begin = tile * TILE
        end = min(begin + TILE, anchors.size)
        count = counts[tile]
        for stream in range(first.size):
            near, far, shift = slot[stream], reach[stream], first[stream]
            p = np.searchsorted(keys, anchors[begin] + shift)
            for row in range(begin, end):
                wanted = anchors[row] + shift
                while keys[p] < wanted:
                    p += 1
                q = p
                distance = keys[q] - wanted
                while distance <= far:
                    j = near[distance]
                    if j >= 0:
                        tile_inputs[j, count[j]] = q
                        tile_outputs[j, count[j]] = row
                        count[j] += 1
                    q += 1
                    distance = keys[q] - wanted
        for j in range(slots):
            for i in range(count[j]):
                inputs[filled + i] = tile_inputs[j, i]
                outputs[filled + i] = tile_outputs[j, i]
            filled += count[j]
    return inputs[:filled], outputs[:filled]


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
