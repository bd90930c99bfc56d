"""Confusion: what a prediction takes for what, and the scores that follow from it."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Confusion:
    """How often class i was taken for class j; the sum of two is that of both sets of points.

    Args:
        counts: [C, C] int64, the true class along the rows, the predicted along the columns.
    """

    counts: Tensor

    @classmethod
    def none(cls, classes: int) -> "Confusion":
        """No points yet."""
        return cls(torch.zeros(classes, classes, dtype=torch.int64))

    @classmethod
    def of(cls, predicted: Tensor, truth: Tensor, classes: int) -> "Confusion":
        """Of P points; those whose true class is -1 do not count.

        Args:
            predicted: [P] int64, 0 to C-1.
            truth: [P] int64, 0 to C-1, or -1.
            classes: C.

        Raises:
            ValueError: lengths differ, or a class is out of range.
        """
        if predicted.shape != truth.shape:
            raise ValueError(
                f"predicted has shape {tuple(predicted.shape)} and truth {tuple(truth.shape)}; "
                "wanted one class a point in both"
            )
        known = truth >= 0
        pairs = torch.stack([truth[known], predicted[known]]).long()
        if pairs.numel() and not 0 <= int(pairs.min()) <= int(pairs.max()) < classes:
            raise ValueError(
                f"classes span {int(pairs.min())} to {int(pairs.max())}; wanted 0 to {classes - 1}"
            )
        cells = torch.bincount(pairs[0] * classes + pairs[1], minlength=classes * classes)
        return cls(cells.view(classes, classes).cpu())

    def __add__(self, other: "Confusion") -> "Confusion":
        """That of both sets of points."""
        return Confusion(self.counts + other.counts)

    @property
    def iou(self) -> Tensor:
        """[C] float64: intersection over union of each class; NaN where it never occurs."""
        hits = self.counts.diag().double()
        union = self.counts.sum(0) + self.counts.sum(1) - self.counts.diag()
        return hits / union

    @property
    def miou(self) -> float:
        """The mean intersection over union of the classes that occur; NaN if none does."""
        return float(self.iou.nanmean())

    @property
    def points(self) -> int:
        """How many there are."""
        return int(self.counts.sum())

    @property
    def accuracy(self) -> float:
        """The share of points given their true class; NaN without points."""
        return float(self.counts.diag().sum().double() / self.counts.sum())
