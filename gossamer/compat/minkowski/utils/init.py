"""Weights to begin with."""

import math

import torch
from torch import Tensor


def kaiming_normal_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Tensor:
    """`tensor`, filled with normal numbers by He's rule.

    Args:
        tensor: [K, C_in, C_out], a kernel of K taps, or [C_out, C_in], a matrix.
        a: LeakyReLU's slope below zero.
        mode: "fan_in" keeps the variance of what goes forward, "fan_out" that of gradients.
        nonlinearity: as torch.nn.init.calculate_gain names it.

    Raises:
        ValueError: the tensor has fewer than two axes, or `mode` is another one.
    """
    fan = _fan(tensor, mode)
    gain = torch.nn.init.calculate_gain(nonlinearity, a)  # type: ignore[arg-type]
    with torch.no_grad():
        return tensor.normal_(0, gain / math.sqrt(fan))


def _fan(tensor: Tensor, mode: str) -> int:
    if tensor.ndim < 2:
        raise ValueError(f"tensor is {list(tensor.shape)}; wanted two axes or more")
    if mode.lower() not in ("fan_in", "fan_out"):
        raise ValueError(f"mode is {mode!r}; wanted 'fan_in' or 'fan_out'")
    inward = mode.lower() == "fan_in"
    if tensor.ndim == 2:
        return tensor.shape[1 if inward else 0]
    return tensor.shape[0] * tensor.shape[1 if inward else 2]
