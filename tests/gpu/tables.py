"""Rulebooks in table layout that say nothing, for calls whose kernels are not run."""

import torch
from torch import Tensor

TAPS, ROWS, SLOTS = 27, 300, 512
NATURAL, MIRRORED, LISTED = 0, 1, TAPS
"""How many numbers of taps there are, by how lines name their taps."""


def table(orders: int = 1, names: int = NATURAL, taps: int = TAPS) -> list[Tensor]:
    """A rulebook in table layout that has no pair.

    Args:
        orders: G.
        names: how many numbers of taps it has.
        taps: K.
    """
    words = -(-(taps // orders) // 32)
    return [
        torch.full((taps, SLOTS), -1, dtype=torch.int32),
        torch.full((orders, SLOTS), -1, dtype=torch.int32),
        torch.full((orders, words, SLOTS // 32), 0, dtype=torch.int32),
        torch.full((orders, ROWS), -1, dtype=torch.int32),
        torch.arange(names),
        torch.zeros(taps * ROWS, dtype=torch.int32),
        torch.zeros(taps * ROWS, dtype=torch.int32),
        torch.zeros(taps + 1, dtype=torch.int64),
    ]
