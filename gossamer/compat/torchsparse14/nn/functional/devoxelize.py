"""From voxels to points."""

from torch import Tensor

from gossamer.compat.pointcells.trilinear import trilinear_weights, weighted_sum

__all__ = ["calc_ti_weights", "spdevoxelize"]


def calc_ti_weights(coords: Tensor, idx_query: Tensor, scale: float = 1) -> Tensor:
    """[8, P]: trilinear weights of the voxels around each point, which sum to 1.

    Args:
        coords: [P, 3 or more] places, x, y and z first.
        idx_query: [8, P] int, the voxel at each corner, -1 where there is none; z changes fastest.
        scale: edge of a voxel, in the unit of coords.

    Raises:
        ValueError: the shapes do not fit, or scale is not above 0.
    """
    if idx_query.ndim != 2 or idx_query.shape[0] != 8:
        raise ValueError(
            f"idx_query has shape {tuple(idx_query.shape)}; wanted [8, P], a line for each corner "
            "and a column for each point"
        )
    return trilinear_weights(coords[:, :3], idx_query.t(), scale).t().contiguous()


def spdevoxelize(feats: Tensor, coords: Tensor, weights: Tensor) -> Tensor:
    """[P, C]: for each point the weighted sum of the voxels around it.

    Args:
        feats: [N, C] floating, of voxels.
        coords: [P, 8] int, rows of feats, or -1 for none.
        weights: [P, 8], those of `calc_ti_weights` transposed.

    Raises:
        ValueError: the shapes do not fit, or feats has no such row.
    """
    return weighted_sum(feats, coords, weights)
