"""Scans changed at random so that a network sees more of them, always alike for the same seed."""

from dataclasses import dataclass, replace
from math import cos, pi, sin

import torch
from numpy.random import Generator
from torch import Tensor

from gossamer.point_cloud import PointCloud

BANDS = 128


@dataclass(frozen=True)
class Augmentation:
    """How far a scan may be changed.

    Args:
        turn: largest turn about z to either side, radians.
        mirror: whether to swap left and right in half of the scans.
        scale: largest share by which a scan grows or shrinks.
        drop: largest share of the points that are left out.
        hide: how often a scan loses all channels but the height, 0 to 1.
        bands: how far rings around the sensor may differ in all channels but the height, as a
            standard deviation; the lasers of a real one are not equally bright.
    """

    turn: float = pi
    mirror: bool = True
    scale: float = 0.05
    drop: float = 0.2
    hide: float = 0.0
    bands: float = 0.0


def augment(cloud: PointCloud, how: Augmentation, random: Generator) -> PointCloud:
    """A scan that could have been measured too.

    Args:
        cloud: one scan, z up.
        how: how far to change it.
        random: decides the rest.
    """
    angle = random.uniform(-how.turn, how.turn)
    factor = random.uniform(1 - how.scale, 1 + how.scale)
    side = -1.0 if how.mirror and random.random() < 0.5 else 1.0
    shown = float(random.random() >= how.hide)
    share = random.uniform(0, how.drop)
    offsets = random.uniform(0, how.bands) * random.standard_normal(BANDS)
    cloud = cloud[torch.from_numpy(random.random(len(cloud)) >= share)]
    c, s = cos(angle) * factor, sin(angle) * factor
    turned = torch.tensor([[c, s, 0.0], [-s * side, c * side, 0.0], [0.0, 0.0, factor]])
    changed = shown * (cloud.features + _ring(cloud, torch.from_numpy(offsets)))
    # The height is measured, not seen: no laser and no weather changes it.
    kept = torch.tensor([name == "height" for name in cloud.names])
    features = torch.where(kept, cloud.features, changed.clamp(-1, 1))
    return replace(cloud, positions=cloud.positions @ turned, features=features)


def _ring(cloud: PointCloud, offsets: Tensor) -> Tensor:
    """[P, 1] float32: of `offsets` [BANDS], the one for each point's distance from the middle."""
    distance = cloud.positions[:, :2].norm(dim=1).clamp(min=1.0)
    # Where lasers half a degree apart meet the ground, one ring is a twentieth wider than the last.
    ring = (20 * distance.log()).long() % BANDS
    return offsets.float()[ring].unsqueeze(1)
