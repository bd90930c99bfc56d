"""What happens to all rows alike, without a rulebook: moved, summed up, scaled.

`permute` and the two ways between rows and a dense grid are linear, and have one another for
gradients. The rest is batch norm, cut into passes over memory: its time is theirs. `moments` and
`column_dots` have gradients of every order; `affine`, `gated_dots` and `normalise_grad` are the
same mathematics in fewer passes and have none.

`fold` makes of a batch norm that learns no more what it multiplies by and adds.

All sums are taken in an order that does not depend on the number of threads.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from gossamer.ops.conv import ACCUMULATOR
from gossamer.ops.dispatch import select
from gossamer.ops.register import register


def inverse(to: Tensor) -> Tensor:
    """[N] int64: the permutation that undoes `to` [N] int64."""
    rows = torch.arange(to.shape[0], device=to.device)
    return torch.empty_like(to).scatter_(0, to, rows)


def _run_permute(x: Tensor, to: Tensor) -> Tensor:
    # A kernel that follows the rows would write past the end.
    if to.shape[0] != x.shape[0]:
        raise ValueError(f"x has {x.shape[0]} rows and the permutation {to.shape[0]}; wanted one")
    return select("rows", x).permute(x, to)


def _save_index(ctx, inputs, output) -> None:
    ctx.save_for_backward(inputs[1])


def _save_permutation(ctx, inputs, output) -> None:
    # Not with save_for_backward: a checkpoint counts what a block saves, and a facade may permute
    # once for two runs of a block.
    ctx.to = inputs[1]


def _grad_permute(ctx, grad: Tensor):
    return permute(grad, inverse(ctx.to)), None


permute = register(
    "permute(Tensor x, Tensor to) -> Tensor",
    run=_run_permute,
    shape=lambda x, to: torch.empty_like(x, memory_format=torch.contiguous_format),
    save=_save_permutation,
    grad=_grad_permute,
)
"""[N, C]: row i of `x` as row `to[i]`.

Args:
    x: [N, C] floating.
    to: [N] int64, a permutation.
"""


def _grad_onto(ctx, grad: Tensor):
    (cell,) = ctx.saved_tensors
    return from_grid(grad, cell), None, None, None


def _save_from(ctx, inputs, output) -> None:
    grid, cell = inputs
    ctx.save_for_backward(cell)
    ctx.samples, _, ctx.cells = grid.shape


def _grad_from(ctx, grad: Tensor):
    (cell,) = ctx.saved_tensors
    return onto_grid(grad, cell, ctx.samples, ctx.cells), None


onto_grid = register(
    "onto_grid(Tensor x, Tensor cell, SymInt samples, SymInt cells) -> Tensor",
    run=lambda x, cell, samples, cells: select("rows", x).onto_grid(x, cell, samples, cells),
    shape=lambda x, cell, samples, cells: x.new_empty(samples, x.shape[1], cells),
    save=_save_index,
    grad=_grad_onto,
)
"""[B, C, cells]: every row of `x` on its cell of a grid, channels first; 0 where there is none.

Args:
    x: [N, C] floating.
    cell: [N] int64, distinct, in [0, samples * cells): the sample times `cells`, plus the cell;
        or -1 for a row that goes nowhere.
    samples: B.
    cells: how many cells a sample has.
"""

from_grid = register(
    "from_grid(Tensor grid, Tensor cell) -> Tensor",
    run=lambda grid, cell: select("rows", grid).from_grid(grid, cell),
    shape=lambda grid, cell: grid.new_empty(cell.shape[0], grid.shape[1]),
    save=_save_from,
    grad=_grad_from,
)
"""[N, C]: the vectors of a grid [B, C, cells] at some of its cells; arguments as in onto_grid."""


def _save_rows(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs)


def _grad_moments(ctx, grad_mean: Tensor, grad_variance: Tensor):
    (x,) = ctx.saved_tensors
    wide = x.to(grad_mean.dtype)
    apart = wide - moments(x)[0]
    return ((grad_mean + 2 * apart * grad_variance) / torch.sym_max(x.shape[0], 1)).to(x.dtype)


def _grad_dots(ctx, grad_sum: Tensor, grad_dot: Tensor):
    a, b = ctx.saved_tensors
    return (grad_sum + grad_dot * b).to(a.dtype), (grad_dot * a).to(b.dtype)


def _row_like(x: Tensor) -> Tensor:
    return x.new_empty(x.shape[1], dtype=ACCUMULATOR.get(x.dtype, x.dtype))


moments = register(
    "moments(Tensor x) -> (Tensor, Tensor)",
    run=lambda x: select("rows", x).moments(x),
    shape=lambda x: (_row_like(x), _row_like(x)),
    save=_save_rows,
    grad=_grad_moments,
)
"""[C] twice: mean and variance (not the unbiased one) of the columns of x [N, C]; 0 without rows.

