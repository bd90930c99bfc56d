"""Sparse convolution, y[output] += x[input] @ weight[tap], over the pairs of a rulebook.

`conv`, its gradient of x and its gradient of weight are the three derivatives of one trilinear
form, the sum over pairs of <x[input] @ weight[tap], g[output]>; so each is written in the others
and gradients of any order exist. The gradient of x is `conv` itself on the transposed pairs.

`pairs` and `transposed` are a rulebook in both directions, each in one of the layouts that
`gossamer.ops.rulebooks` describes, both in the same. `transposed` may be [] where no gradient of x
will be asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gossamer.checks import one_of
from gossamer.ops.dispatch import select
from gossamer.ops.register import no_gradients, register
from gossamer.ops.rulebooks import taps_of


def swap_channels(weight: Tensor, groups: int) -> Tensor:
    """[K, C_in/groups, C_out] as the weight that leads back, [K, C_out/groups, C_in]."""
    if groups == 1:
        return weight.mT
    split = weight.unflatten(2, (groups, -1))  # [K, C_in/G, G, C_out/G]
    return split.permute(0, 3, 2, 1).flatten(2)


def _save(ctx, inputs, output) -> None:
    x, weight, pairs, transposed, rows, groups = inputs
    ctx.save_for_backward(x, weight, *pairs, *transposed)
    ctx.lists, ctx.rows, ctx.groups = len(pairs), rows, groups


def _saved(ctx) -> tuple[Tensor, Tensor, list[Tensor], list[Tensor]]:
    first, second, *lists = ctx.saved_tensors
    return first, second, list(lists[: ctx.lists]), list(lists[ctx.lists :])


def _grad(ctx, grad: Tensor):
    x, weight, pairs, transposed = _saved(ctx)
    grad_x = grad_weight = None
    if ctx.needs_input_grad[0]:
        back = swap_channels(weight, ctx.groups)
        grad_x = conv(grad, back, transposed, pairs, x.shape[0], ctx.groups)
    if ctx.needs_input_grad[1]:
        grad_weight = conv_weight_grad(x, grad, pairs, transposed, ctx.groups)
    return grad_x, grad_weight, no_gradients(pairs), no_gradients(transposed), None, None


def _save_weight(ctx, inputs, output) -> None:
    x, grad, pairs, transposed, groups = inputs
    ctx.save_for_backward(x, grad, *pairs, *transposed)
    ctx.lists, ctx.groups = len(pairs), groups


def _grad_weight(ctx, cotangent: Tensor):
    x, grad, pairs, transposed = _saved(ctx)
    grad_x = grad_grad = None
    if ctx.needs_input_grad[0]:
        back = swap_channels(cotangent, ctx.groups)
        grad_x = conv(grad, back, transposed, pairs, x.shape[0], ctx.groups)
    if ctx.needs_input_grad[1]:
        grad_grad = conv(x, cotangent, pairs, transposed, grad.shape[0], ctx.groups)
    return grad_x, grad_grad, no_gradients(pairs), no_gradients(transposed), None


def _run(x: Tensor, weight: Tensor, pairs: Sequence[Tensor], _transposed, rows: int, groups: int):
    _check(x, "weight", weight, pairs)
    _check_width(x, weight, groups)
    return select("conv", x, pairs).conv(x, weight, pairs, rows, groups, NOTHING)


def _run_weight(x: Tensor, grad: Tensor, pairs: Sequence[Tensor], _transposed, groups: int):
    _check(x, "grad", grad, pairs)
    if x.shape[1] % groups or grad.shape[1] % groups:
        raise ValueError(f"{groups} groups do not divide {x.shape[1]} or {grad.shape[1]} channels")
    return select("conv", x, pairs).conv_weight_grad(x, grad, pairs, groups)


def _check(x: Tensor, name: str, other: Tensor, pairs: Sequence[Tensor]) -> None:
    if x.dtype != other.dtype or x.device != other.device:
        raise TypeError(
            f"x is {x.dtype} on {x.device} and {name} is {other.dtype} on {other.device}; wanted "
            "one dtype and one device; move one of them with .to()"
        )
    if not pairs:
        raise RuntimeError(
            "a gradient of x was asked for, but the forward pass was not given transposed pairs"
        )


def _check_width(x: Tensor, weight: Tensor, groups: int) -> None:
    # A kernel that follows addresses would read past the end of a row.
    if x.shape[1] != weight.shape[1] * groups or weight.shape[2] % groups:
        raise ValueError(
            f"x has {x.shape[1]} channels and weight is {tuple(weight.shape)} with {groups} "
            "groups; wanted [K, C_in/groups, C_out], C_in that of x and C_out a multiple of groups"
        )


conv_weight_grad = register(
    "conv_weight_grad(Tensor x, Tensor grad, Tensor[] pairs, Tensor[] transposed, int groups)"
    " -> Tensor",
    run=_run_weight,
    shape=lambda x, grad, pairs, transposed, groups: x.new_empty(
        taps_of(pairs), x.shape[1] // groups, grad.shape[1]
    ),
    save=_save_weight,
    grad=_grad_weight,
)
"""[K, C_in/groups, C_out]: over the pairs of each tap, the sum of x[input] outer grad[output].

