"""Levels of a network made before it asks for them, so that the host waits for the device once.

How many sites a strided kernel leads to is known on the device only, and every layer that asks
makes the host wait. But the same kernels followed one another the last time that sites of such a
grid were seen; so their levels are made at once, and all counts are read together. A guess that
does not come true costs a few small kernels and changes no result.
"""

from dataclasses import replace
from functools import lru_cache
from math import ceil
from typing import TYPE_CHECKING

import torch

from gossamer.coords.box import Axes
from gossamer.coords.fill import Fill
from gossamer.coords.reach import Reached, reached_within
from gossamer.coords.steps import Steps
from gossamer.geometry import Geometry
from gossamer.ops.rulebooks import makes_tables

if TYPE_CHECKING:
    from gossamer.coords import Coords

GRIDS = 64
MARGIN = 1.25  # rows for each site that there were lately
TRAIL = "trail"

Key = tuple[Geometry, Axes | None]


class Trail(dict):
    """Which kernels made new sites, by (geometry, bound), and which followed on those.

    Attributes:
        sites: the most sites that there were lately.
    """

    sites = 0

    def saw(self, sites: int) -> None:
        """Have a number of sites in mind, and larger ones from before less and less."""
        self.sites = max(sites, self.sites - self.sites // 8)


@lru_cache(GRIDS)
def _trail(grid: tuple) -> Trail:
    return Trail()


def look_ahead(sites: "Coords", wanted: Key) -> None:
    """Make all levels that followed on sites like these before, if `wanted` is one of them."""
    if _counts(sites, wanted):
        trail = _trail_of(sites)
        if wanted in trail and (len(trail) > 1 or trail[wanted]):
            _make(sites, trail)


def remember(sites: "Coords", made: Key) -> None:
    """Have a level that was made in mind for the next sites like these."""
    if _counts(sites, made):
        trail = _trail_of(sites).setdefault(made, Trail())
        trail.saw(len(sites.steps[made].rows))
        sites.steps[made].steps[TRAIL] = trail


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


def _make(sites: "Coords", trail: Trail) -> None:
    rows = len(sites)
    known = torch.full((1,), rows, device=sites.rows.device)
    guesses = _guessed(replace(sites, fill=Fill.of(known, rows, 1.0), steps=Steps()), trail)
    if guesses:
        founds = torch.cat([_fill(there).found for _, _, there in guesses.values()]).tolist()
        _settle(sites, (), dict(zip(guesses, founds, strict=True)), guesses)


def _guessed(sites: "Coords", trail: Trail, path: tuple = ()) -> dict[tuple, tuple]:
    """(geometry, bound, what it reaches) of every level below, by the path that leads there."""
    guesses = {}
    for key, further in trail.items():
        geometry, bound = key
        wanted = max(len(sites), ceil(MARGIN * further.sites))
        there = reached_within(sites, geometry, bound, wanted)
        guesses[(*path, key)] = geometry, bound, there
        below = sites.after(geometry, bound, there, Steps())
        guesses.update(_guessed(below, further, (*path, key)))
    return guesses


def _settle(sites: "Coords", path: tuple, founds: dict, guesses: dict) -> None:
    """Keep every level that found place for all its sites, and what lies below it."""
    for place, (geometry, bound, there) in guesses.items():
        if place[:-1] != path or (geometry, bound) in sites.steps:
            continue
        found = founds[place]
        if found > there.rows.shape[0]:
            continue  # the layer that asks for it makes it anew
        exact = Reached(there.rows[:found], there.box, None)
        sites.steps[(geometry, bound)] = sites.led_to(geometry, bound, exact)
        remember(sites, (geometry, bound))
        _settle(sites.output(geometry, bound), place, founds, guesses)


def _fill(there: Reached) -> Fill:
    assert there.fill is not None
    return there.fill
