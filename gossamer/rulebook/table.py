"""A rulebook in one direction as a table, the layout that a GPU walks.

Its size follows from the number of rows, so the host never has to ask the device how many pairs
there are.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from gossamer.ops.rulebooks import arrange, listed, turn
from gossamer.ops.rulebooks.walk import tap_of_line


class Made(dict):
    """What was made of a table so far, by name.

    A class of its own for the reason that Steps in `gossamer.coords` is one.
    """


@dataclass(frozen=True, eq=False)
class Table:
    """The source of every output row through every line, and what was made of it.

    Args:
        sources: [K, M] int32, -1 for none.
        taps: [0], [1] or [K] int64, the tap of each line; see `gossamer.ops.rulebooks`.
        made: arrangements and lists made so far.
        planes: into how many planes of equally many taps the kernel falls.
        significance: the rank of each line in the mask that rows are sorted by.
        count: [1] int64, how many of the rows exist; None for all.
        reads: the table that this one was turned from.
    """

    sources: Tensor
    taps: Tensor
    made: Made = field(repr=False)
    planes: int = 1
    significance: tuple[int, ...] = ()
    count: Tensor | None = None
    reads: "Table | None" = field(default=None, repr=False)

    @property
    def lines(self) -> int:
        """K."""
        return self.sources.shape[0]

    @property
    def tensors(self) -> list[Tensor]:
        """What occupies memory."""
        return [self.sources, self.taps, *(t for made in self.made.values() for t in made)]

    def lists(self, dataflow: str | None = None, listed: bool = False) -> list[Tensor]:
        """What ops take.

        Args:
            dataflow: the order of rows, one of `gossamer.ops.plans.DATAFLOWS`; None for any.
            listed: whether the gradient of a weight may be asked for.
        """
        none = self.taps.new_empty(0)
        lists = self.listing() if listed else [none.int(), none.int(), none]
        return [*self.arranged(dataflow), self.taps, *lists]

    def arranged(self, dataflow: str | None) -> list[Tensor]:
        """[sources, rows, masks, places] in the order of a dataflow."""
        if dataflow is None:
            dataflow = next((name for name in self.made if name != "listing"), "natural")
        if dataflow == "planes" and self.planes == 1:
            dataflow = "sorted"
        # One line makes one mask, so there is nothing to sort by.
        if self.lines == 1:
            dataflow = "natural"
        if dataflow not in self.made:
            groups = self.planes if dataflow == "planes" else 1
            ranks = [] if dataflow == "natural" else list(self.significance)
            self.made[dataflow] = arrange(self.sources, groups, ranks, self.count)
        return self.made[dataflow]

    def listing(self) -> list[Tensor]:
        """[inputs, outputs, starts]: the pairs of every line, for the gradient of a weight."""
        if "listing" not in self.made:
            if self.reads is not None:
                inputs, outputs, starts = self.reads.listing()
                self.made["listing"] = [outputs, inputs, starts]
            else:
                self.made["listing"] = listed(self.sources)
        return self.made["listing"]

    def mirrored(self, mirror: tuple[int, ...]) -> "Table":
        """The table read backwards, where every tap has an opposite and the sites are the same."""
        last, device = len(mirror) - 1, self.taps.device
        if all(tap == last - line for line, tap in enumerate(mirror)):
            taps = torch.full((1,), last, device=device)  # which the host need not copy there
        else:
            taps = torch.tensor(mirror, device=device)
        # Not with dataclasses.replace, whose result torch.compile can't hand out.
        shape = self.planes, self.significance, self.count, self.reads
        return Table(self.sources, taps, self.made, *shape)

    def turned(self, rows: int, count: Tensor | None = None) -> "Table":
        """The table read backwards, onto `rows` rows.

        The masks of a strided kernel read backwards follow from the place of a row in its cell, so
        sorting by mask groups rows of one parity, and planes would add nothing.
        """
        turned = turn(self.sources, rows)
        return Table(turned, self.taps, Made(), 1, self.significance, count, self)

    def pair_count(self) -> int:
        """P."""
        return int((self.sources >= 0).sum())

    def counts(self, rows: int) -> Tensor:
        """[M] int64: how many pairs each of `rows` outputs has."""
        return (self.sources >= 0).sum(0)

    def per_tap(self) -> Tensor:
        """[K] int64: how many pairs each tap has."""
        per_line = (self.sources >= 0).sum(1)
        return torch.zeros_like(per_line).index_copy(0, self._tap_of_line(), per_line)

    def triples(self, rows: int) -> Tensor:
        """[P, 3] int64: every pair as (tap, input row, output row), sorted by tap, then output."""
        line, output = (self.sources >= 0).nonzero(as_tuple=True)
        source = self.sources[line, output].long()
        triples = torch.stack([self._tap_of_line()[line], source, output], dim=1)
        return triples[triples[:, 0].argsort(stable=True)]

    def _tap_of_line(self) -> Tensor:
        return tap_of_line(self.taps, self.lines)

    @classmethod
    def of(cls, triples: Tensor, taps: int, rows: int) -> "Table | None":
        """The table of pairs [P, 3], or None where an output has two through one tap."""
        tap, source, target = triples.unbind(1)
        sources = torch.full((taps, rows), -1, dtype=torch.int32, device=triples.device)
        sources[tap, target] = source.int()
        table = cls(sources, triples.new_empty(0), Made(), significance=tuple(range(taps)))
        return table if table.pair_count() == len(triples) else None
