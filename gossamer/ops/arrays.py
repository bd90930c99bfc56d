"""Tensors as the NumPy arrays that compiled CPU kernels take, and back."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

LARGE = 4 << 20  # bytes, from which NumPy asks for large pages
CACHE_LINE = 64


def array(x: Tensor) -> np.ndarray:
    """`x` as a contiguous array, sharing memory where it already is one."""
    return x.detach().contiguous().numpy()


def tensor(x: np.ndarray) -> Tensor:
    """The array as a tensor that shares its memory."""
    return torch.from_numpy(x)


def fresh(rows: int, columns: int, dtype: torch.dtype) -> Tensor:
    """[rows, columns] of memory that nobody wrote yet, each row aligned as well as it can be.

    Large ones come from NumPy, which asks Linux for large pages. In small ones, which is what
    torch.empty takes, the first touch of every 4 KB is a fault: 20 ms for 50 MB, against 3.
    """
    size = rows * columns * dtype.itemsize
    if size < LARGE:
        return torch.empty(rows, columns, dtype=dtype)
    memory = np.empty(size + CACHE_LINE, np.uint8)
    start = -memory.ctypes.data % CACHE_LINE
    return torch.from_numpy(memory[start : start + size]).view(dtype).view(rows, columns)


def int64s(values: Sequence[int]) -> np.ndarray:
    """A few ints as an array."""
    return np.array([int(v) for v in values], dtype=np.int64)


def matrix(values: Sequence[int], columns: int) -> np.ndarray:
    """A flat list of ints as an int64 array of rows."""
    return int64s(values).reshape(-1, columns)
