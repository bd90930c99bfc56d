"""The sites that taps lead to: where `(site * times + tap) / over` is whole and inside a box.

Sites are sorted, so from one to the next the first axes seldom change. What the taps make of them
is kept as lists, one an axis, and only those from the first axis that changed are made anew.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit

from gossamer.ops.keys.scratch import scratch


class Tree(NamedTuple):
    """Taps by their places along every axis: a tap is a path from the root, an axis a step.

    Args:
        marks: [D, U] int64, the distinct places along every axis, the first repeated to fill up.
        begins: [D-1, V+1] int64, where among the steps of an axis those of each node begin.
        steps: [D-1, V] int64, which of the marks each step goes to; it ends in the node of its own
            number.
        kinds: [V] int64, which set of places along the last axis the node before it leads to.
        starts: [Q+1] int64, where the marks of each set begin.
        ends: the marks of all sets.
        most: how many taps lead from one site to a whole one, at most.
    """

    marks: np.ndarray
    begins: np.ndarray
    steps: np.ndarray
    kinds: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    most: int


@lru_cache(maxsize=64)
def tree_of(offsets: tuple[int, ...], over: tuple[int, ...], sign: int) -> Tree:
    """The tree of the taps `sign * offsets` [K x D], row-major."""
    taps = sign * np.array(offsets, np.int64).reshape(-1, len(over))
    axes = [np.unique(axis, return_inverse=True) for axis in taps.T]
    marks = np.repeat([[distinct[0]] for distinct, _ in axes], max(len(d) for d, _ in axes), axis=1)
    for row, (distinct, _) in zip(marks, axes, strict=True):
        row[: len(distinct)] = distinct
    places = np.unique(np.stack([which for _, which in axes], axis=1), axis=0)  # [K, D]
    begins, steps = np.zeros((2, max(1, len(over) - 1), len(places) + 1), np.int64)
    node = np.zeros(len(places), np.int64)
    for axis in range(len(over) - 1):
        parents = node
        first, node = np.unique(
            places[:, : axis + 1], axis=0, return_index=True, return_inverse=True
        )[1:]
        node = node.reshape(-1)
        steps[axis, : len(first)] = places[first, axis]
        begins[axis] = np.searchsorted(parents[first], np.arange(len(places) + 1))
    sets: dict[tuple[int, ...], int] = {}
    kinds = [
        sets.setdefault(tuple(places[node == leaf, -1].tolist()), len(sets))
        for leaf in range(node.max() + 1)
    ]
    # A site and a tap meet in a whole site only where both leave the same remainder.
    most = np.unique(taps % np.array(over), axis=0, return_counts=True)[1].max()
    starts = np.cumsum([0, *map(len, sets)])
    return Tree(
        marks, begins, steps, np.array(kinds), starts, np.concatenate(list(sets)), int(most)
    )


def reached(
    coords: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    times: np.ndarray,
    over: np.ndarray,
    tree: Tree,
) -> np.ndarray:
    """The keys of all such sites, in any order and some repeated, until the next call."""
    keys = scratch("reached", len(coords) * tree.most + 1, np.int64)
    return keys[: _reached(coords, lower, upper, times, over, *tree[:-1], keys)]


@njit(nogil=True, cache=True)
def _reached(coords, lower, upper, times, over, marks, begins, steps, kinds, starts, ends, keys):
    last = lower.size - 1
    sizes = upper - lower
    digits = np.empty(marks.shape, np.int64)
    nodes = np.empty((last + 1, kinds.size + 2), np.int64)
    bases = np.empty((last + 1, kinds.size + 2), np.int64)
    filled = np.empty(last + 1, np.int64)
    latest = np.empty(starts.size, np.int64)
    fresh = np.empty(ends.size + 1, np.int64)
    stop = np.empty(starts.size, np.int64)
    count = 0
    for i in range(coords.shape[0]):
        changed = 0
        if i > 0 and coords[i, 0] == coords[i - 1, 0]:
            while changed < last and coords[i, changed + 1] == coords[i - 1, changed + 1]:
                changed += 1
        for axis in range(changed, last + 1):
            # Numbers below 2**53 divide as floats, in a quarter of the time.
            divisor = np.float64(over[axis])
            for u in range(marks.shape[1]):
                far = coords[i, axis + 1] * times[axis] + marks[axis, u]
                cell = np.int64(math.floor(far / divisor))
                hit = (cell * over[axis] == far) & (lower[axis] <= cell) & (cell < upper[axis])
                digits[axis, u] = cell - lower[axis] if hit else -1
        if changed < last or i == 0 or coords[i, 0] != coords[i - 1, 0]:
            for kind in range(latest.size):
                latest[kind] = -1
            nodes[0, 0], bases[0, 0], filled[0] = 0, coords[i, 0], 1
        for axis in range(changed, last):
            number = 0
            for entry in range(filled[axis]):
                node, base = nodes[axis, entry], bases[axis, entry] * sizes[axis]
                for step in range(begins[axis, node], begins[axis, node + 1]):
                    digit = digits[axis, steps[axis, step]]
                    nodes[axis + 1, number], bases[axis + 1, number] = step, base + digit
                    number += digit >= 0
            filled[axis + 1] = number
        for kind in range(starts.size - 1):
            at, before = starts[kind], latest[kind]
            for end in range(starts[kind], starts[kind + 1]):
                digit = digits[last, ends[end]]
                fresh[at] = digit
                # What the site before reached last, this one often reaches first.
                new = (digit >= 0) & (digit != before)
                before = digit if new else before
                at += new
            stop[kind], latest[kind] = at, before
        for entry in range(filled[last]):
            kind, base = kinds[nodes[last, entry]], bases[last, entry] * sizes[last]
            for at in range(starts[kind], stop[kind]):
                keys[count] = base + fresh[at]
                count += 1
    return count
