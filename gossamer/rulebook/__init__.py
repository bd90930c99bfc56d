"""Rulebook: which input row feeds which output row through which tap.

A rulebook is built once for two sets of sites and a Geometry, and then shared: convolution, its
gradients, its inverse and pooling all read the same pairs, forwards or backwards. How it lies in
memory is a backend's choice: `Pairs` or a `Table`.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from gossamer.checks import one_of
from gossamer.ops import plans
from gossamer.ops.conv import Epilogue, conv, conv_fused
from gossamer.ops.pool import argmax, pool_sum
from gossamer.ops.rulebooks import TILE, makes_tables, tiles
from gossamer.rulebook.pairs import Pairs
from gossamer.rulebook.table import Table


def to_be_kept() -> AbstractContextManager:
    """A block whose tensors may be used later where gradients are wanted.

    torch.inference_mode makes tensors that may not, also of what is made once and kept.
    """
    # A graph that is being compiled can't ask.
    if torch.compiler.is_compiling() or not torch.is_inference_mode_enabled():
        return nullcontext()
    return torch.inference_mode(False)


def dataflow_of(device: torch.device, dtype: torch.dtype, inputs: int, outputs: int, taps: int):
    """How rows are ordered for a convolution: one of `gossamer.ops.plans.DATAFLOWS`."""
    arch = plans.architecture(device)
    demand = plans.Demand("conv", arch, dtype, inputs, outputs, taps)
    return plans.choose(demand, 0).dataflow


# A graph takes the answer as it is. torch.compiler.assume_constant_result sets the same mark, but
# loads the compiler to do so, which takes seconds.
dataflow_of._dynamo_marked_constant = True  # type: ignore[attr-defined]


class Sides(dict):
    """A layout for each direction that there is already, by whether it is read backwards.

    A class of its own for the reason that Steps in `gossamer.coords` is one.
    """

    @classmethod
    def of(cls, layout: Pairs | Table) -> "Sides":
        """The forward direction alone."""
        sides = cls()
        sides[False] = layout
        return sides


@dataclass(frozen=True, eq=False)
class Rulebook:
    """The pairs (input row, output row, tap) of a kernel between two sets of sites.

    Args:
        inputs: N, the number of input rows.
        outputs: M, the number of output rows.
        sides: pairs or a table, by whether it is read backwards. One side is given, the other is
            made when it is first asked for.
        backwards: which side this rulebook reads.
        mirror: for each tap the opposite one, where the rulebook is its own transpose.
        existing: [1] int64 each, how many input and output rows exist; None for all.
    """

    inputs: int
    outputs: int
    sides: Sides = field(repr=False)
    backwards: bool = False
    mirror: tuple[int, ...] | None = None
    existing: tuple[Tensor | None, Tensor | None] = field(default=(None, None), repr=False)

    @property
    def T(self) -> "Rulebook":
        """This rulebook read backwards: an inverse, and a gradient, is the op on it."""
        return replace(
            self,
            inputs=self.outputs,
            outputs=self.inputs,
            backwards=not self.backwards,
            existing=self.existing[::-1],
        )

    @property
    def layout(self) -> Pairs | Table:
        """What is read in the direction of this rulebook."""
        if self.backwards not in self.sides:
            with to_be_kept():
                self.sides[self.backwards] = self._turned(self.sides[not self.backwards])
        return self.sides[self.backwards]

    def _turned(self, other: Pairs | Table) -> Pairs | Table:
        if self.mirror is not None:
            return other.mirrored(self.mirror)
        return other.turned(self.outputs, self.existing[1])

    @property
    def taps(self) -> int:
        """K."""
        return next(iter(self.sides.values())).lines

    def lists(self, dataflow: str | None = None, listed: bool = False) -> list[Tensor]:
        """What ops take, see `gossamer.ops.rulebooks`.

        Args:
            dataflow: how rows are ordered, where there is a choice; None for any.
            listed: whether the gradient of a weight may be asked for.
        """
        with to_be_kept():
            return self.layout.lists(dataflow, listed)

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
        self._check_gradient(self._fitting(features), weight)
        pairs, transposed = self._product_lists(features, weight, groups)
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
        self._check_gradient(features)
        if one_of("how", how, ("max", "mean", "sum")) == "max":
            return self._maximum(features)
        if how == "sum":
            return self._sum(features)
        # A sum may be beyond a half type whose mean is not, and so may a count.
        total = self._sum(features.float() if features.itemsize < 4 else features)
        count = self.counts().clamp(min=1).unsqueeze(1).to(total.dtype)
        return (total / count).to(features.dtype)

    def _sum(self, features: Tensor) -> Tensor:
        back = features.requires_grad and torch.is_grad_enabled()
        pairs, transposed = self.lists(), self.T.lists() if back else []
        return pool_sum(features, pairs, transposed, self.outputs)

    def _maximum(self, features: Tensor) -> Tensor:
        winner = argmax(features.detach(), self.lists(), self.outputs)
        if not torch.compiler.is_compiling() and self.inputs:
            # Rows that do not exist have no winner, not even -1.
            row = winner.clamp(0, self.inputs - 1)
            return features.gather(0, row).masked_fill(winner < 0, 0)
        # A row of zeros to read where there is no winner: with no input rows there is no other, and
        # a graph must not ask whether there are any.
        padded = torch.cat([features, features.new_zeros(1, features.shape[1])])
        nobody = (winner < 0) | (winner >= self.inputs)
        return padded.gather(0, torch.where(nobody, self.inputs, winner))

    def _fitting(self, features: Tensor) -> Tensor:
        # A kernel that follows the pairs would read past the end.
        if features.shape[0] != self.inputs:
            raise ValueError(
                f"features has {features.shape[0]} rows; this rulebook reads {self.inputs}"
            )
        return features

    def _check_gradient(self, *tensors: Tensor) -> None:
        # Layers beside this one sum gradients over all rows, also those that nobody wrote.
        if self.existing != (None, None) and torch.is_grad_enabled():
            if any(t.requires_grad for t in tensors):
                raise ValueError(
                    "a padded tensor has no gradients, since the host does not know which rows "
                    "are sites; call the model under torch.no_grad(), or give it the tensor as "
                    "it was before padded()"
                )

    def _product_lists(self, x: Tensor, weight: Tensor, groups: int) -> tuple[list, list]:
        """Both directions for a convolution, the second where a gradient of x may be wanted."""
        grads = torch.is_grad_enabled()
        listed, back = grads and weight.requires_grad, grads and x.requires_grad
        if isinstance(self.layout, Pairs):
            return self.lists(), self.T.lists() if back else []
        ways = weight.shape[1], weight.shape[2] // groups
        there, again = (
            dataflow_of(x.device, x.dtype, wide, narrow, self.taps)
            for wide, narrow in (ways, ways[::-1])
        )
        return self.lists(there, listed), self.T.lists(again, listed) if back else []

    def pair_count(self) -> int:
        """P, the number of pairs."""
        return self.layout.pair_count()

    def counts(self) -> Tensor:
        """[M] int64: how many pairs each output has."""
        return self.layout.counts(self.outputs)

    def pairs_per_tap(self) -> Tensor:
        """[K] int64: how many pairs each tap has."""
        return self.layout.per_tap()

    def triples(self) -> Tensor:
        """[P, 3] int64: every pair as (tap, input row, output row), sorted by tap, then output."""
        return self.layout.triples(self.outputs)

    @property
    def nbytes(self) -> int:
        """Bytes that the sides made so far occupy."""
        tensors = {t.data_ptr(): t.nbytes for side in self.sides.values() for t in side.tensors}
        return sum(tensors.values())

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
            target: [P] int64, sorted; what is not below `outputs` is nobody's.
            outputs: how many output rows there are.
            inputs: how many input rows there are.
        """
        edges = torch.arange(tiles(outputs) + 1, device=target.device) * TILE
        edges = edges.clamp(max=outputs)
        starts = torch.searchsorted(target, edges)
        taps = torch.zeros(1, dtype=torch.int64, device=target.device)
        pairs = Pairs(source.int(), target.int(), starts, taps)
        return cls(inputs, outputs, Sides.of(pairs))

    @classmethod
    def of_triples(cls, triples: Tensor, taps: int, inputs: int, outputs: int) -> "Rulebook":
        """Any pairs, in any order; some may be there several times, and then they count as often.

        Args:
            triples: [P, 3] int64, (tap, input row, output row), each in its range.
            taps: K.
            inputs: how many input rows there are.
            outputs: how many output rows there are.
        """
        table = Table.of(triples, taps, outputs) if makes_tables(triples) else None
        return cls(inputs, outputs, Sides.of(table or Pairs.of(triples, taps, outputs)))
