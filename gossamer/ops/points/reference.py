"""Points and voxels in plain PyTorch."""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from gossamer.ops.conv import ACCUMULATOR
from gossamer.ops.dispatch import Problem
from gossamer.ops.keys import unique


def refuses(problem: Problem) -> str:
    return ""


def interpolate(x: Tensor, weights: Tensor, rows: Tensor) -> Tensor:
    wide = ACCUMULATOR.get(x.dtype, x.dtype)
    padded = pad(x, (0, 0, 0, 1)).to(wide)  # row -1 is zero, so a missing corner adds nothing
    return (padded[rows] * weights.to(wide).unsqueeze(2)).sum(1).to(x.dtype)


def spread(g: Tensor, weights: Tensor, rows: Tensor, count: int) -> Tensor:
    wide = ACCUMULATOR.get(g.dtype, g.dtype)
    shares = weights.to(wide).unsqueeze(2) * g.to(wide).unsqueeze(1)  # [P, J, C]
    out = g.new_zeros(count + 1, g.shape[1], dtype=wide)  # the last row takes what has no voxel
    target = rows.where(rows >= 0, count).flatten()
    return out.index_add_(0, target, shares.flatten(0, 1))[:count].to(g.dtype)


def interpolation_dots(x: Tensor, g: Tensor, rows: Tensor) -> Tensor:
    wide = ACCUMULATOR.get(x.dtype, x.dtype)
    padded = pad(x, (0, 0, 0, 1)).to(wide)
    return (padded[rows] * g.to(wide).unsqueeze(1)).sum(2).to(x.dtype)


def first_come(
    points: Tensor, lower: list[float], edges: list[float], size: list[int], most: int
) -> tuple[Tensor, Tensor, Tensor]:
    keys = _cell_keys(points, lower, edges, size)
    distinct, row, order = unique(keys)
    starts = torch.searchsorted(row[order], torch.arange(len(distinct), device=keys.device))
    place = torch.empty_like(row)
    place[order] = torch.arange(len(keys), device=keys.device) - starts[row[order]]
    first = order[starts[distinct >= 0]]
    opens = torch.zeros_like(keys).index_fill_(0, first, 1)
    number = opens.cumsum(0) - 1
    number = number.where((opens > 0) & (number < most), -1)[order[starts]]
    cells = keys[opens.nonzero().squeeze(1)[:most]]
    strides = [math.prod(size[axis + 1 :]) for axis in range(len(size))]
    columns = [cells // step % n for step, n in zip(strides, size, strict=True)]
    voxel = number[row]
    return voxel, place.where(voxel >= 0, 0), torch.stack(columns, dim=1).int()


def _cell_keys(points: Tensor, lower: list[float], edges: list[float], size: list[int]) -> Tensor:
    """[P] int64: the number of each point's cell, row-major, or -1 outside."""
    inside = torch.ones(len(points), dtype=torch.bool, device=points.device)
    keys = torch.zeros(len(points), dtype=torch.int64, device=points.device)
    for axis, count in enumerate(size):
        start, edge = (points.new_tensor(v[axis]) for v in (lower, edges))
        cell = ((points[:, axis] - start) / edge).floor()
        # Compared as float first: what a NaN or 1e30 becomes as an int differs by machine.
        near = (cell >= 0) & (cell <= count)
        whole = cell.where(near, -1).long()
        inside &= near & (whole < count)
        keys = keys * count + whole
    return keys.where(inside, -1)
