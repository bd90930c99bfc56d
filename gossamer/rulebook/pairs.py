"""A rulebook in one direction as lists of pairs, the layout that a CPU walks."""

from typing import NamedTuple

import torch
from torch import Tensor

from gossamer.ops.keys import argsort
from gossamer.ops.rulebooks import TILE, tiles, transpose


class Pairs(NamedTuple):
    """The pairs of a rulebook in one direction, as `gossamer.ops.rulebooks` lays them out."""

    inputs: Tensor  # [P] int32, the row that is read
    outputs: Tensor  # [P] int32, the row that is written
    starts: Tensor  # [T*K+1] int64, where the pairs of a tile and slot begin
    taps: Tensor  # [K] int64, the tap of each slot

    @property
    def lines(self) -> int:
        """K."""
        return self.taps.shape[0]

    @property
    def tensors(self) -> list[Tensor]:
        """What occupies memory."""
        return list(self)

    def lists(self, dataflow: str | None = None, listed: bool = False) -> list[Tensor]:
        """What ops take; there is one order and no other."""
        return list(self)

    def mirrored(self, mirror: tuple[int, ...]) -> "Pairs":
        """The pairs read backwards, where every tap has an opposite and the sites are the same."""
        return self._replace(taps=self.taps.new_tensor(mirror))

    def turned(self, rows: int, count: Tensor | None = None) -> "Pairs":
        """The pairs read backwards, onto `rows` rows; all of them exist."""
        inputs, outputs, starts = transpose(
            self.inputs, self.outputs, self.starts, self.lines, rows
        )
        return Pairs(inputs, outputs, starts, self.taps)

    def pair_count(self) -> int:
        """P."""
        return self.inputs.shape[0]

    def counts(self, rows: int) -> Tensor:
        """[M] int64: how many pairs each of `rows` outputs has."""
        # What goes to no output, see `Rulebook.sending`, is counted behind the last.
        zeros = torch.zeros(rows + 1, dtype=torch.int64, device=self.outputs.device)
        target = self.outputs.long().clamp(max=rows)
        return zeros.index_add(0, target, torch.ones_like(target))[:rows]

    def per_tap(self) -> Tensor:
        """[K] int64: how many pairs each tap has."""
        per_slot = self.starts.diff().view(-1, self.lines).sum(0)
        return torch.zeros_like(per_slot).index_copy(0, self.taps, per_slot)

    def triples(self, rows: int) -> Tensor:
        """[P, 3] int64: every pair as (tap, input row, output row), sorted by tap, then output."""
        group = torch.arange(self.starts.shape[0] - 1, device=self.starts.device)
        slot = group.repeat_interleave(self.starts.diff()) % self.lines
        triples = torch.stack([self.taps[slot], self.inputs.long(), self.outputs.long()], dim=1)
        return triples[(triples[:, 0] * max(1, rows) + triples[:, 2]).argsort(stable=True)]

    @classmethod
    def of(cls, triples: Tensor, taps: int, rows: int) -> "Pairs":
        """Pairs [P, 3] in any order; some may be there several times."""
        tap, source, target = triples.unbind(1)
        group = target.div(TILE, rounding_mode="floor") * taps + tap
        order = argsort(group * max(1, rows) + target)
        counts = torch.bincount(group, minlength=tiles(rows) * taps)
        starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        slots = torch.arange(taps, device=triples.device)
        return cls(source[order].int(), target[order].int(), starts, slots)
