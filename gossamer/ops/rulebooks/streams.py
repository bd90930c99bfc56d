"""Taps grouped into streams, each of which one pointer into sorted keys can follow."""

from dataclasses import dataclass

import numpy as np

# A stream looks at every key between its ends, so taps far apart along the last axis get streams of
# their own.
LONGEST = 8


@dataclass(frozen=True)
class Streams:
    """S streams: taps equal on all axes but the last, and in order along it.

    Args:
        first: [S] int64, the key distance from an output's anchor to the first tap of a stream.
        reach: [S] int64, how far behind the first tap the last one lies.
        slot: [S, R] int64, the tap at each distance behind the first, or -1.
    """

    first: np.ndarray
    reach: np.ndarray
    slot: np.ndarray

    @classmethod
    def of(cls, offsets: np.ndarray, sizes: np.ndarray) -> "Streams":
        """The streams of K `offsets` [K, D] in a box of `sizes` cells an axis."""
        distance = key_distance(offsets, sizes)
        runs: list[list[int]] = []
        for tap in np.lexsort(offsets.T[::-1]):
            near = runs and (offsets[tap, :-1] == offsets[runs[-1][0], :-1]).all()
            if near and offsets[tap, -1] - offsets[runs[-1][0], -1] < LONGEST:
                runs[-1].append(tap)
            else:
                runs.append([tap])
        behind = [[int(offsets[t, -1] - offsets[run[0], -1]) for t in run] for run in runs]
        slot = np.full((len(runs), 1 + max((max(b) for b in behind), default=0)), -1, np.int64)
        for stream, run in enumerate(runs):
            slot[stream, behind[stream]] = run
        first = np.array([distance[run[0]] for run in runs], np.int64)
        return cls(first, np.array([max(b) for b in behind], np.int64), slot)


def key_distance(offsets: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """[K] int64: what each of `offsets` [K, D] adds to a key in a box of `sizes` cells an axis."""
    weights = np.append(np.cumprod(sizes[:0:-1])[::-1], 1)
    return offsets @ weights


def opposites(offsets: np.ndarray) -> np.ndarray | None:
    """[K] int64: for each tap the one that looks the other way, or None if some tap has none."""
    place = {tuple(offset): tap for tap, offset in enumerate(offsets)}
    found = [place.get(tuple(-offset), -1) for offset in offsets]
    return None if -1 in found else np.array(found, np.int64)
