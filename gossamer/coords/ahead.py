"""Levels of a network made before it asks for them, so that the host waits for the device once.

How many sites a strided kernel leads to is known on the device only, and every layer that asks
makes the host wait. But the same kernels followed one another the last time that sites of such a
grid were seen; so the sites of their levels are made at once, and all counts are read together. A
guess that does not come true costs a few small kernels and changes no result.
"""

from dataclasses import replace
from functools import lru_cache
from math import ceil
from typing import TYPE_CHECKING

import torch

from gossamer.coords.box import Axes
from gossamer.coords.fill import Fill
from gossamer.coords.reach import Reached, reached_within
from gossamer.coords.steps import Step, Steps
from gossamer.geometry import Geometry
from gossamer.ops.rulebooks import makes_tables

if TYPE_CHECKING:
    from gossamer.coords import Coords

GRIDS = 64
MARGIN = 1.25  # rows for each site that there were lately
PATIENCE = 8  # guesses that may come to nothing before a kernel is forgotten
TRAIL, AHEAD = "trail", "ahead"

Key = tuple[Geometry, Axes | None]


class Trail(dict):
    """Which kernels made new sites, by (geometry, bound), and which followed on those.

    Attributes:
        sites: the most sites that there were lately.
        idle: guesses since it was last asked for.
    """

    sites = idle = 0

    def saw(self, sites: int) -> None:
        """Have a number of sites in mind, and larger ones from before less and less."""
        self.sites, self.idle = max(sites, self.sites - self.sites // 8), 0


class Level:
    """Sites that were made ahead, and those below them by (geometry, bound).

    Args:
        there: the sites, until their number is known in rows of a fixed number.
        below: what was made of them.
    """

    def __init__(self, there: Reached, below: dict[Key, "Level"]):
        self.there, self.below = there, below


@lru_cache(GRIDS)
def _trail(grid: tuple) -> Trail:
    return Trail()


def ahead_of(sites: "Coords", wanted: Key) -> Reached | None:
    """The sites that `wanted` leads to, where they are made ahead; None where they have to be made.

    The first to ask has all levels made that followed on sites like these before.
    """
    if not _counts(sites, wanted):
        return None
    trail = _trail_of(sites)
    if AHEAD not in sites.steps and wanted in trail and (len(trail) > 1 or trail[wanted]):
        sites.steps[AHEAD] = _made(sites, trail)
    level = sites.steps.get(AHEAD, {}).get(wanted)
    return None if level is None else level.there


def remember(sites: "Coords", made: Key, step: Step) -> None:
    """Have a level that was made in mind for the next sites like these."""
    if _counts(sites, made):
        assert step.rows is not None  # as only a submanifold kernel's are
        trail = _trail_of(sites).setdefault(made, Trail())
        trail.saw(len(step.rows))
        step.steps[TRAIL] = trail
        level = sites.steps.get(AHEAD, {}).get(made)
        if level is not None:
            step.steps[AHEAD] = level.below


def _counts(sites: "Coords", key: Key) -> bool:
    """Whether the host has to ask how many sites `key` leads to."""
    if key[0].kind == "submanifold" or sites.fill is not None or torch.compiler.is_compiling():
        return False
    return makes_tables(sites.rows)


def _trail_of(sites: "Coords") -> Trail:
    """What followed on sites like these."""
    if TRAIL not in sites.steps:
        grid = (sites.ndim, sites.spatial_shape, sites.stride, sites.rows.device)
        sites.steps[TRAIL] = _trail(grid)
    return sites.steps[TRAIL]


def _made(sites: "Coords", trail: Trail) -> dict[Key, Level]:
    """All levels of a trail that found place for their sites."""
    rows = len(sites)
    known = torch.full((1,), rows, device=sites.rows.device)
    full = replace(sites, fill=Fill.of(known, rows, 1.0), steps=Steps())
    levels = _guessed(full, trail)
    founds = [_found(level) for level in _all(levels)]
    counts = iter(torch.cat(founds).tolist() if founds else [])
    number = {id(level): next(counts) for level in _all(levels)}
    return _settled(levels, number)


def _guessed(sites: "Coords", trail: Trail) -> dict[Key, Level]:
    levels = {}
    for key, further in list(trail.items()):  # another thread may add to it
        further.idle += 1
        if further.idle > PATIENCE:
            trail.pop(key, None)
            continue
        geometry, bound = key
        try:
            wanted = max(len(sites), ceil(MARGIN * further.sites))
            there = reached_within(sites, geometry, bound, wanted)
            below = sites.after(geometry, bound, there, Steps())
        except (ValueError, torch.OutOfMemoryError):
            continue  # who asks for it in earnest is told
        levels[key] = Level(there, _guessed(below, further))
    return levels


def _all(levels: dict[Key, Level]) -> list[Level]:
    return [each for level in levels.values() for each in (level, *_all(level.below))]


def _settled(levels: dict[Key, Level], number: dict[int, int]) -> dict[Key, Level]:
    """The levels whose sites all found a row; below others some may be missing."""
    settled = {}
    for key, level in levels.items():
        found, there = number[id(level)], level.there
        if found <= there.rows.shape[0]:
            exact = Reached(there.rows[:found], there.box, None)
            settled[key] = Level(exact, _settled(level.below, number))
    return settled


def _found(level: Level) -> torch.Tensor:
    assert level.there.fill is not None
    return level.there.fill.found
