"""Tuples, tensors and multiples."""

from itertools import repeat
from typing import Any

import torch
from torch import Tensor

from gossamer.checks import is_int

__all__ = ["make_divisible", "make_ntuple", "make_tensor"]


def make_ntuple(x: Any, ndim: int, name: str = "x") -> tuple[int, ...]:
    """`ndim` numbers, from one that stands for all, or a list, tuple or tensor of them.

    Args:
        x: the number or numbers.
        ndim: how many are wanted.
        name: what an error calls `x`.

    Raises:
        AssertionError: there are not `ndim` of them.
    """
    if is_int(x) and not isinstance(x, Tensor):
        x = tuple(repeat(int(x), ndim))
    elif isinstance(x, Tensor):
        x = tuple(x.reshape(-1).tolist())
    elif isinstance(x, list):
        x = tuple(x)
    if not isinstance(x, tuple) or len(x) != ndim:
        raise AssertionError(
            f"{name} is {x!r}; wanted one int, or a list, tuple or tensor of {ndim}"
        )
    return x


def make_tensor(x: tuple[int, ...], dtype: torch.dtype, device: Any) -> Tensor:
    """[len(x)]: a tensor of its own."""
    return torch.tensor(x, dtype=dtype, device=device)


def make_divisible(x: int, divisor: int) -> int:
    """The first multiple of `divisor` from x on."""
    return (x + divisor - 1) // divisor * divisor