For half types both are float32.
"""

column_dots = register(
    "column_dots(Tensor a, Tensor b) -> (Tensor, Tensor)",
    run=lambda a, b: select("rows", a).column_dots(a, b),
    shape=lambda a, b: (_row_like(a), _row_like(a)),
    save=_save_rows,
    grad=_grad_dots,
)
"""[C] twice: the sums over rows of a and of a * b, both [N, C] and of one dtype.

For half types both are float32.
"""


def _check(x: Tensor, vectors: Sequence[Tensor], others: Sequence[Tensor | None]) -> None:
    # A kernel would read past the end.
    for vector in vectors:
        if vector.shape != x.shape[1:]:
            raise ValueError(
                f"a vector has shape {tuple(vector.shape)}; wanted {x.shape[1]}, one a channel"
            )
    for other in others:
        if other is not None and other.shape != x.shape:
            raise ValueError(f"rows have shape {tuple(other.shape)}; wanted {list(x.shape)}")


def _run_affine(x: Tensor, scale: Tensor, shift: Tensor, other: Tensor | None, slope: float):
    _check(x, (scale, shift), (other,))
    return select("rows", x).affine(x, scale, shift, other, slope)


def _run_gated(grad: Tensor, x: Tensor, mean: Tensor, scale: Tensor, shift: Tensor, *last):
    _check(x, (mean, scale, shift), (grad, last[0]))
    return select("rows", x).gated_dots(grad, x, mean, scale, shift, *last)


def _run_grad(grad: Tensor, x: Tensor, mean: Tensor, scale: Tensor, shift: Tensor, *last):
    _check(x, (mean, scale, shift, *last[0]), (grad,))
    return select("rows", x).normalise_grad(grad, x, mean, scale, shift, *last)


affine = register(
    "affine(Tensor x, Tensor scale, Tensor shift, Tensor? other, float slope) -> Tensor",
    run=_run_affine,
    shape=lambda x, scale, shift, other, slope: torch.empty_like(x),
)
"""[N, C]: x * scale + shift + other, then negative numbers times `slope`; without a gradient.

Args:
    x: [N, C] floating.
    scale, shift: [C].
    other: [N, C], of the dtype of x; None for nothing.
    slope: 0 for a ReLU, 1 for no activation; not negative.
"""

gated_dots = register(
    "gated_dots(Tensor grad, Tensor x, Tensor mean, Tensor scale, Tensor shift, Tensor? other,"
    " float slope) -> (Tensor, Tensor, Tensor)",
    run=_run_gated,
    shape=lambda grad, x, mean, scale, shift, other, slope: (
        _row_like(x),
        _row_like(x),
        x.new_empty(0 if other is None else x.shape[0], x.shape[1]),
    ),
)
"""What reaches `affine`'s sum from behind it, where the gradient of its result is `grad`.

Args:
    grad: [N, C], float32 or float64.
    mean: [C], taken from x.
    x, scale, shift, other, slope: as `affine` had them.

Returns:
    [C] the sums over rows of the gated gradient, which is `grad`, times `slope` where the result
    was not positive; [C] its sums times x - mean; [N, C] itself where there is an `other`, whose
    gradient it is, or else [0, C].
"""

normalise_grad = register(
    "normalise_grad(Tensor grad, Tensor x, Tensor mean, Tensor scale, Tensor shift, Tensor[] by,"
    " float slope) -> Tensor",
    run=_run_grad,
    shape=lambda grad, x, mean, scale, shift, by, slope: torch.empty_like(x),
)
"""[N, C]: gated gradient * by[0] + (x - mean) * by[1] + by[2].

Args:
    by: three times [C].
    grad, x, mean, scale, shift, slope: as in `gated_dots`, without an `other`.
"""

fold = register(
    "fold(Tensor mean, Tensor variance, Tensor? weight, Tensor? bias, Tensor? before, float eps,"
    " ScalarType dtype) -> (Tensor, Tensor)",
    run=lambda mean, *rest: select("rows", mean).fold(mean, *rest),
    shape=lambda mean, variance, weight, bias, before, eps, dtype: (
        torch.empty_like(mean, dtype=dtype),
        torch.empty_like(mean, dtype=dtype),
    ),
)
"""[C] twice: the scale and the shift of a batch norm by `mean` and `variance`; without a gradient.

Args:
    mean, variance: [C].
    weight, bias: [C], the norm's own; None for 1 and 0.
    before: [C], what was added before the norm; None for 0.
    eps: added to the variance.
    dtype: of the results, which are computed in float64.
"""
