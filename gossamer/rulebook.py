"""Rulebook: which input row feeds which output row through which tap.

A rulebook is built once for two sets of sites and a Geometry, and then shared: convolution, its
gradients, its inverse and pooling all read the same pairs, forwards or backwards.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from gossamer.checks import one_of
from gossamer.ops.conv import Epilogue, conv, conv_fused
from gossamer.ops.keys import argsort
from gossamer.ops.pool import argmax, pool_sum
from gossamer.ops.rulebooks import TILE, tiles, transpose


def to_be_kept() -> AbstractContextManager:
    """A block whose tensors may be used later where gradients are wanted.

    torch.inference_mode makes tensors that may not, also of what is made once and kept.
    """
    # A graph that is being compiled can't ask.
    if torch.compiler.is_compiling() or not torch.is_inference_mode_enabled():
        return nullcontext()
    return torch.inference_mode(False)


class Pairs(NamedTuple):
    """The pairs of a rulebook in one direction, as `gossamer.ops.rulebooks` lays them out."""

    inputs: Tensor  # [P] int32, the row that is read
    outputs: Tensor  # [P] int32, the row that is written
    starts: Tensor  # [T*K+1] int64, where the pairs of a tile and slot begin
    taps: Tensor  # [K] int64, the tap of each slot


@dataclass(frozen=True, eq=False)
class Rulebook:
    """The pairs (input row, output row, tap) of a kernel between two sets of sites.

    Args:
        inputs: N, the number of input rows.
        outputs: M, the number of output rows.
        sides: the pairs, by whether they are read backwards. One side is given, the other is made
            when it is first asked for.
        backwards: which side this rulebook reads.
        mirror: for each tap the opposite one, where the rulebook is its own transpose.
    """

    inputs: int
    outputs: int
    sides: dict[bool, Pairs] = field(repr=False)
    backwards: bool = False
    mirror: tuple[int, ...] | None = None

    @property
    def T(self) -> "Rulebook":
        """This rulebook read backwards: an inverse, and a gradient, is the op on it."""
        return replace(self, inputs=self.outputs, outputs=self.inputs, backwards=not self.backwards)

    @property
    def pairs(self) -> Pairs:
        """The pairs in the direction of this rulebook."""
        if self.backwards not in self.sides:
            with to_be_kept():
                self.sides[self.backwards] = self._turned(self.sides[not self.backwards])
        return self.sides[self.backwards]

    def _turned(self, other: Pairs) -> Pairs:
        if self.mirror is not None:
            return other._replace(taps=other.taps.new_tensor(self.mirror))
        lists = transpose(other.inputs, other.outputs, other.starts, self.taps, self.outputs)
        inputs, outputs, starts = lists
        return Pairs(inputs, outputs, starts, other.taps)

    @property
    def taps(self) -> int:
        """K."""
        return next(iter(self.sides.values())).taps.shape[0]

    def convolve(
        self, features: Tensor, weight: Tensor, groups: int = 1, epilogue: Epilogue | None = None
    ) -> Tensor:
        """[M, C_out]: over the pairs of each output, the sum of features[input] @ weight[tap].

        Args:
            features: [N, C_in].
            weight: [K, C_in/groups, C_out].
            groups: how many parts the channels fall into.
            epilogue: what happens to each sum; where there is one, there are no gradients.

        Raises:
            ValueError: features are not [N, C_in], or want a gradient that an epilogue has not.
        """
        pairs, transposed = self._both(self._fitting(features))
        if epilogue is None:
            return conv(features, weight, pairs, transposed, self.outputs, groups)
        if features.requires_grad and torch.is_grad_enabled():
            raise ValueError(
                "features want a gradient, and a fused convolution has none; call it under "
                "torch.no_grad(), or use the model as it was before fuse()"
            )
        steps = (epilogue.scale, epilogue.shift, epilogue.residual)
        return conv_fused(
            features,
            weight,
            pairs,
            self.outputs,
            groups,
            *steps,
            epilogue.activation,
            epilogue.slope,
        )

    def reduce(self, features: Tensor, how: str) -> Tensor:
        """[M, C]: the maximum, mean or sum of what each output's pairs read; 0 without pairs.

        Args:
            features: [N, C].
            how: "max" (the true one, also of negative values), "mean" or "sum".
        """
        self._fitting(features)
        if one_of("how", how, ("max", "mean", "sum")) == "max":
            return self._maximum(features)
        pairs, transposed = self._both(features)
        total = pool_sum(features, pairs, transposed, self.outputs)
        if how == "sum":
            return total
        return total / self.counts().clamp(min=1).unsqueeze(1).to(total.dtype)

    def _maximum(self, features: Tensor) -> Tensor:
        winner = argmax(features.detach(), list(self.pairs), self.outputs)
        if not torch.compiler.is_compiling() and self.inputs:
            return features.gather(0, winner.clamp(min=0)).masked_fill(winner < 0, 0)
        # A row of zeros to read where there is no winner: with no input rows there is no other, and
        # a graph must not ask whether there are any.
        padded = torch.cat([features, features.new_zeros(1, features.shape[1])])
        return padded.gather(0, torch.where(winner < 0, self.inputs, winner))

    def _fitting(self, features: Tensor) -> Tensor:
        # A kernel that follows the pairs would read past the end.
        if features.shape[0] != self.inputs:
            raise ValueError(
                f"features has {features.shape[0]} rows; this rulebook reads {self.inputs}"
            )
        return features

    def _both(self, features: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The pairs, and those of the transpose where a gradient will want them."""
        back = features.requires_grad and torch.is_grad_enabled()
        return list(self.pairs), list(self.T.pairs) if back else []

    def counts(self) -> Tensor:
        """[M] int64: how many pairs each output has."""
        zeros = torch.zeros(self.outputs, dtype=torch.int64, device=self.pairs.outputs.device)
        ones = torch.ones_like(self.pairs.outputs, dtype=torch.int64)
        return zeros.index_add(0, self.pairs.outputs.long(), ones)

    def pairs_per_tap(self) -> Tensor:
        """[K] int64: how many pairs each tap has."""
        _, _, starts, taps = self.pairs
        per_slot = starts.diff().view(-1, self.taps).sum(0)
        return torch.zeros_like(per_slot).index_copy(0, taps, per_slot)

    def triples(self) -> Tensor:
        """[P, 3] int64: every pair as (tap, input row, output row), sorted by tap, then output."""
        inputs, outputs, starts, taps = self.pairs
        group = torch.arange(starts.shape[0] - 1, device=starts.device)
        slot = group.repeat_interleave(starts.diff()) % self.taps
        rows = torch.stack([taps[slot], inputs.long(), outputs.long()], dim=1)
        return rows[(rows[:, 0] * max(1, self.outputs) + rows[:, 2]).argsort(stable=True)]

    @property
    def nbytes(self) -> int:
        """Bytes that the sides made so far occupy."""
        lists = {t.data_ptr(): t.nbytes for pairs in self.sides.values() for t in pairs}
        return sum(lists.values())

    @classmethod
    def grouping(cls, group: Tensor, groups: int) -> "Rulebook":
        """One tap that sends row i to `group[i]`, for sums and maxima over groups of rows.

        Args:
            group: [N] int64, sorted, in [0, groups).
            groups: how many output rows there are.
        """
        rows = torch.arange(group.shape[0], device=group.device)
        return cls.sending(rows, group, groups, group.shape[0])

    @classmethod
    def sending(cls, source: Tensor, target: Tensor, outputs: int, inputs: int) -> "Rulebook":
        """One tap that sends row `source[p]` to row `target[p]`.

        Args:
            source: [P] int64, those of a target in ascending order.
            target: [P] int64, sorted.
            outputs: how many output rows there are.
            inputs: how many input rows there are.
        """
        edges = torch.arange(tiles(outputs) + 1, device=target.device) * TILE
        starts = torch.searchsorted(target, edges)
        taps = torch.zeros(1, dtype=torch.int64, device=target.device)
        pairs = Pairs(source.int(), target.int(), starts, taps)
        return cls(inputs, outputs, {False: pairs})

    @classmethod
    def of_triples(cls, triples: Tensor, taps: int, inputs: int, outputs: int) -> "Rulebook":
        """Any pairs, in any order; some may be there several times, and then they count as often.

        Args:
            triples: [P, 3] int64, (tap, input row, output row), each in its range.
            taps: K.
            inputs: how many input rows there are.
            outputs: how many output rows there are.
        """
        tap, source, target = triples.unbind(1)
        group = target.div(TILE, rounding_mode="floor") * taps + tap
        order = argsort(group * max(1, outputs) + target)
        counts = torch.bincount(group, minlength=tiles(outputs) * taps)
        starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        slots = torch.arange(taps, device=triples.device)
        pairs = Pairs(source[order].int(), target[order].int(), starts, slots)
        return cls(inputs, outputs, {False: pairs})
