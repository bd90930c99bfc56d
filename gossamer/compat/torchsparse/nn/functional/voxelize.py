"""From points to voxels."""

from torch import Tensor

from gossamer.compat.pointcells.means import mean_of_cells

__all__ = ["spvoxelize"]


def spvoxelize(feats: Tensor, coords: Tensor, counts: Tensor) -> Tensor:
    """[N, C]: the mean of each voxel's points, 0 for a voxel without points.

    Args:
        feats: [P, C] floating.
        coords: [P] int, the voxel of each point; a point of no voxel in [0, N) is left out.
        counts: [N] int, the points of each voxel, as `spcount` has them.

    Raises:
        ValueError: coords are not one number a point.
    """
    return mean_of_cells(feats, coords, counts)
