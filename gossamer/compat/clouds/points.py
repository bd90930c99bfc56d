"""Points into voxels as spconv does it: numbered by first point, with caps on voxels and points.

Cells are those of upstream's CPU code to the last bit: edges and bounds rounded to float32, the
rest of the arithmetic in the dtype of the points. Memory grows with the points and with the caps,
never with the grid.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gossamer.errors import KeyRangeError
from gossamer.ops.points import first_come

FARTHEST = 2**31 - 1  # the largest cell that int32 indices hold


@dataclass(frozen=True)
class Grid:
    """The cells of a box. Lists run from the last axis of the points to the first."""

    vsize: list[float]  # D edges of a cell
    grid_size: list[int]  # D cells
    grid_stride: list[int]  # D cells from one index to the next
    coors_range: list[float]  # D lower bounds, then D upper ones

    @property
    def ndim(self) -> int:
        """D."""
        return len(self.vsize)


def grid_of(vsize_xyz: Sequence[float], coors_range_xyz: Sequence[float]) -> Grid:
    """The grid of spconv's two arguments.

    Args:
        vsize_xyz: D edges of a cell, 1 to 4 of them, in the order of the points' columns.
        coors_range_xyz: D lower bounds, then D upper ones.

    Raises:
        ValueError: lengths do not fit, an edge is not positive, an axis has no cell.
        KeyRangeError: there are more cells than an int64 can number.
    """
    vsize, bounds = _single(vsize_xyz)[::-1], _single(coors_range_xyz)
    ndim = len(vsize)
    if ndim not in (1, 2, 3, 4) or len(bounds) != 2 * ndim:
        raise ValueError(
            f"vsize_xyz has {ndim} numbers and coors_range_xyz {len(bounds)}; wanted one edge for "
            "each of 1 to 4 axes, and twice as many bounds: the lower ones, then the upper ones"
        )
    lower, upper = bounds[:ndim][::-1], bounds[ndim:][::-1]
    if not (np.isfinite(vsize) & (vsize > 0)).all():
        raise ValueError(f"vsize_xyz is {list(vsize_xyz)}; wanted positive lengths")
    cells = np.floor((upper - lower).astype(np.float32) / vsize + np.float64(0.5))
    if not ((cells >= 1) & (cells <= FARTHEST)).all():
        raise ValueError(
            f"coors_range_xyz is {list(coors_range_xyz)} and vsize_xyz {list(vsize_xyz)}; wanted "
            f"1 to {FARTHEST} cells on every axis, and these give {cells[::-1].tolist()}"
        )
    size = [int(n) for n in cells]
    if math.prod(size) >= 2**63:
        raise KeyRangeError(f"coors_range_xyz has {math.prod(size):.3g} cells; wanted under 2**63")
    strides = [math.prod(size[axis + 1 :]) for axis in range(ndim)]
    return Grid(vsize.tolist(), size, strides, [*lower.tolist(), *upper.tolist()])


class Voxelizer:
    """Voxels of clouds, one cloud after the other, in buffers that stay.

    Args:
        vsize_xyz, coors_range_xyz: as for `grid_of`.
        num_point_features: F, columns of a cloud, of which the first D are positions.
        max_num_voxels: M, after which points that open another voxel are dropped.
        max_num_points_per_voxel: P, after which a voxel takes no more points.
        device: where the buffers are.

    Raises:
        ValueError: F < D, a cap is below 1, or `grid_of` refuses.
    """

    def __init__(
        self,
        vsize_xyz: Sequence[float],
        coors_range_xyz: Sequence[float],
        num_point_features: int,
        max_num_voxels: int,
        max_num_points_per_voxel: int,
        device: torch.device | str = "cpu",
    ):
        self.grid = grid_of(vsize_xyz, coors_range_xyz)
        if num_point_features < self.grid.ndim:
            raise ValueError(
                f"num_point_features is {num_point_features}; wanted {self.grid.ndim} or more, "
                f"since vsize_xyz has {self.grid.ndim} axes"
            )
        if min(max_num_voxels, max_num_points_per_voxel) < 1:
            raise ValueError(
                f"max_num_voxels is {max_num_voxels} and max_num_points_per_voxel "
                f"{max_num_points_per_voxel}; wanted 1 or more"
            )
        shape = max_num_voxels, max_num_points_per_voxel, num_point_features
        self.voxels = torch.zeros(shape, dtype=torch.float32, device=device)  # [M, P, F]
        self.indices = torch.zeros(
            (max_num_voxels, self.grid.ndim), dtype=torch.int32, device=device
        )
        self.num_per_voxel = torch.zeros(max_num_voxels, dtype=torch.int32, device=device)
        self._written = 0  # rows of `voxels` that may hold something

    def fill(self, points: Tensor, clear: bool = True, mean: bool = False) -> tuple[int, Tensor]:
        """Writes the voxels of one cloud to the buffers.

        Args:
            points: [N, F] floating, on the device of the buffers.
            clear: whether places that no point takes are zero; otherwise they keep what they hold.
            mean: whether such places hold the mean of their voxel's points instead.

        Returns:
            The number of voxels, and [N] int64: the voxel of each point, -1 for a point that lies
            outside or was dropped with its voxel. A point that its voxel had no place for has one.

        Raises:
            TypeError: `points` is not floating.
            RuntimeError: `points` is not [N, F].
        """
        self._check(points)
        grid, (most, places, width) = self.grid, self.voxels.shape
        wide = points if points.dtype == torch.float64 else points.float()
        box = grid.coors_range[: grid.ndim], grid.vsize, grid.grid_size
        voxel, place, cells = first_come(wide, *(values[::-1] for values in box), most)
        count = len(cells)
        if clear:
            self.voxels[: self._written] = 0
        self._written = count if clear else max(count, self._written)
        self.indices[:count] = cells.flip(1)
        self.num_per_voxel.zero_()
        kept = (place < places).logical_and_(voxel >= 0).nonzero().squeeze(1)
        number = voxel.index_select(0, kept)
        target = number * places + place.index_select(0, kept)
        rows = points.detach().index_select(0, kept).float()
        self.voxels.view(-1, width).index_copy_(0, target, rows)
        self.num_per_voxel[:count] = torch.bincount(number, minlength=count)
        if mean:
            _fill_with_means(self.voxels[:count], self.num_per_voxel[:count])
        return count, voxel

    def _check(self, points: Tensor) -> None:
        width = self.voxels.shape[2]
        if points.ndim != 2 or points.shape[1] != width:
            raise RuntimeError(
                f"the points have shape {tuple(points.shape)}; wanted [N, {width}], since "
                f"num_point_features is {width}"
            )
        if not points.is_floating_point():
            raise TypeError(f"the points are {points.dtype}; wanted a floating dtype")


def _single(numbers: Sequence[float]) -> np.ndarray:
    return np.asarray([float(number) for number in numbers], dtype=np.float32)


def _fill_with_means(voxels: Tensor, sizes: Tensor) -> None:
    """Writes the mean of the first `sizes` [M] places of each of `voxels` [M, P, F] to the rest."""
    vacant = torch.arange(voxels.shape[1], device=voxels.device) >= sizes.unsqueeze(1)  # [M, P]
    voxels.masked_fill_(vacant.unsqueeze(2), 0)
    means = voxels.sum(1, keepdim=True) / sizes.view(-1, 1, 1)
    torch.where(vacant.unsqueeze(2), means, voxels, out=voxels)
