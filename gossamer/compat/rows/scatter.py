"""Writing rows into a dense grid at places that may repeat."""

from collections.abc import Sequence

import torch
from torch import Tensor


def scatter_nd(indices: Tensor, updates: Tensor, shape: Sequence[int]) -> Tensor:
    """Zeros of `shape` with `updates` written at `indices`; of several at one place, the last.

    Args:
        indices: [..., A] int64, places along the first A axes of `shape`.
        updates: [..., *shape[A:]].
        shape: of the result.

    Raises:
        IndexError: a place outside `shape`.
    """
    axes = indices.shape[-1]
    flat = indices.reshape(-1, axes)
    size = torch.tensor(list(shape[:axes]), device=flat.device)
    if ((flat < -size) | (flat >= size)).any():
        raise IndexError(f"indices reach outside of {tuple(shape[:axes])}; wanted places inside")
    stride = size.flip(0).cumprod(0).flip(0).roll(-1)
    stride[-1] = 1
    place = ((flat % size) * stride).sum(1)
    cells = int(size.prod())
    rows = torch.arange(len(place), device=place.device)
    # Who writes is decided first, so that result and gradient follow from it on every device.
    writer = place.new_full((cells,), -1).scatter_reduce(0, place, rows, "amax")
    kept = rows[writer[place] == rows]
    values = updates.reshape(len(flat), *shape[axes:])
    grid = values.new_zeros(cells, *shape[axes:])
    return grid.index_copy(0, place[kept], values[kept]).view(list(shape))
