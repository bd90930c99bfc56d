"""Points into voxels as spconv 1.x does it: from arrays to arrays of the same dtype."""

from dataclasses import dataclass

import numpy as np
import torch

from gossamer.compat.clouds.points import grid_of
from gossamer.ops.points import first_come

Voxels = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Caps:
    """How many there may be.

    Args:
        points: P, places of a voxel, after which it takes no more points.
        voxels: M, after which points that open another voxel are dropped.
    """

    points: int
    voxels: int

    def __post_init__(self):
        if min(self.points, self.voxels) < 1:
            raise ValueError(
                f"max_num_points is {self.points} and max_voxels {self.voxels}; wanted 1 or more"
            )


def voxels_of(
    points: np.ndarray, voxel_size: np.ndarray, bounds: np.ndarray, caps: Caps, mean: bool = False
) -> Voxels:
    """The voxels of a cloud, numbered in the order of their first points.

    Args:
        points: [N, F] float32 or float64, of which the first 3 columns are positions.
        voxel_size: [3], edges of a voxel (x, y, z).
        bounds: [6], lower ones, then upper ones.
        caps: how many there may be.
        mean: whether places that no point takes hold the mean of their voxel's points, and not 0.

    Returns:
        voxels: [M, P, F] of the dtype of `points`; coordinates: [M, 3] int32, (z, y, x);
        num_points_per_voxel: [M] int32, at most P.

    Raises:
        TypeError: `points` is not an array of floats.
        ValueError: a shape is not this, or a number is not positive.
    """
    _check(points)
    grid = grid_of(voxel_size.tolist(), bounds.tolist())
    cloud = torch.from_numpy(np.ascontiguousarray(points))
    box = grid.coors_range[: grid.ndim], grid.vsize, grid.grid_size
    voxel, place, cells = first_come(cloud, *(values[::-1] for values in box), caps.voxels)
    kept = ((voxel >= 0) & (place < caps.points)).nonzero().squeeze(1)
    number = voxel[kept]
    voxels = cloud.new_zeros(len(cells), caps.points, cloud.shape[1])
    voxels[number, place[kept]] = cloud[kept]
    sizes = torch.bincount(number, minlength=len(cells))
    if mean:
        means = voxels.sum(1, keepdim=True) / sizes.view(-1, 1, 1)
        vacant = torch.arange(caps.points) >= sizes.unsqueeze(1)  # [M, P]
        voxels = torch.where(vacant.unsqueeze(2), means, voxels)
    return voxels.numpy(), cells.flip(1).int().numpy(), sizes.int().numpy()


def _check(points: np.ndarray) -> None:
    if not isinstance(points, np.ndarray) or points.dtype not in (np.float32, np.float64):
        came = points.dtype if isinstance(points, np.ndarray) else type(points).__name__
        raise TypeError(f"points is {came}; wanted an array of float32 or float64")
    if points.ndim != 2 or points.shape[1] < 3:
        raise ValueError(f"points has shape {points.shape}; wanted [N, 3 or more]: x, y, z, ...")
