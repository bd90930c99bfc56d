"""A data set of seconds: boxes on a field, which is all that a network needs to learn."""

from dataclasses import replace
from pathlib import Path

import torch

from gossamer import PointCloud
from gossamer.datasets import Augmentation, Data
from gossamer.datasets.las import Tiles
from gossamer.training import Recipe


def field(seed: int, points: int = 800) -> PointCloud:
    """20 x 20 m of flat ground with three boxes on it; labels 0 and 1, one point in ten without."""
    rng = torch.Generator().manual_seed(seed)
    flat = torch.rand(points, 2, generator=rng) * 20
    corners = torch.rand(3, 1, 2, generator=rng) * 16
    inside = ((flat >= corners) & (flat < corners + 4)).all(2).any(0)
    z = torch.where(inside, 3.0, 0.0) + 0.02 * torch.randn(points, generator=rng)
    labels = inside.long()
    labels[::10] = -1
    intensity = torch.rand(points, 1, generator=rng)
    return PointCloud(torch.cat([flat, z[:, None]], 1), intensity, ("intensity",), labels)


def data(scans: int = 6) -> Data:
    """Fields to learn from, and two others."""
    return Data(
        kind="synthetic",
        train=Tiles(tuple(field(seed) for seed in range(scans))),
        validation=Tiles(tuple(field(seed) for seed in (100, 101))),
        classes=("field", "box"),
        codes=(40, 50),
        numbering="SemanticKITTI",
        split=("six fields to learn from, two held out",),
        spacing=0.7,
    )


RECIPE = Recipe(
    voxel_size=1.0,
    width=0.125,
    epochs=4,
    learning_rate=1e-2,
    augmentation=Augmentation(hide=0.2),
)


def longer(epochs: int) -> Recipe:
    """RECIPE, with more rounds."""
    return replace(RECIPE, epochs=epochs)


def folder(path: Path) -> Path:
    """An empty folder."""
    path.mkdir(parents=True)
    return path
