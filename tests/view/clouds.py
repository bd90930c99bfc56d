"""Small clouds for the tests of pictures and pages."""

import numpy as np
import torch

from gossamer.point_cloud import PointCloud

CLASSES = ("road", "vegetation", "car")


def blocks(points: int = 600) -> tuple[PointCloud, torch.Tensor]:
    """Three slabs 4 m apart along y, each of another class, and the class of every point."""
    labels = torch.arange(points) % 3
    noise = torch.rand(points, 3, generator=torch.Generator().manual_seed(0))
    positions = noise * torch.tensor([10.0, 3.0, 1.0])
    positions[:, 1] += 4.0 * labels
    return PointCloud(positions, torch.rand(points, 1), ("intensity",)), labels


def holds(image, color) -> int:
    """How many pixels of an image [H, W, 3] are exactly of this colour."""
    return int((image == color).all(-1).sum())


def where(image, color) -> np.ndarray:
    """[2]: the mean row and column of the pixels of a colour."""
    return np.argwhere((image == color).all(-1)).mean(0)
