"""Convolution in plain PyTorch: for every tap, gather, multiply, add."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gossamer.ops.conv import ACCUMULATOR, Epilogue
from gossamer.ops.dispatch import Problem
from gossamer.ops.rulebooks import taps_of
from gossamer.ops.rulebooks.walk import by_tap


def refuses(problem: Problem) -> str:
    return ""


def conv(
    x: Tensor,
    weight: Tensor,
    pairs: Sequence[Tensor],
    rows: int,
    groups: int,
    epilogue: Epilogue,
) -> Tensor:
    wide = ACCUMULATOR.get(x.dtype, x.dtype)
    y = x.new_zeros(rows, weight.shape[2], dtype=wide)
    x, weight = x.unflatten(1, (groups, -1)), weight.unflatten(2, (groups, -1))
    for tap, source, target in by_tap(pairs):
        products = _product("pgi,igo->pgo", x[source].to(wide), weight[tap].to(wide))
        y.index_add_(0, target, products.flatten(1))
    return _finished(y, epilogue).to(x.dtype)


def _finished(y: Tensor, epilogue: Epilogue) -> Tensor:
    if epilogue.scale is not None:
        y = y * epilogue.scale.to(y.dtype)
    for added in (epilogue.shift, epilogue.residual):
        y = y if added is None else y + added.to(y.dtype)
    slope = epilogue.below_zero
    if slope == 1:
        return y
    return torch.relu(y) if slope == 0 else torch.nn.functional.leaky_relu(y, slope)


def conv_weight_grad(x: Tensor, grad: Tensor, pairs: Sequence[Tensor], groups: int) -> Tensor:
    wide = ACCUMULATOR.get(x.dtype, x.dtype)
    out = x.new_zeros(taps_of(pairs), x.shape[1] // groups, grad.shape[1])
    x, grad = x.unflatten(1, (groups, -1)), grad.unflatten(1, (groups, -1))
    for tap, source, target in by_tap(pairs):
        sums = _product("pgi,pgo->igo", x[source].to(wide), grad[target].to(wide))
        out[tap] = sums.flatten(1).to(out.dtype)
    return out


def _product(formula: str, a: Tensor, b: Tensor) -> Tensor:
    # Autocast would have it in a half type, and the sum over taps must not be.
    with torch.autocast(a.device.type, enabled=False):
        return torch.einsum(formula, a, b)
