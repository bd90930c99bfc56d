"""Tensors from shapes, from NumPy arrays and from one another."""

from collections.abc import Sequence

import numpy as np

from gossamer.compat.host.dtypes import number_of
from gossamer.compat.host.tensor import Tensor


def empty(
    shape: Sequence[int],
    dtype: object = np.float32,
    device: int = -1,
    pinned: bool = False,
    managed: bool = False,
) -> Tensor:
    """A tensor of whatever was in memory.

    Args:
        shape: its sizes.
        dtype: a dtype of NumPy, or the number of one.
        device: -1; tensors here live in host memory.
        pinned, managed: kinds of memory that are host memory here.

    Raises:
        ValueError: another device is wanted, or there is no such dtype.
    """
    return Tensor(shape, number_of(dtype), device, pinned, managed)


def zeros(
    shape: Sequence[int],
    dtype: object = np.float32,
    device: int = -1,
    pinned: bool = False,
    managed: bool = False,
) -> Tensor:
    """A tensor of zeros; arguments as in `empty`."""
    return empty(shape, dtype, device, pinned, managed).zero_()


def full(
    shape: Sequence[int],
    val: int | float | bool,
    dtype: object = np.float32,
    device: int = -1,
    pinned: bool = False,
    managed: bool = False,
) -> Tensor:
    """A tensor of `val` everywhere; other arguments as in `empty`.

    Raises:
        TypeError: the dtype does not hold `val`, as int32 does not hold 2.7.
    """
    out = empty(shape, dtype, device, pinned, managed).numpy_view()
    if isinstance(val, float) and out.dtype.kind != "f":
        raise TypeError(f"val is {val}; wanted a whole number, since dtype is {out.dtype}")
    out[...] = val
    return Tensor.around(out)


def from_numpy(arr: np.ndarray) -> Tensor:
    """A tensor that shares the memory of `arr`.

    Raises:
        TypeError: `arr` is no array, or no tensor has its dtype.
    """
    if not isinstance(arr, np.ndarray):
        raise TypeError(f"arr is a {type(arr).__name__}; wanted a numpy.ndarray")
    try:
        number_of(arr.dtype)
    except ValueError as error:
        raise TypeError(f"arr has a dtype that no tensor has: {error}") from None
    return Tensor.around(arr)


def numpy_view(ten: Tensor) -> np.ndarray:
    """An array that shares the memory of `ten`."""
    return ten.numpy_view()


def cat_first_axis(tens: Sequence[Tensor]) -> Tensor:
    """Tensors one below the other."""
    return Tensor.around(np.concatenate([ten.numpy_view() for ten in tens]))
