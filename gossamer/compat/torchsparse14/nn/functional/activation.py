"""Activations."""

from functools import partial

from torch.nn import functional

from gossamer.compat.torchsparse14.nn.utils.apply import alike
from gossamer.compat.torchsparse14.tensor import SparseTensor

__all__ = ["leaky_relu", "relu"]


def relu(input: SparseTensor, inplace: bool = True) -> SparseTensor:
    """The relu of torch on the features, which it overwrites if `inplace`."""
    return alike(input, partial(functional.relu, inplace=inplace))


def leaky_relu(
    input: SparseTensor, negative_slope: float = 0.1, inplace: bool = True
) -> SparseTensor:
    """The leaky_relu of torch on the features, which it overwrites if `inplace`."""
    slope = negative_slope
    return alike(input, partial(functional.leaky_relu, negative_slope=slope, inplace=inplace))
