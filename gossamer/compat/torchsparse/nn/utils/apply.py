"""Functions on the features of a tensor."""

from collections.abc import Callable

from torch import Tensor

from gossamer.compat.rows.values import Values
from gossamer.compat.torchsparse.tensor import SparseTensor
from gossamer.compat.voxelnets.given import check_kind
from gossamer.compat.voxelnets.values import rowwise

__all__ = ["fapply"]


def fapply(input: SparseTensor, fn: Callable[..., Tensor], *args, **kwargs) -> SparseTensor:
    """The same rows with what `fn` makes of their features; the caches are shared.

    Args:
        input: N rows.
        fn: takes features [N, C] in the order of coords, and `args` and `kwargs`.

    Raises:
        TypeError: input is no SparseTensor.
    """
    check_kind(input, SparseTensor)
    return input._with(Values(fn(input.feats, *args, **kwargs)))


def alike(input: SparseTensor, fn: Callable[[Tensor], Tensor]) -> SparseTensor:
    """The same, for a function to which the order of rows makes no difference."""
    check_kind(input, SparseTensor)
    return input._with(rowwise(input._values, fn))
