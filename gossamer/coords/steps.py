"""What sites remember: the rulebooks built on them, and what they were made from."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

from gossamer.coords.box import Axes, Box
from gossamer.coords.fill import Fill
from gossamer.geometry import Geometry
from gossamer.rulebook import Rulebook

if TYPE_CHECKING:
    from gossamer.coords import Coords


class Steps(dict):
    """The rulebooks built on some sites, by geometry.

    A class of its own, because torch.compile can hand a frozen value out only when the dict inside
    is an object that it makes before and fills after.
    """


@dataclass(frozen=True)
class Origin:
    """How a set of sites was made: by this geometry, inside this bound, from those sites."""

    coords: "Coords"
    geometry: Geometry
    bound: Axes | None


@dataclass(frozen=True)
class Step:
    """What a Coords keeps about one geometry: the rulebook and the sites it leads to.

    It holds tensors and not a Coords, which would point back and keep both alive until the garbage
    collector runs.
    """

    rulebook: Rulebook
    rows: Tensor | None  # [M, 1+D] int32; None for the same sites
    box: Box
    steps: Steps = field(repr=False)
    fill: Fill | None = None