Args:
    x: [N, C_in].
    grad: [M, C_out].
    pairs, transposed: see the module.
    groups: how many parts the channels fall into.
"""

conv = register(
    "conv(Tensor x, Tensor weight, Tensor[] pairs, Tensor[] transposed, SymInt rows, int groups)"
    " -> Tensor",
    run=_run,
    shape=lambda x, weight, pairs, transposed, rows, groups: x.new_empty(rows, weight.shape[2]),
    save=_save,
    grad=_grad,
)
"""[M, C_out]: over the pairs of each output, the sum of x[input] @ weight[tap].

Args:
    x: [N, C_in] float32, float64, float16 or bfloat16; half types are summed in float32.
    weight: [K, C_in/groups, C_out], of the dtype of x.
    pairs, transposed: see the module.
    rows: M, the number of output rows.
    groups: how many parts the channels fall into.
"""

ACCUMULATOR = {torch.float16: torch.float32, torch.bfloat16: torch.float32}
"""The dtype that sums of a dtype are kept in, where it is not the dtype itself."""

ACTIVATIONS = ("none", "relu", "leaky_relu")

conv_fused = register(
    "conv_fused(Tensor x, Tensor weight, Tensor[] pairs, SymInt rows, int groups,"
    " Tensor? scale, Tensor? shift, Tensor? residual, str activation, float slope) -> Tensor",
    run=lambda x, weight, pairs, rows, groups, *rest: _run_fused(
        x, weight, pairs, rows, groups, Epilogue(*rest)
    ),
    shape=lambda x, weight, pairs, rows, *rest: x.new_empty(rows, weight.shape[2]),
)
"""[M, C_out]: activation(conv * scale + shift + residual), in one pass and without a gradient.

Args:
    x, weight, pairs, rows, groups: as `conv` has them.
    scale, shift: [C_out], of the dtype of x; a bias is a shift, a BatchNorm in eval is both.
    residual: [M, C_out], of the dtype of x.
    activation: one of ACTIVATIONS.
    slope: of leaky_relu below zero.
"""


@dataclass(frozen=True, eq=False)
class Epilogue:
    """What happens to an output row once it is summed, in this order; None is nothing."""

    scale: Tensor | None = None  # [C_out]
    shift: Tensor | None = None  # [C_out]
    residual: Tensor | None = None  # [M, C_out]
    activation: str = "none"
    slope: float = 0.0

    @property
    def below_zero(self) -> float:
        """What a negative number is multiplied with at the end."""
        return {"none": 1.0, "relu": 0.0, "leaky_relu": self.slope}[self.activation]


NOTHING = Epilogue()


def _run_fused(x: Tensor, weight: Tensor, pairs, rows: int, groups: int, epilogue: Epilogue):
    _check(x, "weight", weight, pairs)
    _check_width(x, weight, groups)
    shapes = {"scale": weight.shape[2:], "shift": weight.shape[2:]}
    for name, shape in {**shapes, "residual": (rows, weight.shape[2])}.items():
        value = getattr(epilogue, name)
        if value is not None and (value.shape != shape or value.dtype != x.dtype):
            raise ValueError(
                f"{name} is {value.dtype} {tuple(value.shape)}; wanted {x.dtype} {tuple(shape)}"
            )
    one_of("activation", epilogue.activation, ACTIVATIONS)
    return select("conv", x, pairs).conv(x, weight, pairs, rows, groups, epilogue)
