"""Pairs of sites found line by line: first the lines that meet, then the bits they share."""

from threading import Lock

import numpy as np
from numba import njit

from gossamer.ops.keys.numba import first_place
from gossamer.ops.keys.scratch import keep, scratch
from gossamer.ops.rulebooks import TILE
from gossamer.ops.rulebooks.lines import STEP, Lines, ones
from gossamer.ops.rulebooks.streams import LONGEST, Streams
from gossamer.ops.threads import for_each

# Tiles that one thread takes at a time: about 8 k rows, a fraction of a millisecond.
TILES_A_PIECE = 16


def joined(
    near: Lines,
    far: Lines,
    cells: np.ndarray,
    streams: Streams,
    sizes: np.ndarray,
    counts: np.ndarray,
) -> np.ndarray:
    """[P] uint64: near row << 32 | far row of every pair, tile by tile of near rows, tap by tap.

    It is valid until this thread calls again.

    Args:
        near, far: the lines of both sets of sites.
        cells: [N] the near sites along the last axis.
        streams: of the taps to look for.
        sizes: [D] cells an axis of the box.
        counts: [T, K] zeros, filled with how many pairs there are.
    """
    # Lines are numbered row-major by all axes but the last.
    shifts = streams.lines @ np.append(np.cumprod(sizes[-2:0:-1])[::-1], 1)[: len(sizes) - 1]
    taps = streams.streams, streams.first, streams.lengths, streams.cells, streams.taps
    most = min(len(cells), TILES_A_PIECE * TILE) * int(streams.lengths.sum())
    itself = streams.opposites is not None
    pool = Pool(2 * len(cells))

    def piece(i: int) -> None:
        found = scratch("pairs of a piece", most, np.uint64)
        number = _join(near, far, cells, shifts, *taps, itself, i * TILES_A_PIECE, counts, found)
        pool.add(i, found[:number])

    for_each(-(-len(counts) // TILES_A_PIECE), piece)
    return pool.all()


class Pool:
    """The lists of some pieces of work, which may finish in any order, one behind the other."""

    def __init__(self, guess: int) -> None:
        self._memory = scratch("pairs", guess, np.uint64)
        self._places: dict[int, slice] = {}
        self._used = 0
        self._lock = Lock()

    def add(self, piece: int, numbers: np.ndarray) -> None:
        """Copy the list of `piece`; any thread may call."""
        with self._lock:
            start, end = self._used, self._used + len(numbers)
            if end > len(self._memory):
                before, self._memory = self._memory, np.empty(2 * end, np.uint64)
                self._memory[:start] = before[:start]
            self._memory[start:end] = numbers
            self._places[piece] = slice(start, end)
            self._used = end

    def all(self) -> np.ndarray:
        """The lists in the order of pieces."""
        keep("pairs", self._memory)
        pieces = sorted(self._places)
        if list(self._places) == pieces:
            return self._memory[: self._used]
        return np.concatenate([self._memory[self._places[piece]] for piece in pieces])


@njit(nogil=True, cache=True)
def _join(
    near, far, cells, shifts, streams, first, lengths, places, taps, itself, first_tile, counts, out
):
    """Fill `out` with the pairs of TILES_A_PIECE tiles from `first_tile` on; how many there are."""
    near_keys, near_starts, _, _, _, _, near_lines = near
    far_keys, _, windows, window_cells, bits, rows, far_lines = far
    slots = counts.shape[1]
    last_tile = min(first_tile + TILES_A_PIECE, counts.shape[0])
    begin, end = first_tile * TILE, min(cells.size, last_tile * TILE)
    # A pair is always written, and counted only if there is one; so there is room for one more.
    # Unsigned numbers spare the test for an index from the end.
    tile_pairs = np.empty(slots * (TILE + 1), np.uint64)
    free = np.empty(slots, np.uint64)
    meets = np.empty(TILE, np.int64)
    pair_near = np.empty(TILE + 1, np.int64)
    pair_far = np.empty(TILE + 1, np.int64)
    line = first_place(near_starts, 0, near_lines, begin + 1) - 1
    pointers = np.empty(shifts.size, np.int64)
    for group in range(shifts.size):
        pointers[group] = first_place(far_keys, 0, far_lines, near_keys[line] + shifts[group])
    one, filled = np.uint64(1), 0
    for tile in range(first_tile, last_tile):
        begin, end = tile * TILE, min(cells.size, tile * TILE + TILE)
        for slot in range(slots):
            free[slot] = slot * (TILE + 1)
        while near_starts[line + 1] <= begin:
            line += 1
        first_line = line
        while line < near_lines and near_starts[line] < end:
            line += 1
        number = line - first_line
        line -= 1
        for group in range(shifts.size):
            wanted, p, a = shifts[group], pointers[group], 0
            if itself and wanted == 0:
                for a in range(number):
                    meets[a] = first_line + a
                a = number
            while a < number:
                behind = far_keys[p] < near_keys[first_line + a] + wanted
                meets[a] = p
                p += behind
                a += 1 - behind
            pointers[group] = p
            for stream in streams[group]:
                pairs = 0
                least = 2 if itself and wanted == 0 else 1
                for a in range(number):
                    q = meets[a]
                    pair_near[pairs], pair_far[pairs] = first_line + a, q
                    hit = far_keys[q] == near_keys[first_line + a] + wanted
                    meets[a] = q + hit
                    # A site alone on its line has no neighbour there.
                    pairs += hit & (
                        near_starts[first_line + a + 1] - near_starts[first_line + a] >= least
                    )
                wanted += 1
                if stream < 0:
                    continue
                for pair in range(pairs):
                    a, q = pair_near[pair], pair_far[pair]
                    window, last_window = windows[q], windows[q + 1] - 1
                    if last_window - window > LONGEST:
                        cell = cells[max(begin, near_starts[a])] + first[stream]
                        window = first_place(window_cells, window, last_window, cell - STEP + 1)
                    for row in range(max(begin, near_starts[a]), min(end, near_starts[a + 1])):
                        cell = cells[row] + first[stream]
                        while window < last_window and window_cells[window] + STEP <= cell:
                            window += 1
                        word = bits[window]
                        place = min(max(cell - window_cells[window] + LONGEST, 0), 63)
                        seen = word >> np.uint64(place)
                        found = np.uint64(rows[window]) + ones(word) - ones(seen)
                        found |= np.uint64(row) << np.uint64(32)
                        for t in range(lengths[stream]):
                            tap, bit = taps[stream, t], one << places[stream, t]
                            at = free[tap]
                            tile_pairs[at] = found + ones(seen & (bit - one))
                            free[tap] = at + ((seen & bit) != 0)
        for slot in range(slots):
            start = slot * (TILE + 1)
            count = np.int64(free[slot]) - start
            counts[tile, slot] = count
            for i in range(count):
                out[filled + i] = tile_pairs[start + i]
            filled += count
    return filled
