"""Rows in any order, repeats included, by the sample that they belong to."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gossamer.rulebook import Rulebook


@dataclass(frozen=True, eq=False)
class Samples:
    """Which of S samples each of R rows belongs to; every sample has a row.

    Args:
        count: S.
        sample: [R] int64, from 0 to S - 1.
    """

    count: int
    sample: Tensor

    @classmethod
    def of(cls, batch: Tensor) -> "Samples":
        """Those that have rows, by the batch index [R] of each row."""
        numbers, sample = torch.unique(batch, return_inverse=True)
        return cls(len(numbers), sample)

    @cached_property
    def gather(self) -> Rulebook:
        """From rows to samples."""
        order = self.sample.argsort(stable=True)
        return Rulebook.sending(order, self.sample[order], self.count, len(self.sample))

    def mean(self, features: Tensor) -> Tensor:
        """[S, C]: over the rows [R, C] of each sample."""
        return self.gather.reduce(features, "mean")

    def spread(self, values: Tensor) -> Tensor:
        """[R, C]: to each row what its sample has in [S, C]."""
        return self.gather.T.reduce(values, "sum")  # one pair a row, so a copy

    def normalised(self, features: Tensor, eps: float) -> Tensor:
        """[R, C]: with mean 0 and variance 1 over each sample, in float32 or wider.

        Args:
            features: [R, C].
            eps: added to the variance.
        """
        # Half types have too few digits for a variance over many rows.
        wide = features.float() if features.itemsize < 4 else features
        centred = wide - self.spread(self.mean(wide))
        variance = self.mean(centred.square())
        return centred * self.spread((variance + eps).rsqrt())
