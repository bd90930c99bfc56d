"""Pooling over the arrays of spconv's rulebooks, as torch ops with gradients of every order."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from gossamer.checks import floating
from gossamer.compat.arrays.building import NAMESPACE
from gossamer.compat.arrays.rulebooks import rulebook_of
from gossamer.ops.pool import argmax, pool_sum
from gossamer.ops.register import register


def _run_winner(features: Tensor, arrays: Sequence[Tensor], rows: int, inverse: bool) -> Tensor:
    count = floating("features", features, 2).shape[0]
    rulebook = rulebook_of(arrays, count, rows, inverse, False)
    return argmax(features, rulebook.lists(), rows)


max_rows = register(
    "max_rows(Tensor features, Tensor[] arrays, SymInt num_activate_out, bool inverse) -> Tensor",
    run=_run_winner,
    shape=lambda x, arrays, rows, inverse: x.new_empty(rows, x.shape[1], dtype=torch.int64),
    namespace=NAMESPACE,
)
"""[M, C] int64: the first row that holds the largest value an output sees, or -1 without any.

Args:
    features: [N, C] floating.
    arrays: [indice_pairs, indice_pair_num], or [pair_fwd].
    num_activate_out: M.
    inverse: whether the arrays are read backwards.

Raises:
    TypeError: an array is not of ints.
    ValueError: an array has a wrong shape, or a count or row out of range.
"""


def scatter_to_winners(grad: Tensor, winner: Tensor, rows: int) -> Tensor:
    """[N, C]: the gradient of a maximum, all of it at the rows that held it."""
    spare = torch.where(winner < 0, rows, winner)  # row N takes what has no winner
    return grad.new_zeros(rows + 1, grad.shape[1]).scatter_add(0, spare, grad)[:rows]


@torch.no_grad()
def _run_max(features: Tensor, *rest) -> Tensor:
    *arrays, rows = rest
    rulebook = rulebook_of(arrays, features.shape[0], rows, False, False)
    return rulebook.reduce(floating("features", features, 2), "max")


def save_max(ctx, inputs: Sequence, output: Tensor) -> None:
    """Keep in `ctx` what the gradient of a maximum needs."""
    features, *arrays, rows = inputs
    ctx.save_for_backward(features, *arrays)
    ctx.rows = rows


def max_gradient(ctx, grad: Tensor) -> Tensor:
    """[N, C]: the gradient of the features of a maximum."""
    features, *arrays = ctx.saved_tensors
    winner = max_rows(features.detach(), arrays, ctx.rows, False)
    return scatter_to_winners(grad, winner, features.shape[0])


def _maximum(name: str, *arrays: str) -> Callable[..., Any]:
    tensors = ", ".join(f"Tensor {array}" for array in arrays)
    return register(
        f"{name}(Tensor features, {tensors}, SymInt num_activate_out) -> Tensor",
        run=_run_max,
        shape=lambda x, *rest: x.new_empty(rest[-1], x.shape[1]),
        save=save_max,
        grad=lambda ctx, grad: (max_gradient(ctx, grad), *[None] * (len(arrays) + 1)),
        namespace=NAMESPACE,
    )


max_of_lists = _maximum("indice_maxpool", "indice_pairs", "indice_pair_num")
"""[M, C]: the largest value that an output sees, also where all are negative; 0 without any."""

max_of_table = _maximum("indice_maxpool_implicit_gemm", "pair_fwd")
"""As `max_of_lists`, over a table."""


@torch.no_grad()
def _run_sum(x: Tensor, pair_fwd: Tensor, rows: int, inverse: bool) -> Tensor:
    rulebook = rulebook_of([pair_fwd], floating("x", x, 2).shape[0], rows, inverse, False)
    return pool_sum(x, rulebook.lists(), [], rows)


def _save_sum(ctx, inputs: Sequence, output: Tensor) -> None:
    x, pair_fwd, _, inverse = inputs
    ctx.save_for_backward(pair_fwd)
    ctx.rows, ctx.inverse = x.shape[0], inverse


def _grad_sum(ctx, grad: Tensor):
    (pair_fwd,) = ctx.saved_tensors
    return sum_of_table(grad, pair_fwd, ctx.rows, not ctx.inverse), None, None, None


sum_of_table = register(
    "table_sum(Tensor x, Tensor pair_fwd, SymInt rows, bool inverse) -> Tensor",
    run=_run_sum,
    shape=lambda x, pair_fwd, rows, inverse: x.new_empty(rows, x.shape[1]),
    save=_save_sum,
    grad=_grad_sum,
    namespace=NAMESPACE,
)
"""[rows, C]: the sum of the rows that a table has for each output, or has it fed by.

Args:
    x: [N, C], or where `inverse` [M, C].
    pair_fwd: [K, M] int32.
    rows: M, or where `inverse` N.
    inverse: whether the table is read backwards.
"""


def counts_of(pair_fwd: Tensor) -> Tensor:
    """[M] int32: how many rows each output of a table reads."""
    return (pair_fwd >= 0).sum(0, dtype=torch.int32)


def divided(x: Tensor, count: Tensor) -> Tensor:
    """[M, C]: the rows of `x` [M, C] over their counts [M], of which 0 counts as 1."""
    return x / count.clamp(min=1).unsqueeze(1).to(x.dtype)


def _run_mean(features: Tensor, pair_fwd: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    total, count = _run_sum(features, pair_fwd, rows, False), counts_of(pair_fwd)
    return divided(total, count), count


def save_mean(ctx, inputs: Sequence, output: Any) -> None:
    """Keep in `ctx` what the gradient of a mean needs."""
    ctx.save_for_backward(inputs[1])
    ctx.rows = inputs[0].shape[0]


def mean_gradient(ctx, grad: Tensor) -> Tensor:
    """[N, C]: the gradient of the features of a mean."""
    (pair_fwd,) = ctx.saved_tensors
    return sum_of_table(divided(grad, counts_of(pair_fwd)), pair_fwd, ctx.rows, True)


mean_of_table = register(
    "indice_avgpool_implicit_gemm(Tensor features, Tensor pair_fwd, SymInt num_activate_out)"
    " -> (Tensor, Tensor)",
    run=_run_mean,
    shape=lambda x, pair_fwd, rows: (
        x.new_empty(rows, x.shape[1]),
        pair_fwd.new_empty(pair_fwd.shape[1], dtype=torch.int32),
    ),
    save=save_mean,
    grad=lambda ctx, grad, _: (mean_gradient(ctx, grad), None, None),
    namespace=NAMESPACE,
)
"""[M, C], the mean of the rows that each output sees, 0 without any; and [M] int32, their number.

Args:
    features: [N, C] floating.
    pair_fwd: [K, M] int32.
    num_activate_out: M.
"""
