"""A function of features alone."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from gossamer.compat.rows.values import Values
from gossamer.compat.torchsparse14.tensor import SparseTensor
from gossamer.compat.voxelnets.given import check_kind
from gossamer.compat.voxelnets.values import rowwise

__all__ = ["fapply"]


def fapply(
    input: SparseTensor, fn: Callable[..., Tensor], *args: Any, **kwargs: Any
) -> SparseTensor:
    """The same rows, with `fn(feats, *args, **kwargs)` for features.

    Raises:
        TypeError: input is no SparseTensor.
    """
    check_kind(input, SparseTensor)
    return input._with(Values(fn(input.feats, *args, **kwargs)))


def alike(input: SparseTensor, fn: Callable[[Tensor], Tensor]) -> SparseTensor:
    """The same, for a function to which the order of rows makes no difference."""
    check_kind(input, SparseTensor)
    return input._with(rowwise(input._values, fn))
