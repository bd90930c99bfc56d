"""Where a ray enters and leaves a part, held against the part's own inequality, point by point."""

from math import cos, pi, sin

import numpy as np
import pytest

from gossamer.synthetic.part import Holes, Part
from gossamer.synthetic.shapes import bundle, in_hole, span

HEIGHT = 1.8
KINDS = ["box", "ellipsoid", "cylinder"]


def inside(part: Part, points: np.ndarray) -> np.ndarray:
    """[P] bool, straight from the definition of each kind; points [P, 3] in the scene's axes."""
    c, s = cos(part.yaw), sin(part.yaw)
    x, y, z = (points - np.array(part.centre)).T
    x, y = c * x + s * y - part.lean * z, c * y - s * x
    half_x, half_y, half_z = part.half
    if part.kind == "ellipsoid":
        return (x / half_x) ** 2 + (y / half_y) ** 2 + (z / half_z) ** 2 < 1
    if part.kind == "cylinder":
        return ((x / half_x) ** 2 + (y / half_y) ** 2 < 1) & (abs(z) < half_z)
    share = (z / half_z + 1) / 2  # 0 at the foot, 1 at the top
    at_x, at_y = half_x - part.taper[0] * share, half_y - part.taper[1] * share
    return (abs(x) < at_x) & (abs(y) < at_y) & (abs(z) < half_z)


def some_part(kind: str, random: np.random.Generator) -> Part:
    half = random.uniform(0.3, 2.0, 3)
    return Part(
        kind,
        0,
        centre=(*random.uniform(3, 9, 2), random.uniform(-1, 3)),
        half=tuple(half),
        yaw=random.uniform(-pi, pi),
        lean=random.uniform(-0.5, 0.5),
        taper=tuple(half[:2] * random.uniform(0, 0.9, 2)) if kind == "box" else (0.0, 0.0),
    )


def fan(part: Part, rows: int = 40, columns: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Azimuths [A] and rises [R, A] of rays all around a part, hits and misses."""
    x, y, z = part.centre
    azimuth = np.arctan2(y, x) + np.linspace(-0.7, 0.7, columns)
    rise = (z - HEIGHT) / np.hypot(x, y) + np.linspace(-0.9, 0.9, rows)
    return azimuth, np.repeat(rise[:, None], columns, 1)


def along(azimuth: np.ndarray, rise: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """[R * A, 3]: the points at a horizontal distance on every ray."""
    x, y = distance * np.cos(azimuth), distance * np.sin(azimuth)
    return np.stack((x, y, HEIGHT + distance * rise), -1).reshape(-1, 3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(8))
def test_a_ray_is_inside_a_part_between_entering_and_leaving_and_nowhere_else(kind, seed):
    part = some_part(kind, np.random.default_rng(seed))
    azimuth, rise = fan(part)
    rays = bundle(part, HEIGHT, np.cos(azimuth), np.sin(azimuth), rise)
    enter, leave, _ = (np.broadcast_to(v, rise.shape) for v in span(part, rays))
    hit = enter < leave
    assert 10 < hit.sum() < hit.size - 10
    for distance in np.linspace(0.1, 14, 60):
        came = inside(part, along(azimuth, rise, np.full(rise.shape, distance)))
        wanted = hit & (enter < distance) & (distance < leave)
        # Right at the surface, rounding may decide either way.
        clear = (abs(enter - distance) > 1e-9) & (abs(leave - distance) > 1e-9)
        np.testing.assert_array_equal(came[clear.ravel()], wanted[clear])


@pytest.mark.parametrize("kind", KINDS)
def test_the_facing_of_a_surface_is_the_cosine_of_incidence(kind):
    part = Part(kind, 0, centre=(5.0, 0.0, HEIGHT), half=(1.0, 1.0, 1.0))
    turn = 0.12
    rays = bundle(part, HEIGHT, np.cos([0.0, turn]), np.sin([0.0, turn]), np.zeros((1, 2)))
    _, _, facing = span(part, rays)
    # The normal of a wall stays; that of a round part turns by the angle seen from its centre.
    wanted = cos(turn) if kind == "box" else np.sqrt(1 - (5 * sin(turn)) ** 2)
    np.testing.assert_allclose(facing[0], [1.0, wanted], rtol=1e-12)


def test_the_share_of_a_wall_that_is_open_is_the_share_of_its_holes():
    holes = Holes(pitch=0.7, share=0.4, storey=3.0, band=(0.25, 0.75))
    random = np.random.default_rng(0)
    along_wall, up = random.uniform(-35, 35, 100_000), random.uniform(0, 30, 100_000)
    share = in_hole(holes, along_wall, np.full(100_000, 0.3), up).mean()
    assert abs(share - 0.4 * 0.5) < 5 * np.sqrt(0.2 * 0.8 / 100_000)
