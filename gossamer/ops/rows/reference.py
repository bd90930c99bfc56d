"""Rows moved, summed up and scaled in plain PyTorch."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gossamer.ops.conv import ACCUMULATOR
from gossamer.ops.dispatch import Problem


def refuses(problem: Problem) -> str:
    return ""


def permute(x: Tensor, to: Tensor) -> Tensor:
    return x.new_empty(x.shape).index_copy_(0, to, x)


def onto_grid(x: Tensor, cell: Tensor, samples: int, cells: int) -> Tensor:
    grid = x.new_zeros(samples, x.shape[1], cells)
    x, cell = x[cell >= 0], cell[cell >= 0]
    grid[cell // max(1, cells), :, cell % max(1, cells)] = x
    return grid


def from_grid(grid: Tensor, cell: Tensor) -> Tensor:
    cells = max(1, grid.shape[2])
    place = cell.clamp(min=0)
    return grid[place // cells, :, place % cells].masked_fill_(cell.unsqueeze(1) < 0, 0)


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    wide, count = x.to(ACCUMULATOR.get(x.dtype, x.dtype)), max(1, x.shape[0])
    mean = wide.sum(0) / count
    return mean, (wide - mean).square().sum(0) / count


def column_dots(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    wide = a.to(ACCUMULATOR.get(a.dtype, a.dtype))
    return wide.sum(0), (wide * b).sum(0)


def affine(x: Tensor, scale: Tensor, shift: Tensor, other: Tensor | None, slope: float) -> Tensor:
    y = _sum(x.to(ACCUMULATOR.get(x.dtype, x.dtype)), scale, shift, other)
    # Not a product at 0, which would make NaN of an infinity.
    return (y.clamp(min=0) if slope == 0 else torch.where(y < 0, y * slope, y)).to(x.dtype)


def gated_dots(
    grad: Tensor,
    x: Tensor,
    mean: Tensor,
    scale: Tensor,
    shift: Tensor,
    other: Tensor | None,
    slope: float,
) -> tuple[Tensor, Tensor, Tensor]:
    gated = torch.where(_sum(x, scale, shift, other) > 0, grad, grad * slope)
    return gated.sum(0), (gated * (x - mean)).sum(0), gated[: 0 if other is None else None]


def normalise_grad(
    grad: Tensor,
    x: Tensor,
    mean: Tensor,
    scale: Tensor,
    shift: Tensor,
    by: Sequence[Tensor],
    slope: float,
) -> Tensor:
    gated = torch.where(_sum(x, scale, shift, None) > 0, grad, grad * slope)
    return gated * by[0] + (x - mean) * by[1] + by[2]


def fold(
    mean: Tensor,
    variance: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    before: Tensor | None,
    eps: float,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    scale = (variance.double() + eps).rsqrt()
    scale = scale if weight is None else scale * weight
    shift = (-mean if before is None else before - mean) * scale
    shift = shift if bias is None else shift + bias
    return scale.to(dtype), shift.to(dtype)


def _sum(x: Tensor, scale: Tensor, shift: Tensor, other: Tensor | None) -> Tensor:
    y = x * scale + shift
    return y if other is None else y + other
