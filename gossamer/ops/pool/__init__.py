"""Pooling over the pairs of a rulebook: sums, and the rows that hold maxima.

Every pooling is one of two ops. A mean is a sum over a count. A maximum is `x` gathered at the rows
that `argmax` names, so its gradients of every order are those of gather. Unpooling is pooling over
the transposed pairs.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from gossamer.ops.dispatch import select
from gossamer.ops.register import no_gradients, register


def _save(ctx, inputs, output) -> None:
    x, pairs, transposed, _ = inputs
    ctx.save_for_backward(*pairs, *transposed)
    ctx.lists, ctx.rows = len(pairs), x.shape[0]


def _grad(ctx, grad: Tensor):
    lists = list(ctx.saved_tensors)
    pairs, transposed = lists[: ctx.lists], lists[ctx.lists :]
    grad_x = pool_sum(grad, transposed, pairs, ctx.rows)
    return grad_x, no_gradients(pairs), no_gradients(transposed), None


def _run(x: Tensor, pairs: Sequence[Tensor], _transposed, rows: int) -> Tensor:
    if not pairs:
        raise RuntimeError(
            "a gradient of x was asked for, but the forward pass was not given transposed pairs"
        )
    return select("pool", x, pairs).pool_sum(x, pairs, rows)


pool_sum = register(
    "pool_sum(Tensor x, Tensor[] pairs, Tensor[] transposed, SymInt rows) -> Tensor",
    run=_run,
    shape=lambda x, pairs, transposed, rows: x.new_empty(rows, x.shape[1]),
    save=_save,
    grad=_grad,
)
"""[M, C]: over the pairs of each output, the sum of x[input]; 0 where there is no pair.

Args:
    x: [N, C] floating; half types are summed in float32.
    pairs, transposed: a rulebook in both directions, as `gossamer.ops.rulebooks` describes it;
        `transposed` may be [] without gradients.
    rows: M.
"""

argmax = register(
    "argmax(Tensor x, Tensor[] pairs, SymInt rows) -> Tensor",
    run=lambda x, pairs, rows: select("pool", x, pairs).argmax(x, pairs, rows),
    shape=lambda x, pairs, rows: x.new_empty(rows, x.shape[1], dtype=torch.int64),
)
"""[M, C] int64: over the pairs of each output, the row of x that holds the largest value.

The first row in tap order wins a tie, a NaN wins over every number, and -1 is an output without
pairs.
"""
