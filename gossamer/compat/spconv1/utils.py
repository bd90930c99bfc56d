"""`spconv.utils` of 1.2: voxel generators and box operations that work on arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gossamer.compat.clouds.boxes import suppressed
from gossamer.compat.clouds.points import grid_of
from gossamer.compat.older.voxels import Caps, Voxels, voxels_of
from gossamer.compat.spconv.utils import non_max_suppression_cpu as non_max_suppression_cpu
from gossamer.compat.spconv.utils import rbbox_intersection as rbbox_intersection
from gossamer.compat.spconv.utils import rbbox_iou as rbbox_iou
from gossamer.compat.spconv.utils import (
    rotate_non_max_suppression_cpu as rotate_non_max_suppression_cpu,
)

Numbers = Sequence[float] | np.ndarray


class _Generator:
    """What both generators are: a box, the voxels in it, and how many there may be."""

    def __init__(
        self, voxel_size: Numbers, point_cloud_range: Numbers, max_num_points: int, max_voxels: int
    ):
        self._voxel_size = np.array(voxel_size, dtype=np.float32)
        self._point_cloud_range = np.array(point_cloud_range, dtype=np.float32)
        if self._voxel_size.shape != (3,) or self._point_cloud_range.shape != (6,):
            raise ValueError(
                f"voxel_size is {voxel_size} and point_cloud_range {point_cloud_range}; wanted "
                "x, y, z, and three lower bounds, then three upper ones"
            )
        self._caps = Caps(max_num_points, max_voxels)
        grid = grid_of(self._voxel_size.tolist(), self._point_cloud_range.tolist())
        self._grid_size = np.array(grid.grid_size[::-1], dtype=np.int64)

    def _voxels(self, points: np.ndarray, max_voxels: int | None, mean: bool) -> Voxels:
        caps = Caps(self._caps.points, max_voxels or self._caps.voxels)
        return voxels_of(points, self._voxel_size, self._point_cloud_range, caps, mean)

    @property
    def voxel_size(self) -> np.ndarray:
        """[3] float32, (x, y, z)."""
        return self._voxel_size

    @property
    def max_num_points_per_voxel(self) -> int:
        """How many points a voxel has at most."""
        return self._caps.points

    @property
    def point_cloud_range(self) -> np.ndarray:
        """[6] float32, lower bounds, then upper ones."""
        return self._point_cloud_range

    @property
    def grid_size(self) -> np.ndarray:
        """[3] int64, cells of each axis (x, y, z)."""
        return self._grid_size


class VoxelGenerator(_Generator):
    """Voxels of clouds, numbered in the order of their first points.

    Args:
        voxel_size: edges of a voxel (x, y, z).
        point_cloud_range: three lower bounds, then three upper ones.
        max_num_points: P, after which a voxel takes no more points.
        max_voxels: M, after which points that open another voxel are dropped.
        full_mean: whether places that no point takes hold the mean of their voxel's points.

    Raises:
        ValueError: lengths do not fit, or a number is not positive.
    """

    def __init__(
        self,
        voxel_size: Numbers,
        point_cloud_range: Numbers,
        max_num_points: int,
        max_voxels: int = 20000,
        full_mean: bool = False,
    ):
        super().__init__(voxel_size, point_cloud_range, max_num_points, max_voxels)
        self._full_mean = full_mean

    def generate(self, points: np.ndarray, max_voxels: int | None = None) -> Voxels:
        """Voxels [M, P, F], coordinates [M, 3] int32 (z, y, x), points of each voxel [M] int32.

        Args:
            points: [N, F] float32 or float64, of which the first 3 columns are positions.
            max_voxels: in place of the one that the generator has.
        """
        return self._voxels(points, max_voxels, self._full_mean)


class VoxelGeneratorV2(_Generator):
    """As VoxelGenerator, and what it generates is a dictionary.

    Args:
        voxel_size, point_cloud_range, max_num_points, max_voxels: as there.
        full_mean, block_filtering: must be False.
        block_factor, block_size, height_threshold, height_high_threshold: of `block_filtering`.

    Raises:
        ValueError: lengths do not fit, or a number is not positive, or an option is not there.
    """

    def __init__(
        self,
        voxel_size: Numbers,
        point_cloud_range: Numbers,
        max_num_points: int,
        max_voxels: int = 20000,
        full_mean: bool = False,
        block_filtering: bool = False,
        block_factor: int = 8,
        block_size: int = 3,
        height_threshold: float = 0.1,
        height_high_threshold: float = 2.0,
    ):
        super().__init__(voxel_size, point_cloud_range, max_num_points, max_voxels)
        if full_mean or block_filtering:
            raise ValueError(
                f"full_mean is {full_mean} and block_filtering {block_filtering}; only False is "
                "there; drop voxels of too little or too much height from the result instead"
            )

    def generate(self, points: np.ndarray, max_voxels: int | None = None) -> dict[str, Any]:
        """The voxels of a cloud.

        Args:
            points: [N, F] float32 or float64, of which the first 3 columns are positions.
            max_voxels: in place of the one that the generator has.

        Returns:
            "voxels" [M, P, F], "coordinates" [M, 3] int32 (z, y, x), "num_points_per_voxel" [M]
            int32, "voxel_point_mask" [M, P, 1], 1 where there is a point, and "voxel_num", M.
        """
        voxels, coordinates, sizes = self._voxels(points, max_voxels, False)
        taken = np.arange(voxels.shape[1]) < sizes[:, None]
        return {
            "voxels": voxels,
            "coordinates": coordinates,
            "num_points_per_voxel": sizes,
            "voxel_point_mask": taken[..., None].astype(voxels.dtype),
            "voxel_num": len(voxels),
        }


def points_to_voxel(
    points: np.ndarray,
    voxel_size: Numbers,
    coors_range: Numbers,
    coor_to_voxelidx: np.ndarray | None = None,
    max_points: int = 35,
    max_voxels: int = 20000,
) -> dict[str, Any]:
    """As `VoxelGeneratorV2.generate`; `coor_to_voxelidx`, a map of the grid, is not needed."""
    return VoxelGeneratorV2(voxel_size, coors_range, max_points, max_voxels).generate(points)


def non_max_suppression(
    boxes: np.ndarray, keep_out: np.ndarray, nms_overlap_thresh: float, device_id: int = 0
) -> int:
    """How many boxes stay; their rows are written to the start of `keep_out`.

    Args:
        boxes: [N, 4 or more]: x1, y1, x2, y2 of the last pixel, the best box first.
        keep_out: [N] int32, written in place.
        nms_overlap_thresh: an IoU of more than that with a better box that stays drops a box.
        device_id: taken for the order of arguments.
    """
    above = np.nextafter(boxes.dtype.type(nms_overlap_thresh), boxes.dtype.type(np.inf))
    kept = suppressed(boxes, np.arange(len(boxes)), float(above), 1.0)
    keep_out[: len(kept)] = kept
    return len(kept)
