"""FNV-1a hashes of rows of ints, 64 bits, as TorchSparse computes them.

int64 multiplication wraps around in torch as uint64 does in C, so the bits are the same.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

BASIS = 14695981039346656037 - (1 << 64)  # as int64
PRIME = 1099511628211
WORD = (1 << 32) - 1


def fnv(columns: Sequence[Tensor]) -> Tensor:
    """int64: one hash an element, of what the columns have there.

    Args:
        columns: ints of shapes that broadcast; each counts with its low 32 bits, first to last.
    """
    first, *rest = (column.long() & WORD for column in columns)
    value = (first ^ BASIS) * PRIME
    for column in rest:
        value = (value ^ column) * PRIME
    return value


def folded(value: Tensor) -> Tensor:
    """int64, never negative: hashes with their highest 4 bits folded into the lower 60."""
    return ((value >> 60) & 15) ^ (value & ((1 << 60) - 1))


def shifted(rows: Tensor, offsets: Tensor, axes: Sequence[int]) -> list[Tensor]:
    """The columns of `rows` with every offset added to some of them.

    Args:
        rows: [N, A] int.
        offsets: [K, D] int.
        axes: D columns of `rows`, to which the columns of `offsets` are added.

    Returns:
        A columns, of shape [K, N] or [1, N].
    """
    columns = [column.unsqueeze(0) for column in rows.unbind(1)]
    for axis, offset in zip(axes, offsets.unbind(1), strict=True):
        columns[axis] = columns[axis] + offset.unsqueeze(1)
    return columns


def check_rows(name: str, value: Tensor, width: int) -> Tensor:
    """`value` itself when it is [N, width] of int32 or int64.

    Raises:
        ValueError: it has another shape.
        TypeError: it has another dtype.
    """
    if value.dtype not in (torch.int32, torch.int64):
        raise TypeError(
            f"{name} is {value.dtype}; wanted int32, for instance {name}.floor().int() of positions"
        )
    if value.ndim != 2 or value.shape[1] != width:
        raise ValueError(f"{name} has shape {tuple(value.shape)}; wanted [N, {width}]")
    return value
