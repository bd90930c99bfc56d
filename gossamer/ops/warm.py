"""Compiles every CPU kernel once, so that the disk cache is full before the first real call."""

from collections.abc import Callable

import torch
from torch import Tensor

from gossamer.ops.conv import conv, conv_weight_grad
from gossamer.ops.dispatch import use_backend
from gossamer.ops.keys import argsort, coarsen, dilate, find, pack, survey, unique, unpack
from gossamer.ops.points import first_come, interpolate, interpolation_dots, spread
from gossamer.ops.pool import argmax, pool_sum
from gossamer.ops.rows import (
    affine,
    column_dots,
    gated_dots,
    moments,
    normalise_grad,
    onto_grid,
    permute,
)
from gossamer.ops.rulebooks import match, transpose

LINE = [-1, 0, 1]


def warm(report: Callable[[str, int, int], None]) -> None:
    """Compile all Numba kernels, for float32 and float64 features.

    Args:
        report: called with (what comes next, how many are done, how many there are).
    """
    steps: list[tuple[str, Callable[[], object]]] = [("coordinate kernels", _coordinates)]
    for dtype in (torch.float32, torch.float64):
        steps += [(f"{name} kernels, {dtype}", lambda f=f, t=dtype: f(t)) for name, f in _FLOATS]
    with use_backend("numba"):
        for done, (name, step) in enumerate(steps):
            report(name, done, len(steps))
            step()
    report("done", len(steps), len(steps))


def _coordinates() -> None:
    for dtype in (torch.int32, torch.int64):
        coords = torch.tensor([[0, 0], [0, 1], [0, 3]], dtype=dtype)
        survey(coords)
        keys = pack(coords, [0], [4])
    argsort(keys)
    unique(keys)
    find(keys, keys)
    rows = unpack(keys, [0], [4])
    coarsen(rows, [0], [2], [2], LINE, 1)
    dilate(rows, [0], [8], [2], LINE, 1)
    _pairs()


def _pairs() -> list[Tensor]:
    rows = torch.tensor([[0, 0], [0, 1], [0, 3]], dtype=torch.int32)
    lists = match(rows, rows, [-1], [5], [1], LINE, 1, None, None)
    transpose(*lists, 3, 3)
    return [*lists, torch.arange(3)]


def _conv(dtype: torch.dtype) -> None:
    x, pairs = torch.ones(3, 2, dtype=dtype), _pairs()
    for groups in (1, 2):
        weight = torch.ones(3, 2 // groups, 2, dtype=dtype)
        conv(x, weight, pairs, [], 3, groups)
        conv_weight_grad(x, x, pairs, [], groups)


def _pool(dtype: torch.dtype) -> None:
    x, pairs = torch.ones(3, 2, dtype=dtype), _pairs()
    pool_sum(x, pairs, [], 3)
    argmax(x, pairs, 3)


def _points(dtype: torch.dtype) -> None:
    x, rows = torch.ones(3, 2, dtype=dtype), torch.zeros(3, 1, dtype=torch.int64)
    weights = torch.ones(3, 1, dtype=dtype)
    interpolate(x, weights, rows)
    spread(x, weights, rows, 3)
    interpolation_dots(x, x, rows)
    first_come(x, [0.0], [1.0], [2], 1)


def _rows(dtype: torch.dtype) -> None:
    x, vector, order = torch.ones(3, 2, dtype=dtype), torch.ones(2, dtype=dtype), torch.arange(3)
    permute(x, order)
    onto_grid(x, order, 1, 3)
    moments(x)
    column_dots(x, x)
    affine(x, vector, vector, x, 0.0)
    gated_dots(x, x, vector, vector, vector, x, 0.0)
    normalise_grad(x, x, vector, vector, vector, [vector] * 3, 0.0)


_FLOATS = (("convolution", _conv), ("pooling", _pool), ("point", _points), ("row", _rows))
