"""Tensors as the NumPy arrays that compiled CPU kernels take, and back."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def array(x: Tensor) -> np.ndarray:
    """`x` as a contiguous array, sharing memory where it already is one."""
    return x.detach().contiguous().numpy()


def tensor(x: np.ndarray) -> Tensor:
    """The array as a tensor that shares its memory."""
    return torch.from_numpy(x)


def int64s(values: Sequence[int]) -> np.ndarray:
    """A few ints as an array."""
    return np.array([int(v) for v in values], dtype=np.int64)


def matrix(values: Sequence[int], columns: int) -> np.ndarray:
    """A flat list of ints as an int64 array of rows."""
    return int64s(values).reshape(-1, columns)
