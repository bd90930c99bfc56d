"""Which row has a key: exact, and the same on every run."""

import torch
from torch import Tensor

from gossamer.ops.keys import find, unique


def first_rows(wanted: Tensor, keys: Tensor) -> Tensor:
    """int64 like `wanted`: the first row of `keys` that equals it, or -1.

    Args:
        wanted: int64, of any shape.
        keys: [N] int64, in any order; they may repeat.
    """
    distinct, row, order = unique(keys)
    return _through(find(distinct, wanted), firsts(row, order, len(distinct)))


def firsts(row: Tensor, order: Tensor, count: int) -> Tensor:
    """[U] int64: where each distinct key comes first.

    Args:
        row: [N] int64, the number of each key among the distinct ones.
        order: [N] int64, the stable order that sorts keys.
        count: U.
    """
    numbers = torch.arange(count, device=order.device)
    return order[torch.searchsorted(row[order], numbers)]


def _through(place: Tensor, rows: Tensor) -> Tensor:
    if not len(rows):
        return place  # nothing was found
    return rows[place.clamp(min=0)].where(place >= 0, -1)
