"""A scan small enough to be measured in a test."""

from pathlib import Path

import torch

from gossamer import io
from gossamer.point_cloud import PointCloud


def points(count: int = 4000, side: float = 10.0) -> torch.Tensor:
    """[P, 3]: a floor and two walls, metres."""
    rng = torch.Generator().manual_seed(0)
    flat = torch.rand(count, 3, generator=rng) * side
    for axis, rows in zip((2, 0, 1), torch.arange(count).chunk(3), strict=True):
        flat[rows, axis] = 0.05 * torch.randn(len(rows), generator=rng)
    return flat


def scan_file(folder: Path) -> Path:
    """The same as a file."""
    path = folder / "room.npz"
    io.write(path, PointCloud(points()))
    return path
