"""Keys on the CPU: one pass packs or unpacks, one sort of (key, row) words orders."""

import numpy as np
from numba import njit
from torch import Tensor

from gossamer.ops.arrays import array, int64s, matrix, tensor
from gossamer.ops.dispatch import Problem
from gossamer.ops.threads import for_each

PIECE = 1 << 15  # rows a thread takes at a time


def refuses(problem: Problem) -> str:
    return "" if problem.device == "cpu" else f"runs on cpu, not {problem.device}"


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
    fine: Tensor, lower: list[int], upper: list[int], stride: list[int], offsets: list[int]
) -> Tensor:
    return _sites(_coarse_keys, fine, lower, upper, stride, offsets)


def dilate(
    coarse: Tensor, lower: list[int], upper: list[int], stride: list[int], offsets: list[int]
) -> Tensor:
    return _sites(_fine_keys, coarse, lower, upper, stride, offsets)


def _sites(kernel, coords: Tensor, lower, upper, stride, offsets) -> Tensor:
    low, high = int64s(lower), int64s(upper)
    taps = np.unique(matrix(offsets, len(low)), axis=0)
    marks, place = _marks(taps)
    keys = kernel(array(coords), low, high, int64s(stride), marks, place, _skips(taps))
    if len(keys) and (int(coords[-1, 0]) + 1) * int(np.prod(high - low)) < 1 << 32:
        keys = keys.astype(np.uint32)  # half the bytes, half the time of the sort
    keys.sort()
    return tensor(unpacked(keys[: _squeeze(keys)].astype(np.int64), low, high))


def _marks(taps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct places of taps on every axis [D, U], and which of them each tap has [K, D]."""
    axes = [np.unique(axis, return_inverse=True) for axis in taps.T]
    marks = np.zeros((len(axes), max(len(distinct) for distinct, _ in axes)), np.int64)
    for axis, (distinct, _) in enumerate(axes):
        marks[axis, : len(distinct)] = distinct
        marks[axis, len(distinct) :] = distinct[0]
    return marks, np.stack([which for _, which in axes], axis=1)


def _skips(taps: np.ndarray) -> np.ndarray:
    """[K, D]: the first tap behind each that differs from it on an axis up to this one.

    When a tap fails on an axis, all taps that share its place so far fail with it.
    """
    count, ndim = taps.shape
    skips = np.full((count, ndim), count, np.int64)
    for axis in range(ndim):
        changes = np.flatnonzero((np.diff(taps[:, : axis + 1], axis=0) != 0).any(1)) + 1
        following = np.searchsorted(changes, np.arange(count), side="right")
        inner = following < len(changes)
        skips[inner, axis] = changes[following[inner]]
    return skips


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
def _squeeze(keys):
    """Move the distinct values of sorted `keys` to its front; return how many they are."""
    count = 0
    for key in keys:
        if count == 0 or key != keys[count - 1]:
            keys[count] = key
            count += 1
    return count


@njit(nogil=True, cache=True)
def _find(keys, wanted, rows, start):
    for i in range(start, min(start + PIECE, wanted.size)):
        row = np.searchsorted(keys, wanted[i])
        rows[i] = row if row < keys.size and keys[row] == wanted[i] else -1


@njit(nogil=True, cache=True)
def _coarse_keys(fine, lower, upper, stride, marks, place, skips):
    """The key of every site that some tap of some fine site belongs to, with repeats."""
    keys = np.empty(fine.shape[0] * place.shape[0], np.int64)
    digits = np.empty(marks.shape, np.int64)
    count = 0
    sizes = upper - lower
    for i in range(fine.shape[0]):
        for axis in range(lower.size):
            # Rows are sorted, so all axes but the last seldom change from one to the next.
            if i == 0 or fine[i, axis + 1] != fine[i - 1, axis + 1]:
                low, high, step = lower[axis], upper[axis], stride[axis]
                for u in range(marks.shape[1]):
                    shifted = fine[i, axis + 1] - marks[axis, u]
                    coarse = shifted // step
                    hit = coarse * step == shifted and low <= coarse < high
                    digits[axis, u] = coarse - low if hit else -1
        count = _keys_of_taps(fine[i, 0], digits, sizes, place, skips, keys, count)
    return keys[:count]


@njit(nogil=True, cache=True)
def _fine_keys(coarse, lower, upper, stride, marks, place, skips):
    """The key of every site that some tap of some coarse site reaches, with repeats."""
    keys = np.empty(coarse.shape[0] * place.shape[0], np.int64)
    digits = np.empty(marks.shape, np.int64)
    count = 0
    sizes = upper - lower
    for i in range(coarse.shape[0]):
        for axis in range(lower.size):
            if i == 0 or coarse[i, axis + 1] != coarse[i - 1, axis + 1]:
                low, high, step = lower[axis], upper[axis], stride[axis]
                for u in range(marks.shape[1]):
                    fine = coarse[i, axis + 1] * step + marks[axis, u]
                    digits[axis, u] = fine - low if low <= fine < high else -1
        count = _keys_of_taps(coarse[i, 0], digits, sizes, place, skips, keys, count)
    return keys[:count]


@njit(nogil=True, cache=True, inline="always")
def _keys_of_taps(batch, digits, sizes, place, skips, keys, count):
    """Append the key of every tap none of whose digits is -1; return the new count."""
    k = 0
    while k < place.shape[0]:
        key = np.int64(batch)
        following = k + 1
        for axis in range(sizes.size):
            digit = digits[axis, place[k, axis]]
            if digit < 0:
                key = -1
                following = skips[k, axis]
                break
            key = key * sizes[axis] + digit
        if key >= 0:
            keys[count] = key
            count += 1
        k = following
    return count
