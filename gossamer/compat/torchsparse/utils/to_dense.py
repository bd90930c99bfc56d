"""Features on a dense grid."""

from collections.abc import Sequence

from torch import Tensor

from gossamer.compat.rows.scatter import scatter_nd

__all__ = ["to_dense"]


def to_dense(feats: Tensor, coords: Tensor, spatial_range: Sequence[int]) -> Tensor:
    """[B, X, Y, Z, C]: every row at its coordinates, 0 elsewhere; of several at one place the last.

    Args:
        feats: [N, C].
        coords: [N, 4] int, (batch, x, y, z).
        spatial_range: B, X, Y, Z.

    Raises:
        ValueError: a row lies outside.
    """
    shape = [int(size) for size in spatial_range]
    if coords.ndim != 2 or coords.shape != (feats.shape[0], len(shape)):
        raise ValueError(
            f"coords has shape {tuple(coords.shape)}, feats has {feats.shape[0]} rows and "
            f"spatial_range is {tuple(shape)}; wanted a row of coords for each of feats, with a "
            "column for each number of spatial_range"
        )
    if len(coords):
        low, high = coords.amin(0).tolist(), coords.amax(0).tolist()
        if min(low) < 0 or any(top >= size for top, size in zip(high, shape, strict=True)):
            raise ValueError(
                f"coords reach from {low} to {high} (batch, x, y, z), and spatial_range is "
                f"{tuple(shape)}; wanted rows inside; drop the others, or enlarge it"
            )
    return scatter_nd(coords.long(), feats, [*shape, feats.shape[1]])
