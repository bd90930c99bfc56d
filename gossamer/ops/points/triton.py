"""Points and voxels on a GPU: programs own the rows that they write, found by sorting."""

import math

import torch
from torch import Tensor

from gossamer.ops.dispatch import Problem
from gossamer.ops.launch import unusable
from gossamer.ops.points.gpu.cells import cell_keys
from gossamer.ops.points.gpu.corners import dotted, weighed
from gossamer.ops.pool.gpu.segments import Segments, reduced


def refuses(problem: Problem) -> str:
    return unusable(problem.device, problem.index)


def interpolate(x: Tensor, weights: Tensor, rows: Tensor) -> Tensor:
    return weighed(x, weights, rows)


def spread(g: Tensor, weights: Tensor, rows: Tensor, count: int) -> Tensor:
    # Half as many bytes to sort; -1 comes first, and belongs to no row.
    row, corner = torch.sort(rows.flatten().int(), stable=True)
    by = Segments(corner, row, None, weights=weights, share=rows.shape[1])
    return reduced(g, by, count, best=False)


def interpolation_dots(x: Tensor, g: Tensor, rows: Tensor) -> Tensor:
    return dotted(x, g, rows)


def first_come(
    points: Tensor, lower: list[float], edges: list[float], size: list[int], most: int
) -> tuple[Tensor, Tensor, Tensor]:
    keys = cell_keys(points, lower, edges, size)
    ascending, order = torch.sort(keys, stable=True)
    place = torch.arange(len(keys), device=keys.device)
    leads = torch.ones_like(keys, dtype=torch.bool)
    leads[1:] = ascending[1:] != ascending[:-1]
    leader = place.where(leads, 0).cummax(0).values  # in sorted order, the first of its voxel
    opens = torch.empty_like(keys).scatter_(0, order, (leads & (ascending >= 0)).long())
    before = opens.cumsum(0)
    number = before - 1
    held = number[order[leader]]
    held = held.where((ascending >= 0) & (held < most), -1)
    voxel = torch.empty_like(keys).scatter_(0, order, held)
    rank = torch.empty_like(keys).scatter_(0, order, (place - leader).where(held >= 0, 0))
    found = min(most, int(before[-1])) if len(keys) else 0
    # What opens no voxel, or a dropped one, goes to a row more.
    target = number.where((opens > 0) & (number < found), found)
    cells = keys.new_empty(found + 1).scatter_(0, target, keys)[:found]
    strides = [math.prod(size[axis + 1 :]) for axis in range(len(size))]
    columns = [cells // step % n for step, n in zip(strides, size, strict=True)]
    return voxel, rank, torch.stack(columns, dim=1).int()
