"""Pooling in plain PyTorch."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gossamer.ops.conv import ACCUMULATOR
from gossamer.ops.dispatch import Problem
from gossamer.ops.rulebooks.walk import by_tap


def refuses(problem: Problem) -> str:
    return ""


def pool_sum(x: Tensor, pairs: Sequence[Tensor], rows: int) -> Tensor:
    y = x.new_zeros(rows, x.shape[1], dtype=ACCUMULATOR.get(x.dtype, x.dtype))
    for _, source, target in by_tap(pairs):
        y.index_add_(0, target, x[source].to(y.dtype))
    return y.to(x.dtype)


def argmax(x: Tensor, pairs: Sequence[Tensor], rows: int) -> Tensor:
    best = x.new_zeros(rows, x.shape[1])
    winner = torch.full((rows, x.shape[1]), -1, dtype=torch.int64, device=x.device)
    for _, source, target in by_tap(pairs):
        # An output may meet a slot more than once (all points of a voxel): the n-th time last.
        for turn in _turns(target):
            _challenge(x, source[turn], target[turn], best, winner)
    return winner


def _turns(target: Tensor):
    """Masks that split sorted `target` into parts in which no value repeats."""
    first = torch.searchsorted(target, target)
    turn = torch.arange(len(target), device=target.device) - first
    for t in range(int(turn.max()) + 1 if len(turn) else 0):
        yield turn == t


def _challenge(x: Tensor, source: Tensor, target: Tensor, best: Tensor, winner: Tensor) -> None:
    value, old = x[source], best[target]
    wins = (winner[target] < 0) | (value > old) | (value.isnan() & ~old.isnan())
    best[target] = torch.where(wins, value, old)
    winner[target] = torch.where(wins, source[:, None], winner[target])
