"""What a network gets to know of a point, in units that do not depend on the sensor."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from gossamer.checks import one_of
from gossamer.datasets.ground import height_above_ground
from gossamer.point_cloud import PointCloud

# What sensors and files call the strength of the echo.
ECHO = ("intensity", "reflectivity", "reflectance", "remission", "scalar_intensity", "i")
CHANNELS = ("height", "intensity", "red", "green", "blue", "number_of_returns")


def encode(cloud: PointCloud, channels: Sequence[str]) -> PointCloud:
    """The same points about their middle, with `channels` as features, each about 0 and within ±1.

    "height" is metres above the ground, squeezed by tanh(h / 4). Every other channel is its rank
    among the scan's points, from -1 to 1, because sensors agree on which of two surfaces is
    brighter but not on numbers. A channel that the scan lacks is 0, the middle rank.

    Args:
        cloud: one scan, in metres, z up, every position finite.
        channels: some of CHANNELS.

    Raises:
        ValueError: an unknown channel.
    """
    columns = [_channel(cloud, one_of("channel", name, CHANNELS)) for name in channels]
    # Map coordinates of millions of metres do not fit float32.
    middle = cloud.positions.double().mean(0).round() if len(cloud) else 0
    features = torch.stack(columns, 1) if columns else None
    return replace(
        cloud,
        positions=(cloud.positions - middle).float(),
        features=features,
        names=tuple(channels),
    )


def missing(cloud: PointCloud, channels: Sequence[str]) -> list[str]:
    """Those of `channels` that this scan has nothing for."""
    return [name for name in channels if name != "height" and _column(cloud, name) is None]


def _channel(cloud: PointCloud, name: str) -> Tensor:
    if name == "height":
        return torch.tanh(height_above_ground(cloud.positions) / 4)
    column = _column(cloud, name)
    return torch.zeros(len(cloud)) if column is None else ranks(column)


def _column(cloud: PointCloud, name: str) -> Tensor | None:
    known = ECHO if name == "intensity" else (name,)
    named = {present.lower(): present for present in reversed(cloud.names)}
    found = next((named[candidate] for candidate in known if candidate in named), None)
    return None if found is None else cloud.feature(found)


def ranks(values: Tensor) -> Tensor:
    """[P] float32 from -1 to 1: the share of `values` [P] below each, less the share above it."""
    _, group, counts = values.unique(return_inverse=True, return_counts=True)
    upto = counts.cumsum(0)
    middle = (2 * upto - counts).double() / max(1, len(values)) - 1
    return middle[group].float()


def available(clouds: Sequence[PointCloud]) -> tuple[str, ...]:
    """Those of CHANNELS that every one of these scans has."""
    return tuple(name for name in CHANNELS if not any(missing(c, [name]) for c in clouds))
