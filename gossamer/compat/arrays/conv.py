"""Convolution over the arrays of spconv's rulebooks, as torch ops with gradients of every order.

There are two families of ops, over lists and over a table, and one code for both. The gradient of
the features is the op itself with the arrays read backwards, and that of the filters is a
`..._weight_grad`, whose gradients are the op again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from gossamer.checks import floating
from gossamer.compat.arrays.building import NAMESPACE
from gossamer.compat.arrays.rulebooks import rulebook_of
from gossamer.compat.layers.activation import FUSED, LEAKY_RELU, NONE, RELU, SIGMOID, activate
from gossamer.ops.conv import Epilogue, conv_weight_grad
from gossamer.ops.register import compose, register

LINEAR = (None, 0.0, 0.0, NONE)  # no bias and no activation


@dataclass(frozen=True)
class Family:
    """The ops over one kind of arrays.

    `conv(features, filters, *arrays, num_activate_out, inverse, subm, bias, act_alpha, act_beta,
    act_type)` is [M, C_out]; `weight_grad(features, out_bp, *arrays, inverse, subm)` is
    [C_out, K, C_in], the sum over the pairs of each tap of out_bp[output] outer features[input].

    Args of both:
        features: [N, C_in] floating.
        filters: [C_out, *k, C_in], of the dtype of features.
        arrays: indice_pairs [2, K, N] and indice_pair_num [K], or pair_fwd [K, M].
        num_activate_out: M.
        inverse: whether the arrays are read backwards.
        subm: whether lists leave out half of the counts.
        bias: [C_out], of the dtype of features.
        act_alpha, act_beta, act_type: an activation by its number; alpha is LeakyReLU's slope.
        out_bp: [M, C_out].

    Raises:
        TypeError: dtypes differ, or arrays are not of ints.
        ValueError: a wrong shape, or a count or row out of range.
    """

    conv: Callable[..., Any]
    weight_grad: Callable[..., Any]


@torch.no_grad()
def _run(features: Tensor, filters: Tensor, *rest) -> Tensor:
    *arrays, rows, inverse, subm, bias, alpha, _, act = rest
    _check(features, filters, bias)
    rulebook = rulebook_of(arrays, features.shape[0], rows, inverse, subm)
    if (taps := prod(filters.shape[1:-1])) != rulebook.taps:
        raise ValueError(
            f"filters is {tuple(filters.shape)}, which is {taps} taps, and the rulebook has "
            f"{rulebook.taps}; wanted [C_out, *ksize, C_in] of the kernel it was built for"
        )
    weight = filters.flatten(1, -2).permute(1, 2, 0)
    if bias is None and act not in FUSED:
        return activate(rulebook.convolve(features, weight), act, alpha)
    steps = Epilogue(shift=bias, activation=FUSED.get(act, "none"), slope=alpha)
    y = rulebook.convolve(features, weight, epilogue=steps)
    return y if act in FUSED else activate(y, act, alpha)


def _check(features: Tensor, filters: Tensor, bias: Tensor | None) -> None:
    floating("features", features, 2)
    for name, other in (("filters", filters), ("bias", bias)):
        if other is None:
            continue
        if (other.dtype, other.device) != (features.dtype, features.device):
            raise TypeError(
                f"{name} is {other.dtype} on {other.device} and features {features.dtype} on "
                f"{features.device}; wanted the same; move one of them with .to()"
            )
    if filters.ndim < 3 or filters.shape[-1] != features.shape[1]:
        raise ValueError(
            f"filters is {tuple(filters.shape)} and features {tuple(features.shape)}; wanted "
            "[C_out, *ksize, C_in] and [N, C_in]"
        )
    if bias is not None and bias.shape != filters.shape[:1]:
        raise ValueError(f"bias is {tuple(bias.shape)}; wanted [{filters.shape[0]}], one a channel")


@torch.no_grad()
def _run_weight(features: Tensor, out_bp: Tensor, *rest) -> Tensor:
    *arrays, inverse, subm = rest
    floating("features", features, 2)
    floating("out_bp", out_bp, 2)
    rulebook = rulebook_of(arrays, features.shape[0], out_bp.shape[0], inverse, subm)
    grad = conv_weight_grad(features, out_bp, rulebook.lists(listed=True), [], 1)
    return grad.permute(2, 0, 1).contiguous()


def save(ctx, inputs: Sequence, output: Tensor) -> None:
    """Keep in `ctx` what `gradients` needs; arguments and result are those of a `conv`."""
    features, filters, *arrays, _, inverse, subm, _, alpha, _, act = inputs
    ctx.save_for_backward(features, filters, output if act != NONE else None, *arrays)
    ctx.way, ctx.activation = (inverse, subm), (act, alpha)


def gradients(
    ctx, grad: Tensor, family: Family, wanted: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The gradients of features, filters and bias, of those that are wanted."""
    features, filters, output, *arrays = ctx.saved_tensors
    inverse, subm = ctx.way
    grad = _before(grad, output, *ctx.activation)
    # Under autocast an autograd Function sees the parameters as they are, and a product in half.
    x, w = features.to(grad.dtype), filters.to(grad.dtype)
    grad_x = grad_w = None
    if wanted[0]:
        back = (features.shape[0], not inverse, subm)
        grad_x = family.conv(grad, w.transpose(0, -1), *arrays, *back, *LINEAR).to(features.dtype)
    if wanted[1]:
        grad_w = family.weight_grad(x, grad, *arrays, inverse, subm)
        grad_w = grad_w.view(filters.shape).to(filters.dtype)
    return grad_x, grad_w, grad.sum(0) if wanted[2] else None


