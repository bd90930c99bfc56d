"""Tensors as the NumPy arrays that compiled CPU kernels take, and back."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

LARGE = 4 << 20  # bytes, from which NumPy asks for large pages
PAGE = 2 << 20  # bytes of a large page
CACHE_LINE = 64


def array(x: Tensor) -> np.ndarray:
    """`x` as a contiguous array, sharing memory where it already is one."""
    return x.detach().contiguous().numpy()


def tensor(x: np.ndarray) -> Tensor:
    """The array as a tensor that shares its memory."""
    return torch.from_numpy(x)


def fresh(rows: int, columns: int, dtype: torch.dtype) -> Tensor:
    """[rows, columns] of memory that nobody wrote yet, on whole large pages where it is large.

    The first touch of a page is a fault; in pages of 4 KB, which is what torch.empty gets, they
    cost as much as a convolution of few channels. NumPy asks Linux for large ones.
    """
    size = rows * columns * dtype.itemsize
    if size < LARGE:
        return torch.empty(rows, columns, dtype=dtype)
    memory = np.empty((size // PAGE + 2) * PAGE, np.uint8)
    start = -memory.ctypes.data % PAGE
    flat = torch.frombuffer(memory, dtype=dtype, count=rows * columns, offset=start)
    # Shaped in place: a view, once it leaves an autograd.Function, can't be written into.
    return flat.resize_(rows, columns)


def int64s(values: Sequence[int]) -> np.ndarray:
    """A few ints as an array."""
    return np.array(values, dtype=np.int64)
