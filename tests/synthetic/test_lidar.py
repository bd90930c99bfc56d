"""The beams meet the nearest part: nothing is seen through it, and nothing is overlooked."""

import numpy as np
import pytest

from gossamer.synthetic.lidar import Rays, cast
from gossamer.synthetic.part import CLASSES, Part
from gossamer.synthetic.shapes import bundle, span
from gossamer.synthetic.street import draw_street
from tests.synthetic.test_shapes import inside


def opaque_street(seed: int) -> tuple[list[Part], Rays]:
    """A street without foliage and without what has holes, and a coarse turn of rays in it."""
    street = draw_street(np.random.default_rng(seed))
    parts = [part for part in street.parts if np.isinf(part.density) and part.holes is None]
    # A turn that starts anywhere, so that parts straddle its seam.
    azimuth = np.linspace(-np.pi, np.pi, 150, endpoint=False) + street.heading + seed
    tangent = np.tan(np.radians(np.linspace(-24, 10, 24)))
    return parts, Rays(azimuth, tangent, street.slope, street.height)


@pytest.mark.parametrize("seed", range(3))
def test_no_ray_passes_through_a_part_before_it_hits(seed):
    parts, rays = opaque_street(seed)
    hits = cast(parts, rays, np.random.default_rng(0))
    # Rays that meet nothing are followed as far as the houses go.
    end = np.minimum(hits.distance, 90.0)
    shares = np.linspace(0.01, 0.9999, 25)
    for tried in range(2):
        beams = np.arange(len(rays.tangent))[:, None]
        steps = (beams * 7 + np.arange(0, 150, 15) + 3 * tried) % 150
        distance = end[beams, steps][..., None] * shares
        azimuth = rays.azimuth[steps][..., None]
        x, y = distance * np.cos(azimuth), distance * np.sin(azimuth)
        z = rays.height + distance * rays.tangent[:, None, None]
        z = z - rays.slope[0] * x - rays.slope[1] * y  # over sloping ground
        points = np.stack((x, y, z), -1).reshape(-1, 3)
        for part in parts:
            assert not inside(part, points).any(), part


@pytest.mark.parametrize("seed", range(3))
def test_the_part_that_is_hit_begins_where_the_ray_ends(seed):
    parts, rays = opaque_street(seed)
    hits = cast(parts, rays, np.random.default_rng(0))
    beam, step = np.nonzero(hits.part >= 0)
    assert len(beam) > 2000
    for nudge, wanted in ((-1e-6, False), (1e-6, True)):
        distance = hits.distance[beam, step] + nudge
        azimuth = rays.azimuth[step]
        x, y = distance * np.cos(azimuth), distance * np.sin(azimuth)
        z = rays.height + distance * rays.tangent[beam]
        points = np.stack((x, y, z - rays.slope[0] * x - rays.slope[1] * y), -1)
        for row in np.unique(hits.part[beam, step]):
            mine = hits.part[beam, step] == row
            came = inside(parts[row], points[mine])
            # A ray that only grazes an edge may leave again within the nudge.
            assert (came == wanted).mean() > 0.97


@pytest.mark.parametrize("seed", range(3))
def test_looking_only_where_a_part_can_be_overlooks_none(seed):
    parts, rays = opaque_street(seed)
    cosine, sine = np.cos(rays.azimuth), np.sin(rays.azimuth)
    rise = rays.tangent[:, None] - rays.slope[0] * cosine - rays.slope[1] * sine
    nearest = np.full(rise.shape, np.inf)
    for part in parts:
        enter, leave, _ = span(part, bundle(part, rays.height, cosine, sine, rise))
        hit = (enter < leave) & (enter > 0)
        nearest = np.where(hit, np.minimum(nearest, enter), nearest)
    hits = cast(parts, rays, np.random.default_rng(0))
    # The two ways to add up the slope round differently.
    np.testing.assert_allclose(hits.distance, nearest, rtol=1e-12)


def test_light_gets_into_foliage_as_deep_as_its_density_says():
    hedge = Part("box", CLASSES.index("vegetation"), (30.0, 0.0, 0.0), (20.0, 50.0, 50.0))
    leafy = Part(hedge.kind, hedge.label, hedge.centre, hedge.half, density=2.0)
    rays = Rays(np.linspace(-0.5, 0.5, 200), np.linspace(0.5, 1.5, 100), (0.0, 0.0), 0.0)
    face = cast([hedge], rays, np.random.default_rng(0)).distance
    met = np.isfinite(face)
    depth = cast([leafy], rays, np.random.default_rng(0)).distance[met] - face[met]
    depth = depth * np.broadcast_to(np.sqrt(1 + rays.tangent**2)[:, None], met.shape)[met]
    # Exponential: mean and deviation are both 1 / density.
    assert abs(depth.mean() - 0.5) < 5 * 0.5 / np.sqrt(depth.size)
    assert abs(depth.std() - 0.5) < 5 * 1.5 * 0.5 / np.sqrt(depth.size)
