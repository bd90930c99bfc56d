"""Kernel maps as TorchSparse lists them."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from torch import Tensor, bincount

from gossamer.compat.rows.sites import Link
from gossamer.compat.torchsparse14.places import Place


class KernelMap(Sequence):
    """The pairs [P, 2] int (input row, output row) by tap, how many a tap has [K], and both sizes.

    Pairs are listed when somebody first looks at them.

    Args:
        link: the way from `source` to `target`.
        source: the finer rows.
        target: the coarser rows, or the same.
    """

    def __init__(self, link: Link, source: Place, target: Place):
        self.link = link
        self.source = source
        self.target = target

    @cached_property
    def _listed(self) -> tuple[Tensor, Tensor, tuple[int, int]]:
        triples = self.link.triples()
        count = bincount(triples[:, 0], minlength=self.link.rulebook.taps)
        return triples[:, 1:], count, (len(self.link.source), len(self.link.target))

    def __getitem__(self, index: Any) -> Any:
        """The pairs, their numbers or the sizes."""
        return self._listed[index]

    def __len__(self) -> int:
        """Always 3."""
        return 3
