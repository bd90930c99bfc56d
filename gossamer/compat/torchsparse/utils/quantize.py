"""From points to voxels, in NumPy."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

__all__ = ["sparse_quantize"]


def sparse_quantize(
    coords: Any,
    voxel_size: float | Sequence[float] = 1,
    *,
    return_index: bool = False,
    return_inverse: bool = False,
) -> Any:
    """The voxels that points lie in, each once, sorted by x, then y, then z.

    Args:
        coords: [P, D] numbers.
        voxel_size: edge of a voxel, one number or one an axis.
        return_index: whether the first point of each voxel is wanted too.
        return_inverse: whether the voxel of each point is wanted too.

    Returns:
        [N, D] int32; or a list of that and of what else is wanted, [N] and [P] int64.

    Raises:
        ValueError: coords are not [P, D], not finite, or too far away for int32.
        AssertionError: voxel_size is not one number or one an axis, above 0.
    """
    points = np.asarray(coords)
    if points.ndim != 2:
        raise ValueError(f"coords has shape {points.shape}; wanted [P, D]")
    cells = _cells(points, _edges(voxel_size, points.shape[1]))
    keys = _keys(cells)
    axis = None if keys.ndim == 1 else 0
    _, index, inverse = np.unique(keys, return_index=True, return_inverse=True, axis=axis)
    voxels = cells[index].astype(np.int32)
    more = [index] * return_index + [inverse.reshape(-1)] * return_inverse
    return [voxels, *more] if more else voxels


def _edges(voxel_size: Any, ndim: int) -> np.ndarray:
    edges = np.asarray(voxel_size, dtype=np.float64)
    if edges.ndim == 0:
        edges = np.full(ndim, edges)
    if edges.shape != (ndim,) or not (edges > 0).all():
        raise AssertionError(
            f"voxel_size is {voxel_size!r}; wanted one number, or {ndim} of them, above 0"
        )
    return edges


def _cells(points: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """[P, D] int64."""
    cells = np.floor(points / edges)
    bounds = np.iinfo(np.int32)
    good = (cells >= bounds.min) & (cells <= bounds.max)  # which NaN is not
    if not good.all():
        row = int(np.argmin(good.all(1)))
        raise ValueError(
            f"coords row {row} is {points[row].tolist()}; wanted finite numbers, less than 2**31 "
            "voxels from the origin; drop such points first, or enlarge voxel_size"
        )
    return cells.astype(np.int64)


def _keys(cells: np.ndarray) -> np.ndarray:
    """[P] int64, or [P, D]: what sorts as the rows of `cells` do, and is equal where they are."""
    if not cells.size:
        return cells
    lower = cells.min(axis=0)
    size = [int(extent) for extent in cells.max(axis=0) - lower + 1]
    if prod(size) >= 1 << 63:
        return cells  # which sorts much slower
    keys = np.zeros(len(cells), dtype=np.int64)
    for column, low, extent in zip(cells.T, lower, size, strict=True):
        keys = keys * extent + (column - low)
    return keys
