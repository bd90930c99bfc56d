"""A scan divided into square blocks on the ground, some of them held out."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gossamer.point_cloud import PointCloud

BLOCKS = 24  # of one scan, about
MOST_POINTS = 100_000  # of one tile, about: what a training step takes at once


@dataclass(frozen=True)
class Blocks:
    """Which points are held out.

    Args:
        held_out: [P] bool.
        edge: of a block, metres.
        grid: [X, Y] int64, the points of each block.
        chosen: [X, Y] bool, whether a block is held out.
    """

    held_out: Tensor
    edge: float
    grid: Tensor
    chosen: Tensor

    @classmethod
    def of(cls, positions: Tensor, labels: Tensor, share: float) -> "Blocks":
        """Blocks chosen so that about `share` of every class is held out.

        Args:
            positions: [P, 3] float, metres.
            labels: [P] int64 from 0, or -1.
            share: 0 to 1.
        """
        cell, shape, edge = _cells(positions, BLOCKS)
        classes = int(labels.max()) + 1
        known = labels >= 0
        votes = torch.bincount(
            cell[known] * classes + labels[known], minlength=shape[0] * shape[1] * classes
        )
        chosen = _fair_choice(votes.view(-1, classes).double(), share)
        grid = torch.bincount(cell, minlength=shape[0] * shape[1])
        return cls(chosen[cell], edge, grid.view(shape), chosen.view(shape))

    def describe(self) -> str:
        """How it was divided, in a sentence."""
        occupied = self.grid > 0
        points, held = len(self.held_out), int(self.held_out.sum())
        return (
            f"{points:,} points in {int(occupied.sum())} blocks of {self.edge:.3g} m, "
            f"{int((self.chosen & occupied).sum())} of them held out ({held / points:.0%} of the "
            "points)"
        )

    def drawn(self) -> list[str]:
        """A map, north up: `#` a block that is held out, `.` one that trains."""
        signs = torch.where(self.chosen, 2, 1).masked_fill(self.grid == 0, 0)
        return [" ".join(" .#"[sign] for sign in row) for row in signs.T.flip(0).tolist()]


def tiles(cloud: PointCloud) -> list[PointCloud]:
    """The scan in squares of about MOST_POINTS points."""
    if len(cloud) <= MOST_POINTS:
        return [cloud]
    cell, _, _ = _cells(cloud.positions, -(-len(cloud) // MOST_POINTS))
    return [cloud[cell == number] for number in cell.unique()]


def _cells(positions: Tensor, count: int) -> tuple[Tensor, tuple[int, int], float]:
    """The cell of each point on a grid of about `count` squares, its shape, and their edge."""
    flat = positions[:, :2].double()
    low, extent = flat.min(0).values, flat.max(0).values - flat.min(0).values
    edge = max(float(extent.prod() / count) ** 0.5, float(extent.max()) / count, 1e-3)
    x, y = (int(-(-length // edge)) or 1 for length in (extent - 1e-9 * edge).clamp(min=0).tolist())
    place = ((flat - low) / edge).floor().long()
    place = torch.minimum(place, torch.tensor([x - 1, y - 1]))
    return place[:, 0] * y + place[:, 1], (x, y), edge


def _fair_choice(votes: Tensor, share: float) -> Tensor:
    """[B] bool: blocks picked one by one, each time the one that makes the shares most even.

    Args:
        votes: [B, C] float64, the points of each class in each block.
        share: of every class, and of all points, that shall be picked.
    """
    # All points count as one more class, so that the size of the choice matters too.
    parts = torch.cat([votes, votes.sum(1, keepdim=True)], 1)
    parts = parts / parts.sum(0).clamp(min=1)
    chosen = torch.zeros(len(votes), dtype=torch.bool)
    while True:
        error = (parts[chosen].sum(0) - share).square().sum()
        errors = (parts[chosen].sum(0) + parts - share).square().sum(1)
        best = int(errors.masked_fill(chosen, torch.inf).argmin())
        if errors[best] >= error or chosen[best]:
            return chosen
        chosen[best] = True
