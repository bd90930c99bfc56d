"""`spconv.pytorch.utils`: points into voxels, and what was computed for voxels back to points."""

import torch
from torch import Tensor

from gossamer.compat.clouds.points import Voxelizer
from gossamer.compat.spconv.pytorch.cppcore import get_current_stream as get_current_stream
from gossamer.compat.spconv.pytorch.cppcore import torch_tensor_to_tv as torch_tensor_to_tv


class PointToVoxel:
    """Voxels of clouds, numbered in the order of their first points.

    Attributes `vsize`, `grid_size`, `grid_stride` and `coors_range` run from the last axis to the
    first, as columns of the indices do.

    Args:
        vsize_xyz: D edges of a voxel, in the order of the columns of a cloud.
        coors_range_xyz: D lower bounds, then D upper ones.
        num_point_features: F, columns of a cloud, of which the first D are positions.
        max_num_voxels: M, after which points that open another voxel are dropped.
        max_num_points_per_voxel: P, after which a voxel takes no more points.
        device: where clouds are, and voxels will be.

    Raises:
        ValueError: lengths do not fit, or a number is not positive.
    """

    def __init__(
        self,
        vsize_xyz: list[float],
        coors_range_xyz: list[float],
        num_point_features: int,
        max_num_voxels: int,
        max_num_points_per_voxel: int,
        device: torch.device = torch.device("cpu:0"),  # noqa: B008
    ):
        self.device = torch.device(device)
        self._voxelizer = Voxelizer(
            vsize_xyz,
            coors_range_xyz,
            num_point_features,
            max_num_voxels,
            max_num_points_per_voxel,
            self.device,
        )
        grid = self._voxelizer.grid
        self.ndim = grid.ndim
        self.vsize, self.coors_range = grid.vsize, grid.coors_range
        self.grid_size, self.grid_stride = grid.grid_size, grid.grid_stride
        self.num_point_features = num_point_features
        self.max_num_voxels = max_num_voxels
        self.max_num_points_per_voxel = max_num_points_per_voxel
        self.voxels = self._voxelizer.voxels
        self.indices = self._voxelizer.indices
        self.num_per_voxel = self._voxelizer.num_per_voxel

    def __setstate__(self, state: dict) -> None:
        """Takes what was pickled here, or by upstream, whose numbers run from the last axis."""
        if "_voxelizer" in state:
            self.__dict__.update(state)
            return
        lower, upper = state["coors_range"][: state["ndim"]], state["coors_range"][state["ndim"] :]
        numbers = ("num_point_features", "max_num_voxels", "max_num_points_per_voxel", "device")
        ranges = [*lower[::-1], *upper[::-1]]
        self.__init__(state["vsize"][::-1], ranges, *(state[name] for name in numbers))

    def __call__(
        self, pc: Tensor, clear_voxels: bool = True, empty_mean: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As `generate_voxel_with_id`, without the last result."""
        return self.generate_voxel_with_id(pc, clear_voxels, empty_mean)[:3]

    def generate_voxel_with_id(
        self, pc: Tensor, clear_voxels: bool = True, empty_mean: bool = False
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The voxels of one cloud.

        Args:
            pc: [N, F] floating; rows with NaN or infinity lie outside.
            clear_voxels: whether places of a voxel that no point takes are zero; otherwise they
                hold what an earlier call left there.
            empty_mean: whether such places hold the mean of the voxel's points instead.

        Returns:
            voxels: [M, P, F] float32.
            indices: [M, D] int32, cells, last axis first (z, y, x), without a batch column.
            num_per_voxel: [M] int32, points in each voxel, at most P.
            pc_voxel_id: [N] int64, the voxel of each point, also of one that its voxel had no
                place for; -1 outside the range, and for points of voxels beyond the cap.

        Raises:
            AssertionError: `pc` is on another kind of device.
            RuntimeError: `pc` is not [N, F].
            TypeError: `pc` is not floating.
        """
        if pc.device.type != self.device.type:
            raise AssertionError(
                f"pc is on {pc.device}; this PointToVoxel was made for {self.device}; move pc, or "
                "make one with device=pc.device"
            )
        with torch.no_grad():
            count, voxel_of_point = self._voxelizer.fill(pc, clear_voxels, empty_mean)
        buffers = self.voxels, self.indices, self.num_per_voxel
        voxels, indices, sizes = (buffer[:count].clone() for buffer in buffers)
        return voxels, indices, sizes, voxel_of_point


def gather_features_by_pc_voxel_id(
    seg_res_features: Tensor, pc_voxel_id: Tensor, invalid_value: int | float = 0
) -> Tensor:
    """[N, ...]: for each point the row of its voxel.

    Args:
        seg_res_features: [M, ...], rows of voxels.
        pc_voxel_id: [N] int64, voxels of points, -1 for none; moved to the device of the rows.
        invalid_value: what points without a voxel get.

    Raises:
        ValueError: a number is below -1, or not below M.
    """
    wanted = pc_voxel_id.to(seg_res_features.device).long()
    count = len(seg_res_features)
    if len(wanted) and not -1 <= int(wanted.min()) <= int(wanted.max()) < count:
        raise ValueError(
            f"pc_voxel_id has numbers from {int(wanted.min())} to {int(wanted.max())}; wanted -1 "
            f"to {count - 1}, since seg_res_features has {count} rows"
        )
    out = seg_res_features.new_full((len(wanted), *seg_res_features.shape[1:]), invalid_value)
    valid = (wanted != -1).nonzero().squeeze(1)
    return out.index_copy(0, valid, seg_res_features[wanted[valid]])
