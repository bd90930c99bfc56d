"""`Point2VoxelCPU3d` and its siblings: voxelizers from arrays to arrays."""

from typing import ClassVar

import numpy as np
import torch

from gossamer.compat.clouds.points import Voxelizer, grid_of
from gossamer.compat.host.tensor import Tensor

Voxels = tuple[Tensor, Tensor, Tensor]


class Point2Voxel:
    """Voxels of clouds, numbered in the order of their first points.

    What a call returns is the caller's: unlike upstream's, the next call does not write to it. And
    it pickles, so a data set that holds one goes to workers.

    Args:
        vsize_xyz: D edges of a voxel, in the order of the columns of a cloud.
        coors_range_xyz: D lower bounds, then D upper ones.
        num_point_features: F, columns of a cloud, of which the first D are positions.
        max_num_voxels: M, after which points that open another voxel are dropped.
        max_num_points_per_voxel: P, after which a voxel takes no more points.

    Raises:
        ValueError: lengths do not fit, or a number is not positive.
    """

    ndim: ClassVar[int]

    def __init__(
        self,
        vsize_xyz: list[float],
        coors_range_xyz: list[float],
        num_point_features: int,
        max_num_voxels: int,
        max_num_points_per_voxel: int,
    ):
        if len(vsize_xyz) != self.ndim:
            raise ValueError(
                f"vsize_xyz is {vsize_xyz}; wanted {self.ndim} edges, one an axis of "
                f"{type(self).__name__}"
            )
        self._voxelizer = Voxelizer(
            vsize_xyz,
            coors_range_xyz,
            num_point_features,
            max_num_voxels,
            max_num_points_per_voxel,
        )

    @staticmethod
    def calc_meta_data(
        vsize_xyz: list[float], coors_range_xyz: list[float]
    ) -> tuple[list[float], list[int], list[int], list[float]]:
        """Edges, cells, strides and bounds, from the last axis to the first."""
        grid = grid_of(vsize_xyz, coors_range_xyz)
        return grid.vsize, grid.grid_size, grid.grid_stride, grid.coors_range

    @property
    def grid_size(self) -> list[int]:
        """Cells of each axis, from the last to the first."""
        return self._voxelizer.grid.grid_size

    @property
    def voxels(self) -> Tensor:
        """[M, P, F] float32: the buffer that `clear_voxels=False` leaves as it is."""
        return Tensor.around(self._voxelizer.voxels.numpy())

    @property
    def indices(self) -> Tensor:
        """[M, D] int32: the buffer of cells."""
        return Tensor.around(self._voxelizer.indices.numpy())

    @property
    def num_per_voxel(self) -> Tensor:
        """[M] int32: the buffer of points in each voxel."""
        return Tensor.around(self._voxelizer.num_per_voxel.numpy())

    def _voxels_of(self, points: Tensor | np.ndarray, clear: bool, mean: bool) -> Voxels:
        cloud = points.numpy_view() if isinstance(points, Tensor) else points
        if not isinstance(cloud, np.ndarray):
            raise TypeError(
                f"points is a {type(points).__name__}; wanted cumm.tensorview.from_numpy(array)"
            )
        # A copy where torch would refuse negative strides or warn of memory that is read-only.
        plain = cloud.flags.writeable and min(cloud.strides, default=0) >= 0
        rows = torch.from_numpy(cloud if plain else np.array(cloud))
        count, _ = self._voxelizer.fill(rows, clear, mean)
        buffers = self.voxels, self.indices, self.num_per_voxel
        voxels, indices, sizes = (buffer[:count].clone() for buffer in buffers)
        return voxels, indices, sizes


class Point2VoxelCPU(Point2Voxel):
    """A voxelizer by the names that upstream's has on the CPU."""

    def point_to_voxel(self, points: Tensor, clear_voxels: bool = True) -> Voxels:
        """Voxels [M, P, F] float32, cells [M, D] int32 (last axis first), points of each [M] int32.

        Args:
            points: [N, F] float32 or float64; rows with NaN or infinity lie outside.
            clear_voxels: whether places of a voxel that no point takes are zero; otherwise they
                hold what an earlier call left there.

        Raises:
            RuntimeError: `points` is not [N, F].
            TypeError: `points` is not floating.
        """
        return self._voxels_of(points, clear_voxels, False)

    def point_to_voxel_empty_mean(self, points: Tensor, clear_voxels: bool = True) -> Voxels:
        """As `point_to_voxel`, places that no point takes filled with the mean of those taken."""
        return self._voxels_of(points, clear_voxels, True)


class Point2VoxelGPU(Point2Voxel):
    """A voxelizer by the names that upstream's has on a GPU; voxels come in order here too."""

    def point_to_voxel_hash(
        self,
        points: Tensor,
        clear_voxels: bool = True,
        empty_mean: bool = False,
        stream_int: int = 0,
    ) -> Voxels:
        """As `Point2VoxelCPU.point_to_voxel`, or its `..._empty_mean` with `empty_mean`."""
        return self._voxels_of(points, clear_voxels, empty_mean)


class Point2VoxelCPU1d(Point2VoxelCPU):
    """Of 1 axis."""

    ndim = 1


class Point2VoxelCPU2d(Point2VoxelCPU):
    """Of 2 axes."""

    ndim = 2


class Point2VoxelCPU3d(Point2VoxelCPU):
    """Of 3 axes."""

    ndim = 3


class Point2VoxelCPU4d(Point2VoxelCPU):
    """Of 4 axes."""

    ndim = 4


class Point2VoxelGPU1d(Point2VoxelGPU):
    """Of 1 axis."""

    ndim = 1


class Point2VoxelGPU2d(Point2VoxelGPU):
    """Of 2 axes."""

    ndim = 2


class Point2VoxelGPU3d(Point2VoxelGPU):
    """Of 3 axes."""

    ndim = 3


class Point2VoxelGPU4d(Point2VoxelGPU):
    """Of 4 axes."""

    ndim = 4
