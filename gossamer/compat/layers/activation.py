"""The activations that a layer may apply to its result, by upstream's numbers."""

import torch
from torch import Tensor
from torch.nn import functional

NONE, RELU, SIGMOID, LEAKY_RELU = 0, 1, 2, 3
FUSED = {RELU: "relu", LEAKY_RELU: "leaky_relu"}
"""What a convolution's last pass over its rows can do by itself."""


def number(act_type: object) -> int:
    """The number of an activation, given as an enumeration's value or a number."""
    return int(getattr(act_type, "value", act_type))  # type: ignore[call-overload]


def activate(y: Tensor, act_type: object, alpha: float) -> Tensor:
    """`y` after an activation; `alpha` is LeakyReLU's slope below zero.

    Raises:
        ValueError: the activation has no known number.
    """
    kind = number(act_type)
    if kind == NONE:
        return y
    if kind == RELU:
        return functional.relu(y)
    if kind == SIGMOID:
        return torch.sigmoid(y)
    if kind == LEAKY_RELU:
        return functional.leaky_relu(y, alpha)
    raise ValueError(f"act_type is {act_type!r}; wanted None_, ReLU, Sigmoid or LeakyReLU")