def _before(grad: Tensor, output: Tensor, act: int, alpha: float) -> Tensor:
    """The gradient before an activation that made `output`."""
    if act == SIGMOID:
        return grad * output * (1 - output)
    if act == RELU:
        return grad * (output > 0)
    if act == LEAKY_RELU:
        if alpha < 0:
            raise ValueError(f"act_alpha is {alpha}; wanted 0 or more, where gradients are wanted")
        return torch.where(output > 0, grad, alpha * grad)
    return grad


def _save_weight(ctx, inputs: Sequence, output: Tensor) -> None:
    *tensors, inverse, subm = inputs
    ctx.save_for_backward(*tensors)
    ctx.way = (inverse, subm)


def _grad_weight(ctx, grad: Tensor, family: Family):
    features, out_bp, *arrays = ctx.saved_tensors
    inverse, subm = ctx.way
    grad_x = grad_y = None
    if ctx.needs_input_grad[0]:
        back = (features.shape[0], not inverse, subm)
        grad_x = family.conv(out_bp, grad.transpose(0, -1), *arrays, *back, *LINEAR)
    if ctx.needs_input_grad[1]:
        grad_y = family.conv(features, grad, *arrays, out_bp.shape[0], inverse, subm, *LINEAR)
    return grad_x, grad_y, *[None] * (len(arrays) + 2)


def _family(name: str, *arrays: str) -> Family:
    tensors = ", ".join(f"Tensor {array}" for array in arrays)
    count, flags = len(arrays), "bool inverse, bool subm"

    def grad(ctx, grad: Tensor):
        wanted = ctx.needs_input_grad
        places = [wanted[0], wanted[1], wanted[count + 5]]
        grad_x, grad_w, grad_bias = gradients(ctx, grad, family, places)
        return grad_x, grad_w, *[None] * (count + 3), grad_bias, None, None, None

    conv = register(
        f"{name}(Tensor features, Tensor filters, {tensors}, SymInt num_activate_out, {flags},"
        " Tensor? bias, float act_alpha, float act_beta, int act_type) -> Tensor",
        run=_run,
        shape=lambda x, filters, *rest: x.new_empty(rest[count], filters.shape[0]),
        save=save,
        grad=grad,
        namespace=NAMESPACE,
    )
    weight_grad = register(
        f"{name}_weight_grad(Tensor features, Tensor out_bp, {tensors}, {flags}) -> Tensor",
        run=_run_weight,
        shape=lambda x, out_bp, pairs, *_: x.new_empty(
            out_bp.shape[1], pairs.shape[-2], x.shape[1]
        ),
        save=_save_weight,
        grad=lambda ctx, grad: _grad_weight(ctx, grad, family),
        namespace=NAMESPACE,
    )
    family = Family(conv, weight_grad)
    return family


lists = _family("indice_conv", "indice_pairs", "indice_pair_num")
"""Over the lists of ConvAlgo.Native."""

tables = _family("implicit_gemm", "pair_fwd")
"""Over the table of the implicit-GEMM algorithms."""


def _one_way(name: str, inverse: bool, subm: bool) -> None:
    """`indice_conv` with its two flags set, as an op of its own name."""
    compose(
        f"{name}(Tensor features, Tensor filters, Tensor indice_pairs, Tensor indice_pair_num,"
        " SymInt num_activate_out, Tensor? bias, float act_alpha, float act_beta, int act_type)"
        " -> Tensor",
        run=lambda x, filters, pairs, num, rows, *steps: lists.conv(
            x, filters, pairs, num, rows, inverse, subm, *steps
        ),
        namespace=NAMESPACE,
    )


_one_way("indice_subm_conv", False, True)
_one_way("indice_inverse_conv", True, False)
