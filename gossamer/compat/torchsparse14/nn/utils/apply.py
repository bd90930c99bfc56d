"""A function of features alone."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from gossamer.compat.rows.values import Values
from gossamer.compat.torchsparse14.tensor import SparseTensor

__all__ = ["fapply"]


def fapply(
    input: SparseTensor, fn: Callable[..., Tensor], *args: Any, **kwargs: Any
) -> SparseTensor:
    """The same rows, with `fn(feats, *args, **kwargs)` for features."""
    return input._with(Values(fn(input.feats, *args, **kwargs)))


def alike(input: SparseTensor, fn: Callable[[Tensor], Tensor]) -> SparseTensor:
    """The same, for a function to which the order of rows makes no difference."""
    return input._with(Values(fn(input._values.at_hand), input._values.rows))
