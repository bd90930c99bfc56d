"""What is measured on: the voxels of one scan, as every contender gets them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from gossamer import io
from gossamer.coords import Axes
from gossamer.synthetic import simulate
from gossamer.voxels import voxelize

# As far as detectors and segmenters look; single returns beyond it would only blow up the grid.
REACH = 75.0  # metres
# MinkUNet halves the grid four times, and libraries differ in what they do with an odd one.
MULTIPLE = 16


@dataclass(frozen=True)
class Scene:
    """The voxels of one scan, and the grid they lie in.

    Args:
        coords: [N, 4] int32, (0, three axes), unique, inside the grid.
        spatial_shape: the extent of the grid, voxels.
    """

    coords: Tensor
    spatial_shape: Axes

    def __len__(self) -> int:
        """N, the number of voxels."""
        return len(self.coords)

    @property
    def cells(self) -> int:
        """How many voxels the grid has, empty ones included."""
        return prod(self.spatial_shape)

    def shuffled(self) -> "Scene":
        """The same voxels in an arbitrary order, always the same one."""
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(0))
        return replace(self, coords=self.coords[order])

    def window(self, shape: Axes) -> "Scene":
        """The voxels inside a grid of `shape` (z, y, x), laid around the middle of this (x, y, z).

        The middle is the median voxel. In a scan of a street that is on the ground, so a quarter of
        the height lies below it.
        """
        rows = self.coords[:, [0, 3, 2, 1]]
        middle = rows[:, 1:].median(0).values
        size = torch.tensor(shape, dtype=torch.int32)
        rows[:, 1:] -= middle - size // torch.tensor([4, 2, 2], dtype=torch.int32)
        inside = ((rows[:, 1:] >= 0) & (rows[:, 1:] < size)).all(1)
        rows = rows[inside]
        return Scene(rows[_key_order(rows, shape)], shape)


def scene_of(scan: Path | None, voxel_size: Sequence[float]) -> Scene:
    """The voxels of a scan, in key order.

    Args:
        scan: a file that gossamer.io reads. Default: a simulated scan.
        voxel_size: metres along x, y and z.

    Raises:
        ValueError: no point is finite, a voxel size is not positive, or what io.read refuses.
    """
    cloud = simulate(seed=0).cloud if scan is None else io.read(scan, labels=False)
    return scene_of_points(cloud.positions, voxel_size)


def scene_of_points(positions: Tensor, voxel_size: Sequence[float]) -> Scene:
    """The voxels of points [P, 3], metres, no further from their middle than REACH in x and y."""
    points = positions[positions.isfinite().all(1)].double()
    if not len(points):
        raise ValueError(
            f"the scan has {len(positions)} points and none is finite; choose another scan"
        )
    near = (points - points.median(0).values)[:, :2].abs().amax(1) < REACH
    points = points[near]
    points = points - points.amin(0)
    x, _ = voxelize(points, points.new_empty(len(points), 0), voxel_size)
    extent = (x.coords[:, 1:].amax(0) + 1).tolist()
    return Scene(x.coords, tuple(-(-size // MULTIPLE) * MULTIPLE for size in extent))


def keys(coords: Tensor, spatial_shape: Sequence[int]) -> Tensor:
    """[N] int64: the number of each voxel [N, 4] of a grid, row-major."""
    number = coords[:, 0].long()
    for axis, extent in enumerate(spatial_shape, start=1):
        number = number * extent + coords[:, axis]
    return number


def _key_order(coords: Tensor, spatial_shape: Sequence[int]) -> Tensor:
    return keys(coords, spatial_shape).argsort()
