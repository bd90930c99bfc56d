"""Functions on the features of a tensor."""

from collections.abc import Callable

from torch import Tensor

from gossamer.compat.rows.values import Values
from gossamer.compat.torchsparse.tensor import SparseTensor

__all__ = ["fapply"]


def fapply(input: SparseTensor, fn: Callable[..., Tensor], *args, **kwargs) -> SparseTensor:
    """The same rows with what `fn` makes of their features; the caches are shared.

    Args:
        input: N rows.
        fn: takes features [N, C] in the order of coords, and `args` and `kwargs`.
    """
    return input._with(Values(fn(input.feats, *args, **kwargs)))
