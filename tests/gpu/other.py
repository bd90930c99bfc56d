"""The calls of the families that have one way to compute, whatever the GPU."""

from collections.abc import Callable

import torch

import gossamer.ops.keys.triton as keys
import gossamer.ops.points.triton as points
import gossamer.ops.pool.triton as pool
import gossamer.ops.rows.triton as rows
import gossamer.ops.rulebooks.triton as rulebooks
from tests.gpu.tables import MIRRORED, ROWS, TAPS, table

LOWER, UPPER, STRIDE = [0, 0, 0], [63, 63, 63], [2, 2, 2]
WIDE = [0, 0, 0], [100_000, 100_000, 100_000]
"""A box with too many cells for a bitmap."""
OFFSETS = [offset - 1 for tap in range(TAPS) for offset in (tap // 9, tap // 3 % 3, tap % 3)]


def coordinates(_arch: str) -> None:
    for dtype in (torch.int32, torch.int64):
        sites = torch.zeros(ROWS, 4, dtype=dtype)
        keys.survey(sites)
        keys.pack(sites, LOWER, UPPER)
    packed = torch.zeros(ROWS, dtype=torch.int64)
    keys.unique(packed)
    keys.find(packed, packed)
    keys.unpack(packed, LOWER, UPPER)
    sites = torch.zeros(ROWS, 4, dtype=torch.int32)
    count = torch.zeros(1, dtype=torch.int64)
    for lower, upper in ((LOWER, UPPER), WIDE):
        for reach in (keys.coarsen, keys.dilate):
            reach(sites, lower, upper, STRIDE, OFFSETS, 1)
        for within in (keys.coarsen_within, keys.dilate_within):
            for known in (None, count):
                within(sites, known, lower, upper, STRIDE, OFFSETS, 1, ROWS)


def matching(_arch: str) -> None:
    sites = torch.zeros(ROWS, 4, dtype=torch.int32)
    count = torch.zeros(1, dtype=torch.int64)
    for lower, upper in ((LOWER, UPPER), WIDE):
        for known in (None, count):
            rulebooks.match(sites, sites, lower, upper, STRIDE, OFFSETS, 1, known, known)
    sources = torch.full((TAPS, ROWS), -1, dtype=torch.int32)
    for known in (None, count):
        for groups, ranks in ((1, []), (1, list(range(TAPS))), (3, list(range(TAPS)))):
            rulebooks.arrange(sources, groups, ranks, known)
    rulebooks.arrange(torch.full((125, ROWS), -1, dtype=torch.int32), 1, list(range(125)))
    rulebooks.turn(sources, ROWS)
    rulebooks.listed(sources)


def pooling(_arch: str) -> None:
    some = torch.zeros(50, dtype=torch.int32)
    pairs = [some, some, torch.zeros(TAPS + 1, dtype=torch.int64), torch.arange(TAPS)]
    for dtype, channels in ((torch.float16, 64), (torch.float32, 4), (torch.float64, 40)):
        x = torch.zeros(ROWS, channels, dtype=dtype)
        for lists in (table(1, MIRRORED), table(3), pairs):
            pool.pool_sum(x, lists, ROWS)
            pool.argmax(x, lists, ROWS)


def interpolation(_arch: str) -> None:
    rows_of = torch.zeros(ROWS, 8, dtype=torch.int64)
    for dtype, channels in ((torch.float16, 64), (torch.float32, 5)):
        x, weights = torch.zeros(ROWS, channels, dtype=dtype), torch.zeros(ROWS, 8, dtype=dtype)
        points.interpolate(x, weights, rows_of)
        points.spread(x, weights, rows_of, ROWS)
        points.interpolation_dots(x, x, rows_of)
    for dtype in (torch.float32, torch.float64):
        points.first_come(torch.zeros(ROWS, 3, dtype=dtype), [0.0] * 3, [0.1] * 3, [9, 9, 9], 99)


def rowwise(_arch: str) -> None:
    order = torch.arange(ROWS)
    for dtype, channels in ((torch.float16, 64), (torch.float32, 5), (torch.float64, 16)):
        x = torch.zeros(ROWS, channels, dtype=dtype)
        kept = torch.float32 if dtype == torch.float16 else dtype
        vector = torch.zeros(channels, dtype=kept)
        rows.permute(x, order)
        grid = rows.onto_grid(x, order, 2, ROWS)
        rows.from_grid(grid, order)
        rows.moments(x)
        rows.column_dots(x, x)
        for other, slope in ((None, 1.0), (x, 0.0), (None, 0.1)):
            rows.affine(x, vector, vector, other, slope)
            rows.gated_dots(x, x, vector, vector, vector, other, slope)
            rows.normalise_grad(x, x, vector, vector, vector, [vector] * 3, slope)
        rows.fold(vector, vector, None, None, None, 1e-3, dtype)
        rows.fold(vector, vector, vector, vector, vector, 1e-3, dtype)


CASES: dict[str, Callable[[str], None]] = {
    "coordinates": coordinates,
    "matching": matching,
    "pooling": pooling,
    "interpolation": interpolation,
    "rowwise": rowwise,
}
