"""Part: one convex solid of a scene, with the class and the material it is made of."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import cos, inf, sin

CLASSES = (
    "road",
    "pavement",
    "terrain",
    "building",
    "fence",
    "vegetation",
    "trunk",
    "pole",
    "car",
    "truck",
    "cyclist",
    "pedestrian",
)


@dataclass(frozen=True)
class Holes:
    """A grid of openings in the sides of a part: windows of a house, gaps between pickets.

    Args:
        pitch: distance between openings along the side, metres.
        share: share of the pitch that is open.
        storey: distance between rows of openings, metres.
        band: lower and upper end of an opening, as shares of the storey.
    """

    pitch: float
    share: float
    storey: float
    band: tuple[float, float]


@dataclass(frozen=True)
class Part:
    """A box, an ellipsoid or an upright cylinder.

    Args:
        kind: "box", "ellipsoid" or "cylinder".
        label: row of CLASSES.
        centre: (x, y, z), metres.
        half: half the extent along the part's own axes, metres.
        yaw: turn about z, radians.
        lean: metres that the part shifts along its own x per metre of height.
        taper: metres by which each side of a box moves inwards, in x and y, from bottom to top.
        reflectance: share of the light sent back by a surface that faces the sensor.
        density: returns per metre inside the part; infinite for what can't be seen through.
        holes: openings in its sides, if any.
        thing: row of the road user that this belongs to; -1 is none.
    """

    kind: str
    label: int
    centre: tuple[float, float, float]
    half: tuple[float, float, float]
    yaw: float = 0.0
    lean: float = 0.0
    taper: tuple[float, float] = (0.0, 0.0)
    reflectance: float = 0.4
    density: float = inf
    holes: Holes | None = None
    thing: int = -1

    @property
    def extent(self) -> tuple[float, float, float]:
        """Half the extent along the part's own axes, the lean included, metres."""
        x, y, z = self.half
        return x + abs(self.lean) * z, y, z


def box(name: str, x: tuple, y: tuple, z: tuple, **rest) -> Part:
    """The box of class `name` between two ends on every axis, metres."""
    centre, half = zip(*(((a + b) / 2, (b - a) / 2) for a, b in (x, y, z)), strict=True)
    return Part("box", CLASSES.index(name), centre, half, **rest)


def ellipsoid(name: str, centre: tuple, half: tuple, **rest) -> Part:
    """The ellipsoid of class `name` about a centre, metres."""
    return Part("ellipsoid", CLASSES.index(name), centre, half, **rest)


def cylinder(name: str, at: tuple, radius: float, z: tuple, **rest) -> Part:
    """The upright cylinder of class `name` about `at` (x, y), metres."""
    centre, half = (*at, (z[0] + z[1]) / 2), (radius, radius, (z[1] - z[0]) / 2)
    return Part("cylinder", CLASSES.index(name), centre, half, **rest)


def place(parts: Iterable[Part], at: tuple, yaw: float = 0.0, thing: int = -1) -> list[Part]:
    """Parts built about the origin, turned by `yaw` and moved to `at` (x, y, z)."""
    c, s = cos(yaw), sin(yaw)
    placed = []
    for part in parts:
        x, y, z = part.centre
        centre = (at[0] + c * x - s * y, at[1] + s * x + c * y, at[2] + z)
        placed.append(replace(part, centre=centre, yaw=part.yaw + yaw, thing=thing))
    return placed


def bounds(parts: Iterable[Part]) -> tuple[list[float], list[float]]:
    """Centre and size of the box around parts that share one yaw of zero, metres."""
    ends = [
        [(c - h, c + h) for c, h in zip(part.centre, part.extent, strict=True)] for part in parts
    ]
    low = [min(end[axis][0] for end in ends) for axis in range(3)]
    high = [max(end[axis][1] for end in ends) for axis in range(3)]
    pairs = list(zip(low, high, strict=True))
    return [(a + b) / 2 for a, b in pairs], [b - a for a, b in pairs]
