"""Pooling on a GPU: programs own output rows, so that nothing is added up twice or at once."""

from collections.abc import Sequence

from torch import Tensor

from gossamer.ops.dispatch import Problem
from gossamer.ops.launch import unusable
from gossamer.ops.pool.gpu.lines import pooled
from gossamer.ops.pool.gpu.segments import Segments, reduced
from gossamer.ops.rulebooks import is_table


def refuses(problem: Problem) -> str:
    return unusable(problem.device, problem.index)


def pool_sum(x: Tensor, pairs: Sequence[Tensor], rows: int) -> Tensor:
    return _pool(x, pairs, rows, best=False)


def argmax(x: Tensor, pairs: Sequence[Tensor], rows: int) -> Tensor:
    return _pool(x, pairs, rows, best=True)


def _pool(x: Tensor, lists: Sequence[Tensor], rows: int, best: bool) -> Tensor:
    if is_table(lists):
        return pooled(x, lists, rows, best)
    inputs, outputs, starts, taps = lists
    return reduced(x, Segments(inputs, outputs, starts, len(taps)), rows, best)
