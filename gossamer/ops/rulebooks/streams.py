"""Taps grouped by the line of sites that they look at, and lines by the pointer that finds them.

A line is all sites that agree on every axis but the last. Taps that agree there look at one line
and make a stream; streams that agree on every axis but the last two look at lines that follow one
another, and make a group, which one pointer into the sorted lines serves.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

# A stream sees this many cells of a line at once, a group this many lines; taps farther apart get
# streams and groups of their own.
LONGEST = 8

Offset = tuple[int, ...]


@dataclass(frozen=True)
class Streams:
    """The S streams of some taps, in G groups.

    Args:
        lines: [G, D-1] int64, where the first line of a group lies, seen from the output's.
        streams: [G, R] int64, the stream of each line from the first on, or -1.
        first: [S] int64, the place of a stream's first tap along the last axis.
        lengths: [S] int64, how many taps a stream has.
        cells: [S, LONGEST] uint64, how far behind the first each of them lies.
        taps: [S, LONGEST] uint64, which ones they are.
        opposites: [K] int64, for each tap the one that looks the other way; or None, where the
            streams are of all taps.
    """

    lines: np.ndarray
    streams: np.ndarray
    first: np.ndarray
    lengths: np.ndarray
    cells: np.ndarray
    taps: np.ndarray
    opposites: np.ndarray | None = None

    @classmethod
    def of(
        cls, ndim: int, taps: dict[Offset, int], opposites: np.ndarray | None = None
    ) -> "Streams":
        """The streams of taps, given as the number of each by its offset."""
        runs = _runs(sorted(taps), lambda tap: tap[:-1], lambda tap: tap[-1])
        heads = [(run[0][:-1], stream) for stream, run in enumerate(runs)]
        groups = _runs(heads, lambda head: head[0][:-1], lambda head: _last(head[0]))
        streams = np.full((len(groups), LONGEST), -1, np.int64)
        for group, members in zip(streams, groups, strict=True):
            for line, stream in members:
                group[_last(line) - _last(members[0][0])] = stream
        cells, numbers = np.zeros((2, len(runs), LONGEST), np.uint64)
        for stream, run in enumerate(runs):
            cells[stream, : len(run)] = [tap[-1] - run[0][-1] for tap in run]
            numbers[stream, : len(run)] = [taps[tap] for tap in run]
        lines = np.array([members[0][0] for members in groups], np.int64)
        first = np.array([run[0][-1] for run in runs], np.int64)
        lengths = np.array([len(run) for run in runs], np.int64)
        reach = 1 + (streams >= 0).any(0).nonzero()[0].max(initial=0)
        used = np.ascontiguousarray(streams[:, :reach])
        return cls(
            lines.reshape(len(groups), ndim - 1), used, first, lengths, cells, numbers, opposites
        )


@lru_cache(maxsize=64)
def streams_of(offsets: Offset, ndim: int, mirrored: bool) -> Streams:
    """The streams of K x D `offsets`, for sites that are themselves their outputs only of half.

    Args:
        offsets: row-major.
        ndim: D.
        mirrored: whether inputs and outputs are the same sites. Then, if every tap has an opposite,
            only those that look forward get streams.
    """
    taps = {offsets[i : i + ndim]: i // ndim for i in range(0, len(offsets), ndim)}
    opposites = [taps.get(tuple(-v for v in tap), -1) for tap in taps]
    if not mirrored or -1 in opposites:
        return Streams.of(ndim, taps)
    forward = {tap: number for tap, number in taps.items() if tap > (0,) * ndim}
    return Streams.of(ndim, forward, np.array(opposites, np.int64))


def _last(line: Offset) -> int:
    return line[-1] if line else 0


def _runs(
    items: Iterable[Any], line: Callable[[Any], Offset], place: Callable[[Any], int]
) -> list[list[Any]]:
    """Sorted items cut into runs, whose places on one line grow and fit into LONGEST."""
    runs: list[list[Any]] = []
    for item in items:
        first = runs and runs[-1][0]
        fits = runs and line(item) == line(first) and place(runs[-1][-1]) < place(item)
        if fits and place(item) - place(first) < LONGEST:
            runs[-1].append(item)
        else:
            runs.append([item])
    return runs
