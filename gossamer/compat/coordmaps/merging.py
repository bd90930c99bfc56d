"""What one row makes of several, and what several take from one."""

import torch
from torch import Tensor

from gossamer.ops.points import interpolate, spread
from gossamer.rulebook import Rulebook, to_be_kept

HOW = {"UNWEIGHTED_AVERAGE": "mean", "UNWEIGHTED_SUM": "sum", "MAX_POOL": "max"}


def merged(features: Tensor, row: Tensor, rows: int, how: str) -> Tensor:
    """[N, C]: the maximum, mean or sum of the features that go to each row; 0 for none.

    Args:
        features: [R, C].
        row: [R] int64, where each goes, or -1.
        rows: N.
        how: "max", "mean" or "sum".

    Raises:
        ValueError: features has not R rows.
    """
    if len(features) != len(row):
        raise ValueError(f"features has {len(features)} rows, and there are {len(row)} coordinates")
    with to_be_kept():
        there = (row >= 0).nonzero().squeeze(1)
        target, order = row[there].sort(stable=True)
        rulebook = Rulebook.sending(there[order], target, rows, len(row))
    return rulebook.reduce(features, how)


def taken(features: Tensor, row: Tensor) -> Tensor:
    """[P, C]: the features [N, C] of a row each, 0 where it is -1."""
    weights = torch.ones(len(row), 1, dtype=features.dtype, device=features.device)
    return interpolate(features.contiguous(), weights, row.unsqueeze(1))


def weighed(features: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """[P, C]: the sum of features [N, C] at rows [P, J] times weights [P, J]; -1 adds nothing."""
    return interpolate(features.contiguous(), weights.to(features.dtype), rows)


def scattered(features: Tensor, rows: Tensor, weights: Tensor, count: int) -> Tensor:
    """[N, C]: `weighed` backwards, from features [P, C] to `count` rows."""
    return spread(features.contiguous(), weights.to(features.dtype), rows, count)
