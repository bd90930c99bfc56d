"""How many points a cell has, and the mean of their features."""

import torch
from torch import Tensor

from gossamer.ops.conv import ACCUMULATOR
from gossamer.ops.points import spread


def counted(cell: Tensor, cells: int) -> Tensor:
    """[cells] int32: how many of `cell` [P] int are each number; negative ones count nowhere.

    Raises:
        ValueError: a number is not below `cells`, or cell is not [P].
    """
    _check(cell, cell.shape[0] if cell.ndim else 0)
    inside = cell[cell >= 0]
    if inside.numel() and (most := int(inside.max())) >= cells:
        raise ValueError(
            f"coords reaches {most}, and num is {cells}; wanted cells below num; give num as one "
            "more than the largest"
        )
    return torch.bincount(inside, minlength=cells).int()


def mean_of_cells(features: Tensor, cell: Tensor, counts: Tensor) -> Tensor:
    """[N, C]: for each cell the sum of its points' features over its count, 0 where that is 0.

    The sums are taken in the order of the points, so they are the same on every run.

    Args:
        features: [P, C] floating.
        cell: [P] int, the cell of each point; points of no cell in [0, N) are left out.
        counts: [N] int, the points of each cell.

    Raises:
        ValueError: the shapes do not fit.
    """
    _check(cell, features.shape[0])
    cells = counts.shape[0]
    cell = cell.long()
    cell = cell.where((cell >= 0) & (cell < cells), -1)
    wide = features.to(ACCUMULATOR.get(features.dtype, features.dtype))
    total = spread(wide, wide.new_ones(len(cell), 1), cell.unsqueeze(1), cells)
    share = total / counts.clamp(min=1).unsqueeze(1).to(wide.dtype)
    return share.masked_fill((counts <= 0).unsqueeze(1), 0).to(features.dtype)


def _check(cell: Tensor, points: int) -> None:
    if cell.ndim != 1 or cell.shape[0] != points:
        raise ValueError(
            f"idx has shape {tuple(cell.shape)}; wanted the cell of each of {points} points"
        )
    if cell.is_floating_point():
        raise TypeError(f"idx is {cell.dtype}; wanted int32 or int64 numbers of cells")
