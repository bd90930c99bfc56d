"""Where a ray enters a part and where it leaves: mathematics only.

Rays are followed by their horizontal range. Then a side of an upright solid is met at a range that
depends on the azimuth alone: one number a column of the range image, and not one a ray.
"""

from dataclasses import dataclass
from math import cos, hypot, inf, sin

import numpy as np
from numpy import ndarray

from gossamer.synthetic.part import Holes, Part


@dataclass(frozen=True)
class Bundle:
    """Rays of one start as a part sees them: in its own axes, per metre of horizontal range.

    Args:
        start: (x, y, z) of the sensor, metres from the centre of the part.
        x: [1, A] or [R, A], step along the part's x.
        y: [1, A], step along its y.
        z: [R, A], step upwards.
    """

    start: tuple[float, float, float]
    x: ndarray
    y: ndarray
    z: ndarray


def bundle(part: Part, height: float, cosine: ndarray, sine: ndarray, rise: ndarray) -> Bundle:
    """The rays from (0, 0, height) as the part sees them.

    Args:
        part: the part.
        height: of the sensor, metres.
        cosine: [A], of the azimuth.
        sine: [A], of the azimuth.
        rise: [R, A], metres upwards per metre of horizontal range.
    """
    c, s = cos(part.yaw), sin(part.yaw)
    x, y, z = part.centre
    x, y, z = -c * x - s * y, s * x - c * y, height - z
    forward, left = (c * cosine + s * sine)[None], (c * sine - s * cosine)[None]
    if part.lean:
        x, forward = x - part.lean * z, forward - part.lean * rise
    return Bundle((x, y, z), forward, left, rise)


def span(part: Part, rays: Bundle) -> tuple[ndarray, ndarray, ndarray]:
    """Horizontal range where each ray enters the part and leaves it, and how squarely it meets it.

    Args:
        part: the part.
        rays: in its own axes.

    Returns:
        enter: [R, A], metres; not below `leave` where the ray misses.
        leave: [R, A], metres.
        facing: [R, A], cosine of the angle between the surface's normal and the ray, times the
            length of the ray's step.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        if part.kind == "ellipsoid":
            enter, leave, facing = _quadric(part, rays, axes=3)
            return enter, leave, facing * np.sqrt(1 + rays.z**2)
        if part.kind == "cylinder":
            return _cut(_quadric(part, rays, axes=2), rays, _planes(part)[4:])
        nothing = np.full((1, 1), -inf), np.full((1, 1), inf), np.zeros((1, 1))
        return _cut(nothing, rays, _planes(part))


def in_hole(holes: Holes, x: ndarray, y: ndarray, z: ndarray) -> ndarray:
    """[...] bool: the points of a part's sides, in its own axes from its foot, that are open."""
    # On an upright side x or y is constant, so their sum runs along it.
    column, row = (x + y) / holes.pitch, z / holes.storey
    column, row = column - np.floor(column), row - np.floor(row)
    return (column < holes.share) & (row > holes.band[0]) & (row < holes.band[1])


def _planes(part: Part) -> list[tuple[float, float, float, float]]:
    """The sides of a box as (a, b, c, d): inside, a*x + b*y + c*z <= d, and (a, b, c) has length 1.

    The upright ones come first.
    """
    x, y, z = part.half
    # A tapering side has come in by half its way at the centre, where z is 0.
    (in_x, tilt_x), (in_y, tilt_y) = ((side / 2, hypot(1, side / 2 / z)) for side in part.taper)
    return (
        [(sign / tilt_x, 0.0, in_x / z / tilt_x, (x - in_x) / tilt_x) for sign in (1.0, -1.0)]
        + [(0.0, sign / tilt_y, in_y / z / tilt_y, (y - in_y) / tilt_y) for sign in (1.0, -1.0)]
        + [(0.0, 0.0, 1.0, z), (0.0, 0.0, -1.0, z)]
    )


def _cut(spans: tuple, rays: Bundle, planes) -> tuple[ndarray, ndarray, ndarray]:
    """What half spaces leave of the spans."""
    enter, leave, facing = spans
    x0, y0, z0 = rays.start
    for a, b, c, d in planes:
        # Only the terms that count, so that an upright side stays one number a column.
        step = sum(n * way for n, way in ((a, rays.x), (b, rays.y), (c, rays.z)) if n)
        at = (d - a * x0 - b * y0 - c * z0) / step
        inwards = step < 0
        later = inwards & (at > enter)
        enter = np.where(later, at, enter)
        facing = np.where(later, -step, facing)
        leave = np.where(inwards, leave, np.minimum(leave, at))
    return enter, leave, facing


def _quadric(part: Part, rays: Bundle, axes: int) -> tuple[ndarray, ndarray, ndarray]:
    """The span inside an ellipsoid (3 axes) or an endless elliptic cylinder (2 axes)."""
    ways = [way / h for way, h in zip((rays.x, rays.y, rays.z)[:axes], part.half, strict=False)]
    starts = [s / h for s, h in zip(rays.start, part.half, strict=False)][:axes]
    square = sum(way * way for way in ways)
    nearest = -sum(way * s for way, s in zip(ways, starts, strict=True)) / square
    # The gap at the nearest point; as a difference of squares it would lose the small solids.
    gap = sum((s + nearest * way) ** 2 for way, s in zip(ways, starts, strict=True))
    reach = np.sqrt(np.maximum(1 - gap, 0) / square)
    return nearest - reach, nearest + reach, np.sqrt(np.maximum(1 - gap, 0))
