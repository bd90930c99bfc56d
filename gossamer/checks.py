"""Validators of one argument each: they return the value in canonical form or say what is wrong."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import SymInt, Tensor

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def per_axis(name: str, value: int | Sequence[int], ndim: int, minimum: int) -> tuple[int, ...]:
    """One int an axis, from an int that stands for all axes or a sequence of `ndim`."""
    if not is_int(value) and not isinstance(value, Iterable):
        raise TypeError(f"{name} is {value!r}; wanted one int or {ndim} of them, one an axis")
    values: tuple = tuple(value) if isinstance(value, Iterable) else (value,) * ndim
    if len(values) != ndim or not all(map(is_int, values)):
        raise ValueError(f"{name} is {value!r}; wanted one int or {ndim} of them, one an axis")
    if any(v < minimum for v in values):
        raise ValueError(f"{name} is {value}; every axis must be at least {minimum}")
    return tuple(int(v) for v in values)


def is_int(value: object) -> bool:
    """Whether `value` is a whole number: int, a NumPy integer or, under torch.compile, a SymInt."""
    if isinstance(value, (int, SymInt)):
        return True
    single = getattr(value, "ndim", 0) == 0  # an array of many has __index__ too
    return hasattr(value, "__index__") and single


def whole(name: str, value: Any) -> int:
    """`value` as an int, or the SymInt that stands for one under torch.compile."""
    if isinstance(value, (int, SymInt)):
        return value  # type: ignore[return-value]
    if isinstance(value, (str, bytes)) or int(value) != value:
        raise TypeError(f"{name} is {value!r}; wanted a whole number")
    return int(value)


def one_of(name: str, value: str, choices: Sequence[str]) -> str:
    """`value` itself when it is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; wanted one of {', '.join(map(repr, choices))}")
    return value


def tensor(name: str, value: object) -> Tensor:
    """`value` itself when it is a tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} is a {type(value).__name__}; wanted a torch.Tensor")
    return value


def floating(name: str, value: Tensor, ndim: int) -> Tensor:
    """`value` itself when it is a floating tensor of `ndim` axes."""
    if tensor(name, value).ndim != ndim:
        raise ValueError(f"{name} has shape {tuple(value.shape)}; wanted {ndim} axes")
    if value.dtype not in FLOATS:
        raise TypeError(f"{name} is {value.dtype}; wanted one of {', '.join(map(str, FLOATS))}")
    return value


def finite(name: str, value: Tensor) -> Tensor:
    """`value` itself when it holds no NaN and no infinity."""
    if not (good := value.isfinite()).all():
        row = int((~good).nonzero()[0, 0])
        raise ValueError(
            f"{name} row {row} is {value[row].tolist()}; wanted finite numbers; drop such rows "
            "first, for instance with cloud.finite()"
        )
    return value


def samples(name: str, value: Tensor, batch_size: int) -> Tensor:
    """`value` itself when it is an integer tensor of sample numbers below `batch_size`."""
    if value.dtype not in (torch.int32, torch.int64):
        raise TypeError(f"{name} is {value.dtype}; wanted int32 or int64 sample numbers")
    least, most = (int(value.min()), int(value.max())) if value.numel() else (0, -1)
    sample_range(name, least, most, batch_size)
    return value


def sample_range(name: str, least: int, most: int, batch_size: int) -> None:
    """Nothing, when sample numbers from `least` to `most` are those of a batch."""
    if least < 0 or most >= batch_size:
        raise ValueError(
            f"{name} has indices from {least} to {most}; wanted 0 to {batch_size - 1}, since "
            f"batch_size is {batch_size}"
        )


def channels(name: str, came: int, wanted: int) -> None:
    """Nothing, when a layer gets the width it was built for."""
    if came != wanted:
        raise ValueError(f"{name} has {came} channels; this layer was built for {wanted}")
