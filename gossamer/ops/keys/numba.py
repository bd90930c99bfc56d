"""Keys on the CPU: one pass packs or unpacks, one sort of (key, row) words orders."""

import math

import numpy as np
from numba import njit
from torch import Tensor

from gossamer.ops.arrays import array, int64s, tensor
from gossamer.ops.dispatch import Problem
from gossamer.ops.keys.capacity import existing, padded
from gossamer.ops.keys.reach import Tree, reached, tree_of
from gossamer.ops.keys.scratch import scratch
from gossamer.ops.threads import for_each

PIECE = 1 << 15  # rows a thread takes at a time


def refuses(problem: Problem) -> str:
    return "" if problem.device == "cpu" else f"runs on cpu, not {problem.device}"


def survey(coords: Tensor) -> Tensor:
    return tensor(_surveyed(array(coords)))


def pack(coords: Tensor, lower: list[int], upper: list[int]) -> Tensor:
    return tensor(packed(array(coords), int64s(lower), int64s(upper)))


def unpack(keys: Tensor, lower: list[int], upper: list[int]) -> Tensor:
    return tensor(unpacked(array(keys), int64s(lower), int64s(upper)))


def argsort(keys: Tensor) -> Tensor:
    return tensor(sorting_order(array(keys)))


def unique(keys: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    order = sorting_order(array(keys))
    distinct, rows = _distinct(array(keys), order)
    return tensor(distinct), tensor(rows), tensor(order)


def find(keys: Tensor, wanted: Tensor) -> Tensor:
    rows = wanted.new_empty(wanted.numel())
    arrays = array(keys), array(wanted).reshape(-1), array(rows)
    for_each(-(-len(rows) // PIECE), lambda i: _find(*arrays, i * PIECE))
    return rows.view(wanted.shape)


def coarsen(
    fine: Tensor,
    lower: list[int],
    upper: list[int],
    stride: list[int],
    offsets: list[int],
    batches: int,
) -> Tensor:
    return _sites(
        fine, lower, upper, [1] * len(stride), stride, tree_of(tuple(offsets), tuple(stride), -1)
    )


def dilate(
    coarse: Tensor,
    lower: list[int],
    upper: list[int],
    stride: list[int],
    offsets: list[int],
    batches: int,
) -> Tensor:
    ones = [1] * len(stride)
    return _sites(coarse, lower, upper, stride, ones, tree_of(tuple(offsets), tuple(ones), 1))


def coarsen_within(
    sites: Tensor,
    count: Tensor | None,
    lower: list[int],
    upper: list[int],
    stride: list[int],
    offsets: list[int],
    batches: int,
    capacity: int,
) -> tuple[Tensor, Tensor]:
    found = coarsen(existing(sites, count), lower, upper, stride, offsets, batches)
    return padded(found, capacity)


def dilate_within(
    sites: Tensor,
    count: Tensor | None,
    lower: list[int],
    upper: list[int],
    stride: list[int],
    offsets: list[int],
    batches: int,
    capacity: int,
) -> tuple[Tensor, Tensor]:
    found = dilate(existing(sites, count), lower, upper, stride, offsets, batches)
    return padded(found, capacity)


def _sites(coords: Tensor, lower, upper, times, over, tree: Tree) -> Tensor:
    low, high = int64s(lower), int64s(upper)
    keys = reached(array(coords), low, high, int64s(times), int64s(over), tree)
    cells = math.prod(map(int.__sub__, upper, lower))
    if len(keys) and (int(coords[-1, 0]) + 1) * cells < 1 << 32:
        # Half the bytes, half the time of the sort.
        half = scratch("reached, 32 bits", len(keys), np.uint32)[: len(keys)]
        half[:] = keys
        keys = half
    keys.sort()
    return tensor(_distinct_sites(keys, low, high))


def sorting_order(keys: np.ndarray) -> np.ndarray:
    """[N] int64: the stable order of `keys`.

    Sorting words of (key, row) is several times faster than an argsort; where the two do not fit
    into 63 bits together, the argsort it is.
    """
    n = len(keys)
    bits = max(1, (n - 1).bit_length())
    if n == 0 or int(keys.max()) >> (63 - bits) or int(keys.min()) < 0:
        return np.argsort(keys, kind="stable")
    words = (keys << bits) | np.arange(n, dtype=np.int64)
    words.sort()
    return words & ((1 << bits) - 1)


@njit(nogil=True, cache=True)
def _surveyed(coords):
    rows, columns = coords.shape
    found = np.zeros((3, columns), np.int64)
    found[1], found[2] = -1, 1
    if rows:
        found[0] = found[1] = coords[0]
    ascending = True
    for i in range(1, rows):
        up = False
        for column in range(columns - 1, -1, -1):
            before, here = np.int64(coords[i - 1, column]), np.int64(coords[i, column])
            # No branch: which column changes from row to row cannot be guessed.
            up = (here > before) | ((here == before) & up)
            found[0, column] = min(found[0, column], here)
            found[1, column] = max(found[1, column], here)
        ascending &= up
    if not ascending:
        found[2] = 0
    return found


@njit(nogil=True, cache=True)
def packed(coords, lower, upper):
    keys = np.empty(coords.shape[0], np.int64)
    for i in range(coords.shape[0]):
        key = np.int64(coords[i, 0])
        for axis in range(lower.size):
            key = key * (upper[axis] - lower[axis]) + (coords[i, axis + 1] - lower[axis])
        keys[i] = key
    return keys


@njit(nogil=True, cache=True)
def unpacked(keys, lower, upper):
    coords = np.empty((keys.size, 1 + lower.size), np.int32)
    for i in range(keys.size):
        rest = keys[i]
        for axis in range(lower.size - 1, -1, -1):
            size = upper[axis] - lower[axis]
            quotient = rest // size
            coords[i, axis + 1] = rest - quotient * size + lower[axis]
            rest = quotient
        coords[i, 0] = rest
    return coords


@njit(nogil=True, cache=True)
def _distinct(keys, order):
    rows = np.empty(keys.size, np.int64)
    distinct = np.empty(keys.size, np.int64)
    count = 0
    for row in order:
        if count == 0 or keys[row] != distinct[count - 1]:
            distinct[count] = keys[row]
            count += 1
        rows[row] = count - 1
    return distinct[:count].copy(), rows


@njit(nogil=True, cache=True)
def _distinct_sites(keys, lower, upper):
    """The sites of sorted keys, each once."""
    count = 0
    for i in range(keys.size):
        count += i == 0 or keys[i] != keys[i - 1]
    coords = np.empty((count, 1 + lower.size), np.int32)
    last = lower.size
    size = upper[last - 1] - lower[last - 1]
    line = end = np.int64(0)  # the keys of the line of sites that the last one lay on
    row = -1
    for i in range(keys.size):
        key = np.int64(keys[i])
        if i > 0 and keys[i] == keys[i - 1]:
            continue
        row += 1
        if key < end:
            for column in range(last):
                coords[row, column] = coords[row - 1, column]
        else:
            rest = key // size
            line, end = rest * size, rest * size + size
            for axis in range(last - 2, -1, -1):
                cells = upper[axis] - lower[axis]
                quotient = rest // cells
                coords[row, axis + 1] = rest - quotient * cells + lower[axis]
                rest = quotient
            coords[row, 0] = rest
        coords[row, last] = key - line + lower[last - 1]
    return coords


@njit(nogil=True, cache=True)
def _find(keys, wanted, rows, start):
    row = keys.size  # the first place whose key is at least the last one wanted
    for i in range(start, min(start + PIECE, wanted.size)):
        key = wanted[i]
        # The next one is often wanted next: sorted keys, or the corners around a point.
        if i == start or key <= wanted[i - 1]:
            row = first_place(keys, 0, keys.size, key)
        elif row < keys.size and keys[row] < key:
            row += 1
            if row < keys.size and keys[row] < key:
                row = first_place(keys, row + 1, keys.size, key)
        rows[i] = row if row < keys.size and keys[row] == key else -1


@njit(nogil=True, cache=True)
def first_place(numbers, begin, end, least):
    """The first place from `begin` on, or `end`, whose number is at least `least`."""
    # np.searchsorted does the same, and takes seconds to compile.
    while begin < end:
        middle = (begin + end) // 2
        if numbers[middle] < least:
            begin = middle + 1
        else:
            end = middle
    return begin
