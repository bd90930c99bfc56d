"""Sites whose number only the device knows, in a fixed number of rows.

So a network can run without the host ever waiting, for instance inside a CUDA graph.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gossamer.errors import CapacityError

if TYPE_CHECKING:
    from gossamer.coords import Coords


@dataclass(frozen=True, eq=False)
class Fill:
    """How much of some rows is taken.

    Args:
        found: [1] int64, how many sites there are, which may be more than rows.
        count: [1] int64, how many of them have a row: the first ones.
        growth: rows of the next level for each row of this one, at most.
    """

    found: Tensor
    count: Tensor
    growth: float

    @classmethod
    def of(cls, found: Tensor, rows: int, growth: float) -> "Fill":
        """`found` sites in `rows` rows."""
        return cls(found, found.clamp(max=rows), growth)

    def capacity(self, rows: int, most: int, *, upward: bool) -> int:
        """How many rows the next level gets.

        Args:
            rows: of this level.
            most: sites that there can be at all.
            upward: whether the next level is finer; then it gets them all.
        """
        return most if upward else min(most, ceil(rows * self.growth))

    def where(self, x: Tensor, otherwise: int) -> Tensor:
        """`x` [rows] where a row is a site, `otherwise` elsewhere."""
        exists = torch.arange(x.shape[0], device=x.device) < self.count
        return torch.where(exists, x, otherwise)

    def to(self, device: torch.device | str) -> "Fill":
        """The same on another device."""
        return Fill(self.found.to(device), self.count.to(device), self.growth)


def sites_of(sites: "Coords") -> int:
    """How many sites there are; asks the device once, about all levels of the network.

    Raises:
        CapacityError: some level found more sites than it has rows.
        ValueError: these are copies, which don't know of the levels on the way.
    """
    first = sites
    while first.origin is not None:
        first = first.origin.coords
    counts = counts_of(first)
    if id(sites.fill) not in counts:
        raise ValueError(
            "these sites were copied, so whether every level on the way had rows enough can't be "
            "told any more; use trimmed() before .to() or a copy"
        )
    return counts[id(sites.fill)]


def counts_of(first: "Coords") -> dict[int, int]:
    """How many sites each level has that was made from `first`, by the id of its fill.

    Raises:
        CapacityError: some level found more sites than it has rows.
    """
    levels = list(_levels(first))
    founds = torch.cat([fill.found for _, _, fill in levels]).tolist()
    for (stride, rows, _), found in zip(levels, founds, strict=True):
        if found > rows:
            raise CapacityError(
                f"the level of stride {stride} has {found} sites and {rows} rows for them; give a "
                "larger capacity or growth"
            )
    return {id(fill): found for (*_, fill), found in zip(levels, founds, strict=True)}


def _levels(sites: "Coords") -> Iterator[tuple[tuple[int, ...], int, Fill]]:
    """(stride, rows, fill) of some sites and of all that were made from them."""
    if sites.fill is not None:
        yield sites.stride, len(sites), sites.fill
    for key in [key for key in sites.steps if isinstance(key, tuple)]:
        if sites.steps[key].rows is not None:
            yield from _levels(sites.output(*key))
