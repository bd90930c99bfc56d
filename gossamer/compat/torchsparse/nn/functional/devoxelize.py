"""From voxels to points."""

from torch import Tensor

from gossamer.compat.pointcells.trilinear import trilinear_weights, weighted_sum

__all__ = ["calc_ti_weights", "spdevoxelize"]


def calc_ti_weights(coords: Tensor, idx_query: Tensor, scale: float = 1) -> Tensor:
    """[P, 8]: trilinear weights of the voxels around each point, which sum to 1.

    Args:
        coords: [P, 3] places.
        idx_query: [P, 8] int, the voxel at each corner, -1 where there is none; z changes fastest.
        scale: edge of a voxel, in the unit of coords.

    Raises:
        ValueError: the shapes do not fit, or scale is not above 0.
    """
    return trilinear_weights(coords, idx_query, scale)


def spdevoxelize(feats: Tensor, coords: Tensor, weights: Tensor) -> Tensor:
    """[P, C]: for each point the weighted sum of the voxels around it.

    Args:
        feats: [N, C] floating, of voxels.
        coords: [P, 8] int, rows of feats, or -1 for none.
        weights: [P, 8], as `calc_ti_weights` has them.

    Raises:
        ValueError: the shapes do not fit, or feats has no such row.
    """
    return weighted_sum(feats, coords, weights)
