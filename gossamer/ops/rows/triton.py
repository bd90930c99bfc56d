"""Rows moved, summed up and scaled on a GPU: each function is one pass over memory."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gossamer.ops.dispatch import Problem
from gossamer.ops.launch import unusable
from gossamer.ops.rows.gpu.columns import dots_of, moments_of
from gossamer.ops.rows.gpu.fold import folded
from gossamer.ops.rows.gpu.move import moved, turned
from gossamer.ops.rows.gpu.scale import by_affine, by_gate


def refuses(problem: Problem) -> str:
    return unusable(problem.device, problem.index)


def permute(x: Tensor, to: Tensor) -> Tensor:
    return moved(x, to)


def onto_grid(x: Tensor, cell: Tensor, samples: int, cells: int) -> Tensor:
    grid = x.new_zeros(samples, x.shape[1], cells)
    turned(x.contiguous(), grid, cell, onto=True)
    return grid


def from_grid(grid: Tensor, cell: Tensor) -> Tensor:
    rows = grid.new_empty(len(cell), grid.shape[1])
    turned(rows, grid.contiguous(), cell, onto=False)
    return rows


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    return moments_of(x)


def column_dots(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    total, dot, _ = dots_of([a, b], [], None, 1.0)
    return total, dot


def affine(x: Tensor, scale: Tensor, shift: Tensor, other: Tensor | None, slope: float) -> Tensor:
    return by_affine(x, scale, shift, other, slope)


def gated_dots(
    grad: Tensor,
    x: Tensor,
    mean: Tensor,
    scale: Tensor,
    shift: Tensor,
    other: Tensor | None,
    slope: float,
) -> tuple[Tensor, Tensor, Tensor]:
    return dots_of([grad, x], [mean, scale, shift], other, slope)


def normalise_grad(
    grad: Tensor,
    x: Tensor,
    mean: Tensor,
    scale: Tensor,
    shift: Tensor,
    by: Sequence[Tensor],
    slope: float,
) -> Tensor:
    return by_gate([grad, x], [mean, scale, shift, *by], slope)


def fold(
    mean: Tensor,
    variance: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    before: Tensor | None,
    eps: float,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    return folded((mean, variance), (weight, bias, before), eps, dtype)
