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
    sorted_keys, queries = array(keys), array(wanted).reshape(-1)
    rows = np.empty(len(queries), np.int64)
    for_each(-(-len(queries) // PIECE), lambda i: _find(sorted_keys, queries, i * PIECE, rows))
    return tensor(rows).view(wanted.shape)


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
    keys = kernel(array(coords), low, high, int64s(stride), matrix(offsets, len(low)))
    keys.sort()
    return tensor(unpacked(keys[: _squeeze(keys)], low, high))


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
def _find(keys, wanted, start, rows):
    for i in range(start, min(start + PIECE, wanted.size)):
        row = np.searchsorted(keys, wanted[i])
        rows[i] = row if row < keys.size and keys[row] == wanted[i] else -1


@njit(nogil=True, cache=True)
def _coarse_keys(fine, lower, upper, stride, offsets):
    """The key of every site that some tap of some fine site belongs to, with repeats."""
    ndim = lower.size
    keys = np.empty(fine.shape[0] * offsets.shape[0], np.int64)
    count = 0
    for i in range(fine.shape[0]):
        for k in range(offsets.shape[0]):
            key = np.int64(fine[i, 0])
            for axis in range(ndim):
                shifted = fine[i, axis + 1] - offsets[k, axis]
                coarse = shifted // stride[axis]
                if coarse * stride[axis] != shifted or not lower[axis] <= coarse < upper[axis]:
                    key = -1
                    break
                key = key * (upper[axis] - lower[axis]) + (coarse - lower[axis])
            if key >= 0:
                keys[count] = key
                count += 1
    return keys[:count]


@njit(nogil=True, cache=True)
def _fine_keys(coarse, lower, upper, stride, offsets):
    """The key of every site that some tap of some coarse site reaches, with repeats."""
    ndim = lower.size
    keys = np.empty(coarse.shape[0] * offsets.shape[0], np.int64)
    count = 0
    for i in range(coarse.shape[0]):
        for k in range(offsets.shape[0]):
            key = np.int64(coarse[i, 0])
            for axis in range(ndim):
                fine = coarse[i, axis + 1] * stride[axis] + offsets[k, axis]
                if not lower[axis] <= fine < upper[axis]:
                    key = -1
                    break
                key = key * (upper[axis] - lower[axis]) + (fine - lower[axis])
            if key >= 0:
                keys[count] = key
                count += 1
    return keys[:count]
