"""Activations on the features of a tensor, in place unless told otherwise."""

from torch.nn import functional as F

from gossamer.compat.torchsparse.nn.utils.apply import alike
from gossamer.compat.torchsparse.tensor import SparseTensor

__all__ = ["leaky_relu", "relu", "silu"]


def relu(input: SparseTensor, inplace: bool = True) -> SparseTensor:
    """torch.nn.functional.relu."""
    return alike(input, lambda x: F.relu(x, inplace))


def silu(input: SparseTensor, inplace: bool = True) -> SparseTensor:
    """torch.nn.functional.silu."""
    return alike(input, lambda x: F.silu(x, inplace))


def leaky_relu(
    input: SparseTensor, negative_slope: float = 0.1, inplace: bool = True
) -> SparseTensor:
    """torch.nn.functional.leaky_relu, with another slope where none is given."""
    return alike(input, lambda x: F.leaky_relu(x, negative_slope, inplace))
