"""Rulebooks of a set of sites with itself: half the taps are found, the other half are mirrored.

If tap k of output o reads input i, the opposite tap of output i reads input o. So only taps that
look forward in key order are looked for; each found pair is written twice, once either way round.
The pairs of one tap are found in ascending order of both rows, so both copies land in their tiles
in order, without sorting.
"""

import numpy as np
from numba import njit

from gossamer.ops.rulebooks import TILE
from gossamer.ops.threads import for_each

# Pairs from which on it pays to let several threads take some taps each.
MANY = 1 << 15
TAPS_A_PIECE = 4
HALF, LOW = np.uint64(32), np.uint64(0xFFFFFFFF)


def mirrored(
    pairs: np.ndarray, counts: np.ndarray, rows: int, opposites: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pairs of a symmetric kernel: inputs, outputs, starts.

    Args:
        pairs: [P] uint64, near row << 32 | far row, the forward ones, tile by tile, tap by tap.
        counts: [T, K], how many of them there are; those of the other taps are 0 and are filled.
        rows: N.
        opposites: [K], for each tap the one that looks the other way.
    """
    found = np.concatenate([[0], np.cumsum(counts.reshape(-1))])
    taps = counts.shape[1] if len(pairs) < MANY else TAPS_A_PIECE
    pieces = -(-counts.shape[1] // taps)
    for_each(pieces, lambda i: _count(pairs, found, opposites, rows, i * taps, taps, counts))
    starts = np.zeros(counts.size + 1, np.int64)
    np.cumsum(counts.reshape(-1), out=starts[1:])
    inputs, outputs = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.int32)
    lists = pairs, found, opposites, starts
    for_each(pieces, lambda i: _fill(*lists, rows, i * taps, taps, inputs, outputs))
    return inputs, outputs, starts


@njit(nogil=True, cache=True)
def _count(pairs, found, opposites, rows, first_tap, taps, counts):
    """Count the mirrored pairs of some taps, and those of the centre."""
    slots = opposites.size
    for tap in range(first_tap, min(first_tap + taps, slots)):
        opposite = opposites[tap]
        for tile in range(counts.shape[0]):
            if tap == opposite:
                counts[tile, tap] = min(TILE, rows - tile * TILE)
                continue
            group = tile * slots + tap
            for pair in range(found[group], found[group + 1]):
                counts[np.int64(pairs[pair] & LOW) // TILE, opposite] += 1


@njit(nogil=True, cache=True)
def _fill(pairs, found, opposites, starts, rows, first_tap, taps, inputs, outputs):
    slots = opposites.size
    end_tap = min(first_tap + taps, slots)
    # Where the next mirrored pair of each tap goes, and the first row behind that tile.
    free = np.zeros(slots, np.int64)
    end = np.zeros(slots, np.int64)
    for tile in range((starts.size - 1) // slots):
        for tap in range(first_tap, end_tap):
            group = tile * slots + tap
            place = starts[group]
            if tap == opposites[tap]:
                for row in range(tile * TILE, min(rows, tile * TILE + TILE)):
                    inputs[place] = outputs[place] = row
                    place += 1
                continue
            begin = found[group]
            for i in range(found[group + 1] - begin):
                inputs[place + i] = np.int32(pairs[begin + i] & LOW)
                outputs[place + i] = np.int32(pairs[begin + i] >> HALF)
            for pair in range(begin, found[group + 1]):
                row = np.int64(pairs[pair] & LOW)
                if row >= end[tap]:
                    other = row // TILE
                    end[tap] = other * TILE + TILE
                    free[tap] = starts[other * slots + opposites[tap]]
                inputs[free[tap]] = np.int32(pairs[pair] >> HALF)
                outputs[free[tap]] = row
                free[tap] += 1
