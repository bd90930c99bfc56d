"""How many points each voxel has."""

from torch import Tensor

from gossamer.compat.pointcells.means import counted

__all__ = ["spcount"]


def spcount(coords: Tensor, num: int | Tensor) -> Tensor:
    """[num] int32: how often each number from 0 on comes; negative ones are not counted.

    Args:
        coords: [P] int, the voxel of each point.
        num: how many voxels there are.

    Raises:
        ValueError: a voxel is not below num.
    """
    return counted(coords, int(num))
