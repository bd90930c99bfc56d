"""From points to voxels and back."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gossamer import checks
from gossamer.coords import Axes, Box, Coords
from gossamer.errors import KeyRangeError
from gossamer.interpolation import at_places, rows_at
from gossamer.ops.keys import pack, unique, unpack
from gossamer.ops.points import interpolate
from gossamer.rulebook import Rulebook
from gossamer.tensor import SparseTensor

REDUCTIONS = ("mean", "sum", "max", "first")
Lengths = float | Sequence[float]


def voxelize(
    points: Tensor,
    features: Tensor,
    voxel_size: Lengths,
    batch: Tensor | None = None,
    *,
    batch_size: int | None = None,
    reduce: str = "mean",
    spatial_shape: Sequence[int] | None = None,
) -> tuple[SparseTensor, Tensor]:
    """The occupied voxels of a batch of points, and the voxel of each point.

    Args:
        points: [P, D] float32 or float64, metres, from the corner of voxel 0.
        features: [P, C] floating; gradients flow back to it.
        voxel_size: edge of a voxel, metres, one number or D.
        batch: [P] int, the sample of each point. Default: one sample.
        batch_size: B. Default: the largest batch index plus one, at least 1.
        reduce: what a voxel makes of its points' features: "mean", "sum", "max" or "first" (that of
            the first point in the order given).
        spatial_shape: D ints; then points outside the grid belong to no voxel. Default: no bounds.

    Returns:
        x: SparseTensor of [N, C] features.
        voxel_of_point: [P] int64, rows of x, -1 for points outside the grid.

    Raises:
        ValueError: a point is not finite, lengths differ, a voxel size is not positive, a batch
            index is out of range, or the points span more voxels than a key can number
            (KeyRangeError).
    """
    checks.one_of("reduce", reduce, REDUCTIONS)
    _check_points(points, batch)
    if checks.floating("features", features, 2).shape[0] != points.shape[0]:
        raise ValueError(
            f"features has {features.shape[0]} rows and points has {points.shape[0]}; wanted one "
            "row a point in both"
        )
    cells = to_cells(points, voxel_size)
    sites, row, order = _occupied(cells, batch, batch_size, spatial_shape)
    if reduce == "first":
        first = torch.searchsorted(row[order], torch.arange(len(sites), device=row.device))
        return SparseTensor(features[order[first]], sites), row
    inside = order[row[order] >= 0]
    rulebook = Rulebook.sending(inside, row[inside], len(sites), inputs=points.shape[0])
    return SparseTensor(rulebook.reduce(features, reduce), sites), row


def devoxelize(
    x: SparseTensor,
    points: Tensor,
    voxel_size: Lengths,
    batch: Tensor | None = None,
    *,
    mode: str = "nearest",
) -> Tensor:
    """[P, C]: the features of voxels at points.

    Args:
        x: voxels, at any stride.
        points: [P, D] float32 or float64, metres, from the corner of voxel 0.
        voxel_size: edge of a voxel of stride 1, metres, one number or D.
        batch: [P] int, the sample of each point. Default: one sample.
        mode: "nearest": the voxel that the point lies in. "trilinear": between the centres of the
            2**D voxels around it, those that are empty left out of the mean. Where no voxel has
            features, 0.

    Raises:
        ValueError: a point is not finite, lengths differ, a voxel size is not positive.
    """
    checks.one_of("mode", mode, ("nearest", "trilinear"))
    _check_points(points, batch)
    if points.shape[1] != x.ndim:
        raise ValueError(f"points has {points.shape[1]} axes and x has {x.ndim}; wanted the same")
    edges = _edges(voxel_size, x.ndim) * torch.tensor(x.stride)
    place = points.double() / edges.to(points.device)
    sample = place.new_zeros(len(points), dtype=torch.int64) if batch is None else batch
    sample = checks.samples("batch", sample, x.batch_size).long()
    if mode == "trilinear":
        centred = torch.cat([sample.to(place.dtype).unsqueeze(1), place - 0.5], dim=1)
        return at_places(x.sites, x.features, centred, renormalize=True)
    rows = rows_at(x.sites, sample, place.floor().long(), sample.new_zeros(1, x.ndim))
    return interpolate(x.features, torch.ones_like(rows, dtype=x.dtype), rows)


def to_cells(points: Tensor, voxel_size: Lengths) -> Tensor:
    """[P, D] int64: the cell that each point lies in.

    Raises:
        ValueError: a voxel size is not positive.
        KeyRangeError: a cell does not fit 32 bits.
    """
    ndim = points.shape[1]
    edges = _edges(voxel_size, ndim)
    cells = (points.detach().double() / edges.to(points.device)).floor()
    if points.shape[0] and cells.abs().max() >= 2**31:
        raise KeyRangeError(
            f"a point lies {cells.abs().max().item():.3g} voxels from the origin; wanted less than "
            "2**31; remove outliers, subtract a corner near the points or use larger voxels"
        )
    return cells.long()


def _occupied(
    cells: Tensor, batch: Tensor | None, batch_size: int | None, shape: Sequence[int] | None
) -> tuple[Coords, Tensor, Tensor]:
    """The occupied voxels, the row of each point (or -1), and the order that sorts points so."""
    ndim = cells.shape[1]
    sample = cells.new_zeros(len(cells)) if batch is None else batch
    least = int(sample.max()) + 1 if len(sample) else 0
    batches = batch_size if batch_size is not None else max(1, least)
    sample = checks.samples("batch", sample, batches).long()
    axes = None if shape is None else checks.per_axis("spatial_shape", shape, ndim, 1)
    box = _bounds(cells, axes).check(batches)
    keys = pack(torch.cat([sample.unsqueeze(1), cells], dim=1), *box.lists)
    if axes is not None:
        inside = ((cells >= 0) & (cells < cells.new_tensor(axes))).all(1)
        keys = torch.where(inside, keys, -1)
    distinct, row, order = unique(keys)
    outside = int(distinct.shape[0] > 0 and bool(distinct[0] < 0))
    rows = unpack(distinct[outside:], *box.lists)
    return Coords(rows, box, axes, batches, (1,) * ndim), row - outside, order


def _bounds(cells: Tensor, shape: Axes | None) -> Box:
    ndim = cells.shape[1]
    if shape is not None or not len(cells):
        return Box((0,) * ndim, shape or (1,) * ndim)
    return Box(tuple(cells.amin(0).tolist()), tuple((cells.amax(0) + 1).tolist()))


def _edges(voxel_size: Lengths, ndim: int) -> Tensor:
    """[D] float64: the edge of a voxel on every axis."""
    edges = torch.as_tensor(voxel_size, dtype=torch.float64, device="cpu")
    if edges.ndim > 1 or (edges.ndim == 1 and len(edges) != ndim):
        raise ValueError(f"voxel_size is {voxel_size}; wanted one length or {ndim}, one an axis")
    if not (edges > 0).all() or not edges.isfinite().all():
        raise ValueError(f"voxel_size is {voxel_size}; wanted a positive length on every axis")
    return edges.expand(ndim)


def _check_points(points: Tensor, batch: Tensor | None) -> None:
    checks.finite("points", checks.floating("points", points, 2))
    if batch is not None and batch.shape != points.shape[:1]:
        raise ValueError(
            f"batch has shape {tuple(batch.shape)}; wanted [{len(points)}], one entry a point"
        )
