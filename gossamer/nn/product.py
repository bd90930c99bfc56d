"""Rows times weights along a rulebook: what convolutions and linear layers have in common."""

from dataclasses import replace

import torch
from torch import Tensor

from gossamer.nn.autocast import in_autocast_dtype
from gossamer.ops.conv import Epilogue
from gossamer.rulebook import Rulebook


def wants_gradient(*tensors: Tensor | None) -> bool:
    """Whether a gradient of any of these may be asked for."""
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


def multiply(
    features: Tensor,
    rulebook: Rulebook,
    weight: Tensor,
    bias: Tensor | None,
    groups: int = 1,
    then: Epilogue | None = None,
) -> Tensor:
    """[M, C_out] from features [N, C_in] along a rulebook with K taps.

    Args:
        weight: [K, C_in/groups, C_out].
        bias: [C_out].
        groups: how many parts the channels fall into.
        then: what happens to each sum in place of the bias; where there is one, there are no
            gradients.
    """
    if then is None and (bias is None or wants_gradient(features, weight, bias)):
        features, weight, bias = in_autocast_dtype(features, weight, bias)
        y = rulebook.convolve(features, weight, groups)
        return y if bias is None else y + bias
    then = then or Epilogue(shift=bias)
    given = weight, then.scale, then.shift
    features, weight, scale, shift = in_autocast_dtype(features, *given)
    return rulebook.convolve(features, weight, groups, replace(then, scale=scale, shift=shift))
