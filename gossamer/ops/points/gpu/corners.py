"""Rows read at the corners of points: weighted sums, and products with another row."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from gossamer.ops.conv import ACCUMULATOR
from gossamer.ops.launch import launch
from gossamer.ops.pool.gpu.tiles import columns_of

BYTES, WIDEST = 1 << 13, 64  # of a tile as it is computed with, and channels


@triton.jit(do_not_specialize=["points"])
def weigh_corners(
    x,
    weights,
    rows,
    y,
    points,
    CORNERS: tl.constexpr,
    C: tl.constexpr,
    POINTS: tl.constexpr,
    COLUMNS: tl.constexpr,
    WIDE: tl.constexpr,
):
    """Fill some points and channels of y [P, C]."""
    BLOCKS: tl.constexpr = (C + COLUMNS - 1) // COLUMNS
    point = (tl.program_id(0) // BLOCKS).to(tl.int64) * POINTS + tl.arange(0, POINTS)
    column = tl.program_id(0) % BLOCKS * COLUMNS + tl.arange(0, COLUMNS)
    exists, inside = point < points, (column < C)[None, :]
    if WIDE:
        sums = tl.zeros((POINTS, COLUMNS), tl.float64)
    else:
        sums = tl.zeros((POINTS, COLUMNS), tl.float32)
    for corner in range(CORNERS):
        row = tl.load(rows + point * CORNERS + corner, mask=exists, other=-1)
        weight = tl.load(weights + point * CORNERS + corner, mask=row >= 0, other=0.0)
        at = x + row[:, None] * C + column[None, :]
        value = tl.load(at, mask=(row >= 0)[:, None] & inside, other=0.0)
        sums += weight.to(sums.dtype)[:, None] * value.to(sums.dtype)
    to = y + point[:, None] * C + column[None, :]
    tl.store(to, sums.to(y.dtype.element_ty), mask=exists[:, None] & inside)


@triton.jit(do_not_specialize=["corners"])
def dot_corners(
    x,
    g,
    rows,
    dots,
    corners,
    CORNERS: tl.constexpr,
    C: tl.constexpr,
    TILE: tl.constexpr,
    COLUMNS: tl.constexpr,
    WIDE: tl.constexpr,
):
    """Fill some of dots [P * CORNERS], of which there are `corners`."""
    corner = tl.program_id(0).to(tl.int64) * TILE + tl.arange(0, TILE)
    row = tl.load(rows + corner, mask=corner < corners, other=-1)
    point = corner // CORNERS
    if WIDE:
        sums = tl.zeros((TILE, COLUMNS), tl.float64)
    else:
        sums = tl.zeros((TILE, COLUMNS), tl.float32)
    for first in range(0, C, COLUMNS):
        column = first + tl.arange(0, COLUMNS)
        found = (row >= 0)[:, None] & (column < C)[None, :]
        value = tl.load(x + row[:, None] * C + column[None, :], mask=found, other=0.0)
        factor = tl.load(g + point[:, None] * C + column[None, :], mask=found, other=0.0)
        sums += value.to(sums.dtype) * factor.to(sums.dtype)
    total = tl.sum(sums, 1).to(dots.dtype.element_ty)
    tl.store(dots + corner, total, mask=corner < corners)


def weighed(x: Tensor, weights: Tensor, rows: Tensor) -> Tensor:
    """[P, C]: what `interpolate` gives."""
    (points, corners), channels = rows.shape, x.shape[1]
    y = x.new_empty(points, channels)
    columns = columns_of(channels, WIDEST)
    wide = ACCUMULATOR.get(x.dtype, x.dtype)
    tile = BYTES // wide.itemsize // columns
    launch(
        weigh_corners,
        [-(-points // tile) * -(-channels // columns)],
        [x.contiguous(), weights.contiguous(), rows.contiguous(), y, points],
        CORNERS=corners,
        C=channels,
        POINTS=tile,
        COLUMNS=columns,
        WIDE=wide == torch.float64,
    )
    return y


def dotted(x: Tensor, g: Tensor, rows: Tensor) -> Tensor:
    """[P, J]: what `interpolation_dots` gives."""
    dots = x.new_empty(rows.shape)
    columns = columns_of(x.shape[1], WIDEST)
    wide = ACCUMULATOR.get(x.dtype, x.dtype)
    tile = BYTES // wide.itemsize // columns
    launch(
        dot_corners,
        [-(-rows.numel() // tile)],
        [x.contiguous(), g.contiguous(), rows.contiguous(), dots, rows.numel()],
        CORNERS=rows.shape[1],
        C=x.shape[1],
        TILE=tile,
        COLUMNS=columns,
        WIDE=wide == torch.float64,
    )
    return dots
