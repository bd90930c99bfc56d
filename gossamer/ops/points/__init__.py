"""Between points and voxels: which voxel a point opens, weighted sums of rows, their adjoint.

`interpolate`, `spread` and `interpolation_dots` are the three derivatives of one trilinear form,
the sum over points p and corners j of weights[p, j] * <x[rows[p, j]], g[p]>; so each one has the
other two for gradients, to any order.
"""

import torch
from torch import Tensor

from gossamer.ops.dispatch import select
from gossamer.ops.register import new_size, register


def _save(ctx, inputs, output) -> None:
    first, second, rows, *rest = inputs
    ctx.save_for_backward(first, second, rows)
    ctx.rest = rest


def _grad_interpolate(ctx, grad: Tensor):
    x, weights, rows = ctx.saved_tensors
    wants_x, wants_weights, _ = ctx.needs_input_grad
    grad_x = spread(grad, weights, rows, x.shape[0]) if wants_x else None
    return grad_x, interpolation_dots(x, grad, rows) if wants_weights else None, None


def _grad_spread(ctx, cotangent: Tensor):
    g, weights, rows = ctx.saved_tensors
    wants_g, wants_weights, *_ = ctx.needs_input_grad
    grad_g = interpolate(cotangent, weights, rows) if wants_g else None
    return grad_g, interpolation_dots(cotangent, g, rows) if wants_weights else None, None, None


def _grad_dots(ctx, cotangent: Tensor):
    x, g, rows = ctx.saved_tensors
    wants_x, wants_g, _ = ctx.needs_input_grad
    grad_x = spread(g, cotangent, rows, x.shape[0]) if wants_x else None
    return grad_x, interpolate(x, cotangent, rows) if wants_g else None, None


interpolate = register(
    "interpolate(Tensor x, Tensor weights, Tensor rows) -> Tensor",
    run=lambda x, weights, rows: select("points", x).interpolate(x, weights, rows),
    shape=lambda x, weights, rows: x.new_empty(rows.shape[0], x.shape[1]),
    save=_save,
    grad=_grad_interpolate,
)
"""[P, C]: the sum over j of weights[p, j] * x[rows[p, j]], where a row of -1 adds nothing.

Args:
    x: [N, C] floating.
    weights: [P, J], of the dtype of x.
    rows: [P, J] int64.
"""

spread = register(
    "spread(Tensor g, Tensor weights, Tensor rows, SymInt count) -> Tensor",
    run=lambda g, weights, rows, count: select("points", g).spread(g, weights, rows, count),
    shape=lambda g, weights, rows, count: g.new_empty(count, g.shape[1]),
    save=_save,
    grad=_grad_spread,
)
"""[N, C]: `interpolate` backwards, the sum of weights[p, j] * g[p] at rows[p, j].

Args:
    g: [P, C] floating.
    weights: [P, J], of the dtype of g.
    rows: [P, J] int64, -1 for none.
    count: N.
"""

interpolation_dots = register(
    "interpolation_dots(Tensor x, Tensor g, Tensor rows) -> Tensor",
    run=lambda x, g, rows: select("points", x).interpolation_dots(x, g, rows),
    shape=lambda x, g, rows: x.new_empty(rows.shape),
    save=_save,
    grad=_grad_dots,
)
"""[P, J]: <x[rows[p, j]], g[p]>, 0 where the row is -1; the gradient of `interpolate`'s weights.

Args:
    x: [N, C] floating.
    g: [P, C], of the dtype of x.
    rows: [P, J] int64.
"""


def _shape_of_first_come(points: Tensor, lower: list[float], *rest) -> tuple[Tensor, ...]:
    rows = points.new_empty(points.shape[0], dtype=torch.int64)
    cells = points.new_empty(new_size(), len(lower), dtype=torch.int32)
    return rows, torch.empty_like(rows), cells


first_come = register(
    "first_come(Tensor points, float[] lower, float[] edges, int[] size, SymInt most)"
    " -> (Tensor, Tensor, Tensor)",
    run=lambda points, *rest: select("points", points).first_come(points, *rest),
    shape=_shape_of_first_come,
)
"""Voxels in the order of their first points, of which those after the first `most` are dropped.

The cell of a point is floor((point - lower) / edges), computed in the dtype of the points.

Args:
    points: [P, D or more] float32 or float64; the first D columns are positions.
    lower: D lower bounds.
    edges: D edges of a cell.
    size: D cells; their product fits 63 bits.
    most: the number of voxels there may be.

Returns:
    voxel: [P] int64, the voxel of each point, -1 outside the grid (so for NaN) or if it is dropped.
    place: [P] int64, how many points of the same voxel came before, 0 where there is no voxel.
    cells: [N, D] int32, the cell of each voxel.
"""
