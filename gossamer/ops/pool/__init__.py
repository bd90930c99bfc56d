"""Pooling over the pairs of a rulebook: sums, and the rows that hold maxima.

Every pooling is one of two ops. A mean is a sum over a count. A maximum is `x` gathered at the rows
that `argmax` names, so its gradients of every order are those of gather. Unpooling is pooling over
the transposed pairs.

`moments` and `column_dots` pool all rows into one, for batch norm and its gradient, in an order
that does not depend on the number of threads.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from gossamer.ops.conv import ACCUMULATOR
from gossamer.ops.dispatch import select
from gossamer.ops.register import no_gradients, register


def _save(ctx, inputs, output) -> None:
    x, pairs, transposed, _ = inputs
    ctx.save_for_backward(*pairs, *transposed)
    ctx.rows = x.shape[0]


def _grad(ctx, grad: Tensor):
    lists = list(ctx.saved_tensors)
    pairs, transposed = lists[:4], lists[4:]
    grad_x = pool_sum(grad, transposed, pairs, ctx.rows)
    return grad_x, no_gradients(pairs), no_gradients(transposed), None


def _run(x: Tensor, pairs: Sequence[Tensor], _transposed, rows: int) -> Tensor:
    if len(pairs) != 4:
        raise RuntimeError(
            "a gradient of x was asked for, but the forward pass was not given transposed pairs"
        )
    return select("pool", x).pool_sum(x, pairs, rows)


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
    pairs, transposed: [inputs, outputs, starts, taps]; `transposed` may be [] without gradients.
    rows: M.
"""

argmax = register(
    "argmax(Tensor x, Tensor[] pairs, SymInt rows) -> Tensor",
    run=lambda x, pairs, rows: select("pool", x).argmax(x, pairs, rows),
    shape=lambda x, pairs, rows: x.new_empty(rows, x.shape[1], dtype=torch.int64),
)
"""[M, C] int64: over the pairs of each output, the row of x that holds the largest value.

The first row in tap order wins a tie, a NaN wins over every number, and -1 is an output without
pairs.
"""


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
    run=lambda x: select("pool", x).moments(x),
    shape=lambda x: (_row_like(x), _row_like(x)),
    save=_save_rows,
    grad=_grad_moments,
)
"""[C] twice: mean and variance (not the unbiased one) of the columns of x [N, C]; 0 without rows.

For half types both are float32.
"""

column_dots = register(
    "column_dots(Tensor a, Tensor b) -> (Tensor, Tensor)",
    run=lambda a, b: select("pool", a).column_dots(a, b),
    shape=lambda a, b: (_row_like(a), _row_like(a)),
    save=_save_rows,
    grad=_grad_dots,
)
"""[C] twice: the sums over rows of a and of a * b, both [N, C] and of one dtype.

For half types both are float32.
"""
