"""A table from keys to rows, which another table may read from the same memory."""

import torch
from torch import Tensor

from gossamer.compat.pointcells.queries import firsts
from gossamer.ops.keys import find, unique


class Table:
    """Numbers of rows by key, 1 for the first row, 0 for a key that is not there.

    What was inserted is kept here, exactly, and written into the caller's memory for others: the
    keys in ascending order, cut to the width of that memory, and behind them entries of number 0.

    Args:
        keys: [capacity] int64 or int32.
        numbers: [capacity] int32, all 0 for an empty table.

    Raises:
        ValueError: keys and numbers are not of one length.
    """

    def __init__(self, keys: Tensor, numbers: Tensor):
        if keys.ndim != 1 or keys.shape != numbers.shape:
            raise ValueError(
                f"keys has shape {tuple(keys.shape)} and values {tuple(numbers.shape)}; wanted "
                "both [capacity]"
            )
        self._memory = keys, numbers
        self._inserted: tuple[Tensor, Tensor] | None = None

    @property
    def capacity(self) -> int:
        """How many different keys fit in."""
        return self._memory[0].shape[0]

    def insert(self, keys: Tensor) -> None:
        """Number the rows of `keys` [N] int64; of equal ones the first counts.

        A key that was there before gets its new number.

        Raises:
            ValueError: the table has not enough room.
        """
        old_keys, old_numbers = self._entries()
        numbers = torch.arange(1, len(keys) + 1, device=keys.device, dtype=torch.int32)
        distinct, row, order = unique(torch.cat([keys, old_keys]))
        if len(distinct) > self.capacity:
            raise ValueError(
                f"the capacity of the hashtable is {self.capacity}, and it would have "
                f"{len(distinct)} different keys; make it with a larger capacity, or with longer "
                "tensors, for instance of twice the number of rows"
            )
        first = firsts(row, order, len(distinct))
        self._inserted = distinct, torch.cat([numbers, old_numbers])[first]
        self._write(*self._inserted)

    def lookup(self, keys: Tensor) -> Tensor:
        """int32 like `keys`: the number of each key, or 0."""
        there, numbers = self._entries()
        if self._inserted is None:
            keys = keys.to(self._memory[0].dtype).long()
        if not len(there):
            return torch.zeros_like(keys, dtype=torch.int32)
        place = find(there, keys)
        return numbers[place.clamp(min=0)].where(place >= 0, 0)

    def _entries(self) -> tuple[Tensor, Tensor]:
        if self._inserted is not None:
            return self._inserted
        keys, numbers = self._memory
        there = numbers > 0
        keys, order = keys[there].long().sort()
        return keys, numbers[there][order]

    def _write(self, distinct: Tensor, first: Tensor) -> None:
        keys, numbers = self._memory
        count = len(distinct)
        keys[:count] = distinct.to(keys.dtype)
        keys[count:] = 0
        numbers[:count] = first
        numbers[count:] = 0
