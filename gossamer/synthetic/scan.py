"""A simulated scan: the points of one turn of the sensor, and the boxes of the road users in it."""

from dataclasses import dataclass
from math import cos, sin

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from gossamer.point_cloud import PointCloud
from gossamer.synthetic.lidar import Hits, Rays, cast
from gossamer.synthetic.sensor import Sensor
from gossamer.synthetic.street import Street, draw_street


@dataclass(frozen=True)
class Boxes:
    """B upright boxes around road users.

    Args:
        centres: [B, 3] float32, metres.
        sizes: [B, 3] float32, along the box's own x (the way it heads), y and z, metres.
        yaws: [B] float32, turn about z from +x towards +y, radians from -pi to pi.
        labels: [B] int64, rows of CLASSES.
    """

    centres: Tensor
    sizes: Tensor
    yaws: Tensor
    labels: Tensor

    def __len__(self) -> int:
        """B, the number of boxes."""
        return len(self.labels)


@dataclass(frozen=True)
class Scan:
    """One turn of the sensor.

    Args:
        cloud: P points, x forward, y left, z up from the sensor, metres; feature "intensity" from
            0 to 1; labels, rows of CLASSES; instances, 1 + row of `boxes`, or 0.
        boxes: the road users that at least one point lies on.
    """

    cloud: PointCloud
    boxes: Boxes


def simulate(seed: int, sensor: Sensor | None = None) -> Scan:
    """The scan of a street that `seed` decides; the same seed gives the same bits.

    Noise and dropout have random numbers of their own: the street stays when they change.

    Args:
        seed: any whole number from 0.
        sensor: default: 64 beams of 1800 steps, about 100,000 points.

    Raises:
        ValueError: seed is negative, or not a whole number.
    """
    if not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed is {seed!r}; wanted a whole number from 0")
    sensor = sensor or Sensor()
    # One stream each, so that none shifts the numbers of another.
    in_street, in_leaves, in_noise, in_gaps, in_light = (
        np.random.default_rng((seed, stream)) for stream in range(5)
    )
    street = draw_street(in_street)
    azimuth, tangent = _directions(sensor)
    rays = Rays(azimuth + street.heading, tangent, street.slope, street.height)
    hits = cast(street.parts, rays, in_leaves)
    secant = np.sqrt(1 + tangent**2)[:, None]
    measured = hits.distance * secant
    measured = measured + sensor.noise * in_noise.standard_normal(measured.shape)
    near, far = sensor.reach
    kept = (measured >= near) & (measured <= far)
    kept &= in_gaps.random(kept.shape) >= sensor.dropout
    intensity = _intensity(street, hits, measured, in_light)
    beam, step = np.nonzero(kept)
    distance = measured[beam, step] / secant[beam, 0]
    ways = np.cos(azimuth[step]), np.sin(azimuth[step]), tangent[beam]
    positions = distance[:, None] * np.stack(ways, 1)
    return _scan(street, positions, intensity[beam, step], hits.part[beam, step])


def _directions(sensor: Sensor) -> tuple[ndarray, ndarray]:
    """The azimuth of each step, radians, and the tangent of each beam's elevation, rising."""
    azimuth = np.linspace(-np.pi, np.pi, sensor.steps, endpoint=False)
    return azimuth, np.tan(np.radians(np.linspace(*sensor.elevation, sensor.beams)))


def _intensity(street: Street, hits: Hits, distance: ndarray, random) -> ndarray:
    """[B, A] in [0, 1]: the light that comes back, by material, incidence and range."""
    reflectance = np.array([part.reflectance for part in street.parts])[hits.part]
    # Rough surfaces send light back at grazing incidence too; foliage has no incidence.
    leafy = np.array([np.isfinite(part.density) for part in street.parts])[hits.part]
    square = np.where(leafy, random.random(leafy.shape), hits.facing)
    light = reflectance * (0.3 + 0.7 * square) * np.exp(-distance / 150)
    return np.clip(light * (1 + 0.1 * random.standard_normal(light.shape)), 0, 1)


def _scan(street: Street, positions: ndarray, intensity: ndarray, part: ndarray) -> Scan:
    """The scan of the points that were kept, and of the boxes they lie on."""
    thing = np.array([part.thing for part in street.parts])[part]
    seen = np.unique(thing[thing >= 0])
    row = np.full(len(street.boxes) + 1, -1)
    row[seen] = np.arange(len(seen))
    cloud = PointCloud(
        _float32(positions),
        _float32(intensity[:, None]),
        ("intensity",),
        torch.from_numpy(np.array([part.label for part in street.parts])[part]),
        torch.from_numpy(row[thing] + 1),
    )
    return Scan(cloud, _boxes(street, seen))


def _boxes(street: Street, rows: ndarray) -> Boxes:
    """The boxes of these rows, as the sensor sees them on sloping ground."""
    x, y, z, *sizes, yaw = street.boxes[rows].T
    c, s = cos(street.heading), sin(street.heading)
    rise_x, rise_y = street.slope
    along = np.abs(rise_x * np.cos(yaw) + rise_y * np.sin(yaw))
    across = np.abs(rise_y * np.cos(yaw) - rise_x * np.sin(yaw))
    # An upright box around something that follows the slope is taller than it.
    sizes[2] = sizes[2] + along * sizes[0] + across * sizes[1]
    centres = (c * x + s * y, c * y - s * x, z - street.height + rise_x * x + rise_y * y)
    turn = np.remainder(yaw - street.heading + np.pi, 2 * np.pi) - np.pi
    return Boxes(
        _float32(np.stack(centres, 1)),
        _float32(np.stack(sizes, 1)),
        _float32(turn),
        torch.from_numpy(street.labels[rows]),
    )


def _float32(values: ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
