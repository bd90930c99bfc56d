"""The lines of a legend: name, colour and share of the points."""

from dataclasses import dataclass

import numpy as np

from gossamer.view.scene import NONE, VERDICTS, Scene


@dataclass(frozen=True)
class Entry:
    """One line: the points of one code."""

    name: str
    color: np.ndarray  # [3] uint8
    count: int
    share: float  # of all points, 0 to 1


def legend(shown: Scene, by: str) -> list[Entry]:
    """A line for every class or verdict, and one for points without any where there are some.

    Args:
        shown: the scene.
        by: "class", "truth" or "verdict"; the scene has such codes.
    """
    if by == "verdict":
        names, unknown = dict(enumerate(VERDICTS)), 2
    else:
        names, unknown = {**dict(enumerate(shown.classes)), NONE: "unlabelled"}, NONE
    counts = np.bincount(shown.codes(by), minlength=NONE + 1)
    colors = shown.colors(by)
    return [
        Entry(name, colors[code], int(counts[code]), counts[code] / max(len(shown), 1))
        for code, name in names.items()
        if code != unknown or counts[code]
    ]
