"""The beams of a LiDAR cast into a scene: which part each one meets first, and how far away."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import atan2, ceil, cos, floor, hypot, inf, isinf, pi, sin

import numpy as np
from numpy import ndarray

from gossamer.synthetic.part import Part
from gossamer.synthetic.shapes import Bundle, bundle, in_hole, span


@dataclass(frozen=True)
class Rays:
    """One turn of a sensor that stands at (0, 0, height) over ground that may slope.

    The scene is built on flat ground; its slope is given to the rays instead, which then rise
    by so much less. Upright stays upright, and whatever stands on the ground follows it.

    Args:
        azimuth: [A], radians, rising by equal steps through one turn.
        tangent: [B], metres upwards per horizontal metre, rising.
        slope: metres the ground rises per metre of x, and of y.
        height: of the sensor over the ground, metres.
    """

    azimuth: ndarray
    tangent: ndarray
    slope: tuple[float, float]
    height: float

    @property
    def ground(self) -> ndarray:
        """[A], metres the ground rises per metre along each azimuth."""
        return self.slope[0] * np.cos(self.azimuth) + self.slope[1] * np.sin(self.azimuth)


@dataclass(frozen=True)
class Hits:
    """What each ray met.

    Args:
        distance: [B, A], horizontal, metres; infinite where it met nothing.
        part: [B, A] int, row of the parts; -1 where it met nothing.
        facing: [B, A], cosine of the angle between the surface's normal and the ray.
    """

    distance: ndarray
    part: ndarray
    facing: ndarray


def cast(parts: list[Part], rays: Rays, random: np.random.Generator) -> Hits:
    """The nearest part on every ray; in foliage, a leaf at random depth.

    Args:
        parts: the scene.
        rays: one turn.
        random: decides how deep a ray gets into foliage.
    """
    cosine, sine, ground = np.cos(rays.azimuth), np.sin(rays.azimuth), rays.ground
    secant = np.sqrt(1 + rays.tangent**2)[:, None]  # [B, 1]
    rise = rays.tangent[:, None] - ground  # [B, A]
    distance = np.full(rise.shape, inf)
    met = np.full(rise.shape, -1, dtype=np.int32)
    facing = np.zeros(rise.shape)
    for index, part in enumerate(parts):
        for rows, columns in _windows(part, rays, ground):
            window = rows, columns
            seen = bundle(part, rays.height, cosine[columns], sine[columns], rise[window])
            enter, leave, square = span(part, seen)
            if not isinf(part.density):
                depth = random.standard_exponential(rise[window].shape)
                enter = enter + depth / (part.density * secant[rows])
            hit = (enter < leave) & (enter > 0) & (enter < distance[window])
            if part.holes is not None:
                hit &= ~in_hole(part.holes, *_from_foot(part, seen, enter))
            np.copyto(distance[window], enter, where=hit)
            np.copyto(met[window], index, where=hit)
            np.copyto(facing[window], square, where=hit)
    return Hits(distance, met, np.minimum(facing / secant, 1))


def _from_foot(part: Part, rays: Bundle, distance: ndarray) -> tuple[ndarray, ndarray, ndarray]:
    """Where rays are after a horizontal distance, in a part's own axes, from its foot."""
    x, y, z = rays.start
    return x + distance * rays.x, y + distance * rays.y, z + distance * rays.z + part.half[2]


def _windows(part: Part, rays: Rays, ground: ndarray) -> Iterator[tuple[slice, slice]]:
    """The rows and columns of the range image that the part can touch."""
    half_x, half_y, half_z = part.extent
    c, s = cos(part.yaw), sin(part.yaw)
    x, y, z = part.centre
    along, across = c * x + s * y, c * y - s * x
    nearest = hypot(max(abs(along) - half_x, 0), max(abs(across) - half_y, 0))
    furthest = hypot(abs(along) + half_x, abs(across) + half_y)
    low, high = z - half_z - rays.height, z + half_z - rays.height
    for columns in _columns(rays, part.yaw, (along, across), (half_x, half_y), nearest):
        slopes = ground[columns]
        if not len(slopes):
            continue
        if nearest == 0:
            first, last = 0, len(rays.tangent)
        else:
            lowest = min(low / nearest, low / furthest) + slopes.min()
            highest = max(high / nearest, high / furthest) + slopes.max()
            first, last = np.searchsorted(rays.tangent, (lowest - 1e-9, highest + 1e-9))
        if first < last:
            yield slice(first, last), columns


def _columns(rays: Rays, yaw: float, at: tuple, half: tuple, nearest: float) -> Iterator[slice]:
    """The columns between the outermost corners of a rectangle; two runs where they wrap."""
    steps = len(rays.azimuth)
    if nearest == 0:
        yield slice(0, steps)
        return
    middle = atan2(at[1], at[0])
    corners = [
        atan2(at[1] + v * half[1], at[0] + u * half[0]) - middle for u in (-1, 1) for v in (-1, 1)
    ]
    corners = [(turn + pi) % (2 * pi) - pi for turn in corners]
    per_step = 2 * pi / steps
    start = (middle + yaw - rays.azimuth[0]) / per_step
    first, last = floor(start + min(corners) / per_step), ceil(start + max(corners) / per_step) + 1
    last = min(last, first + steps)
    first, last = first % steps, first % steps + last - first
    yield slice(first, min(last, steps))
    yield slice(0, max(last - steps, 0))
