"""Sites by lines: the runs of sorted rows that agree on every axis but the last.

Along a line, sites are bits. A window is a word with the sites of a stretch of CELLS cells, so a
shift shows what lies around any cell, and counting bits numbers the rows, without a search and
without a branch that the processor would have to guess.
"""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit
from numba.extending import intrinsic

from gossamer.ops.keys.scratch import scratch
from gossamer.ops.rulebooks.streams import LONGEST

# Bits on either side stay empty, so that a look from beyond an end finds nothing.
CELLS = 64 - 1 - LONGEST
# A window starts this many cells after the one before or later, so that one of them shows all that
# a stream looks at.
STEP = CELLS - LONGEST
FAR = np.iinfo(np.int64).max


class Lines(NamedTuple):
    """The L lines and W windows of N sites; the memory may be longer.

    Args:
        keys: [L+1] int64, the number of each line in the box, ascending; then FAR.
        starts: [L+1] int32, the first row of each line; then N.
        windows: [L+1] int32, the first window of each line; then W.
        cells: [W] int64, where along the last axis each window starts.
        bits: [W] uint64, bit LONGEST + c is the site c cells on.
        rows: [W] int32, the row of a window's first site.
        count: L.
    """

    keys: np.ndarray
    starts: np.ndarray
    windows: np.ndarray
    cells: np.ndarray
    bits: np.ndarray
    rows: np.ndarray
    count: int

    @classmethod
    def of(
        cls,
        name: str,
        coords: np.ndarray,
        stride: np.ndarray,
        lower: np.ndarray,
        sizes: np.ndarray,
        windows: bool = True,
    ) -> "Lines":
        """The lines of sorted `coords` [N, 1+D] * stride, valid until those of this name are next.

        Args:
            name: what the memory is for.
            coords: [N, 1+D] int32.
            stride: [D].
            lower, sizes: [D] each, the first cell of the box and how many it has an axis.
            windows: whether to fill the windows too.
        """
        lines = len(coords) + 1
        most = lines if windows else 1
        keys = scratch(f"{name} keys", lines, np.int64)
        starts = scratch(f"{name} starts", lines, np.int32)
        first = scratch(f"{name} windows", most, np.int32)
        cells = scratch(f"{name} cells", most, np.int64)
        bits = scratch(f"{name} bits", most, np.uint64)
        rows = scratch(f"{name} rows", most, np.int32)
        box = coords, stride, lower, sizes
        count = _lines(*box, windows, keys, starts, first, cells, bits, rows)
        return cls(keys, starts, first, cells, bits, rows, count)


@njit(nogil=True, cache=True)
def _lines(coords, stride, lower, sizes, full, keys, starts, windows, cells, bits, rows):
    n, last = coords.shape[0], coords.shape[1] - 1
    line = window = -1
    start = key = np.int64(-1)
    for i in range(n):
        here = np.int64(coords[i, 0])
        for axis in range(last - 1):
            here = here * sizes[axis] + (coords[i, axis + 1] * stride[axis] - lower[axis])
        opens = here != key or i == 0
        if opens:
            line += 1
            keys[line], starts[line] = here, i
            key = here
        if not full:
            continue
        cell = coords[i, last] * stride[last - 1]
        if opens or cell - start >= STEP:
            window += 1
            cells[window], rows[window], bits[window] = cell, i, 0
            start = cell
        if opens:
            windows[line] = window
        bits[window] |= np.uint64(1) << np.uint64(cell - start + LONGEST)
        # The end of a window is also the beginning of the next.
        if window > windows[line] and cell - cells[window - 1] < CELLS:
            bits[window - 1] |= np.uint64(1) << np.uint64(cell - cells[window - 1] + LONGEST)
    keys[line + 1], starts[line + 1] = FAR, n
    if full:
        windows[line + 1] = window + 1
    return line + 1


@intrinsic
def ones(typing: Any, word: Any) -> Any:
    """How many bits of a word are set."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        return builder.ctpop(values[0])

    return word(word), emit
