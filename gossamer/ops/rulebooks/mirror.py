"""Rulebooks of a set of sites with itself: half the taps are found, the other half are mirrored.

If tap k of output o reads input i, the opposite tap of output i reads input o. So only taps that
look forward in key order are merged; each found pair is written twice, once either way round. The
pairs of one tap are found in ascending order of both rows, so both copies land in their tiles in
order, without sorting.
"""

import numpy as np
from numba import njit

from gossamer.ops.rulebooks import TILE, tiles
from gossamer.ops.rulebooks.streams import Streams, key_distance
from gossamer.ops.threads import for_each

ROWS_A_PIECE = 1 << 15
FAR = np.iinfo(np.int64).max


def match_itself(
    keys: np.ndarray, offsets: np.ndarray, opposite: np.ndarray, sizes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pairs of a symmetric kernel on one set of sites: inputs, outputs, starts.

    Args:
        keys: [N] int64, sorted, unique.
        offsets: [K, D], the taps.
        opposite: [K], for each tap the one that looks the other way.
        sizes: [D], cells an axis of the keys' box.
    """
    rows = len(keys)
    forward = np.flatnonzero(key_distance(offsets, sizes) > 0)
    found = _find(np.append(keys, FAR), Streams.of(offsets[forward], sizes), len(forward))
    centre = np.flatnonzero(opposite == np.arange(len(opposite)))
    counts = np.zeros((tiles(rows), len(offsets)), np.int64)
    counts[:, centre] = np.minimum(TILE, rows - TILE * np.arange(len(counts)))[:, None]

    def count(i: int) -> None:
        _count(*found, i, counts, forward[i], opposite[forward[i]])

    for_each(len(forward), count)
    starts = np.zeros(counts.size + 1, np.int64)
    np.cumsum(counts.reshape(-1), out=starts[1:])
    inputs, outputs = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.int32)
    places = starts[:-1].reshape(counts.shape)

    def fill(i: int) -> None:
        if i == len(forward):
            _fill_centre(places, centre, rows, inputs, outputs)
        else:
            _fill(*found, i, places, forward[i], opposite[forward[i]], inputs, outputs)

    for_each(len(forward) + 1, fill)
    return inputs, outputs, starts


def _find(keys: np.ndarray, streams: Streams, taps: int) -> tuple[np.ndarray, ...]:
    """Each tap's pairs (near row, far row), piece by piece of near rows, and how many there are."""
    rows = len(keys) - 1
    pieces = -(-rows // ROWS_A_PIECE)
    # Most of this is never written, so it takes address space and not memory.
    near = np.empty((taps, pieces, ROWS_A_PIECE), np.int32)
    far = np.empty((taps, pieces, ROWS_A_PIECE), np.int32)
    number = np.zeros((taps, pieces), np.int64)

    def piece(i: int) -> None:
        stream, part = divmod(i, pieces)
        shift, reach = streams.first[stream], streams.reach[stream]
        _forward(keys, shift, reach, streams.slot[stream], part, near, far, number)

    for_each(len(streams.first) * pieces, piece)
    return near, far, number


@njit(nogil=True, cache=True)
def _forward(keys, shift, reach, slot, piece, near, far, number):
    begin = piece * ROWS_A_PIECE
    p = np.searchsorted(keys, keys[begin] + shift)
    for row in range(begin, min(begin + ROWS_A_PIECE, keys.size - 1)):
        wanted = keys[row] + shift
        while keys[p] < wanted:
            p += 1
        q = p
        distance = keys[q] - wanted
        while distance <= reach:
            tap = slot[distance]
            if tap >= 0:
                n = number[tap, piece]
                near[tap, piece, n] = row
                far[tap, piece, n] = q
                number[tap, piece] = n + 1
            q += 1
            distance = keys[q] - wanted


@njit(nogil=True, cache=True)
def _count(near, far, number, i, counts, tap, opposite):
    for piece in range(number.shape[1]):
        for n in range(number[i, piece]):
            counts[near[i, piece, n] // TILE, tap] += 1
            counts[far[i, piece, n] // TILE, opposite] += 1


@njit(nogil=True, cache=True)
def _fill(near, far, number, i, places, tap, opposite, inputs, outputs):
    near_tile = far_tile = -1
    near_place = far_place = 0
    for piece in range(number.shape[1]):
        for n in range(number[i, piece]):
            a, b = near[i, piece, n], far[i, piece, n]
            if a // TILE != near_tile:
                near_tile = a // TILE
                near_place = places[near_tile, tap]
            if b // TILE != far_tile:
                far_tile = b // TILE
                far_place = places[far_tile, opposite]
            inputs[near_place], outputs[near_place] = b, a
            inputs[far_place], outputs[far_place] = a, b
            near_place += 1
            far_place += 1


@njit(nogil=True, cache=True)
def _fill_centre(places, centre, rows, inputs, outputs):
    for tap in centre:
        for row in range(rows):
            place = places[row // TILE, tap] + row % TILE
            inputs[place] = outputs[place] = row
