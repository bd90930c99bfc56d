"""Rows brought to other places, as bits: all dtypes of a width share a kernel."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from gossamer.ops.launch import launch
from gossamer.ops.pool.gpu.tiles import columns_of

ELEMENTS, WIDEST = 2048, 128
ROWS, CHANNELS = 64, 32  # of a tile that is turned
WORDS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@triton.jit(do_not_specialize=["height"])
def move_rows(x, to, y, height, C: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Write rows i of x [N, C] to rows to[i] of y."""
    BLOCKS: tl.constexpr = (C + COLUMNS - 1) // COLUMNS
    row = (tl.program_id(0) // BLOCKS).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(0) % BLOCKS * COLUMNS + tl.arange(0, COLUMNS)
    exists = row < height
    inside = exists[:, None] & (column < C)[None, :]
    target = tl.load(to + row, mask=exists, other=0)
    value = tl.load(x + row[:, None] * C + column[None, :], mask=inside)
    tl.store(y + target[:, None] * C + column[None, :], value, mask=inside)


@triton.jit(do_not_specialize=["height", "cells"])
def turn_rows(
    x,
    cell,
    grid,
    height,
    cells,
    C: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    ONTO: tl.constexpr,
):
    """Copy rows of x [N, C] onto their cells of a grid [B, C, cells], or the other way.

    Neighbouring rows mostly lie in neighbouring cells. So threads that read along channels on one
    side and along rows on the other touch whole lines of memory on both.
    """
    BLOCKS: tl.constexpr = (C + COLUMNS - 1) // COLUMNS
    row = (tl.program_id(0) // BLOCKS).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(0) % BLOCKS * COLUMNS + tl.arange(0, COLUMNS)
    exists = row < height
    place = tl.load(cell + row, mask=exists, other=0)
    sample = place // cells
    start = sample * C * cells + (place - sample * cells)
    in_grid = grid + start[None, :] + column.to(tl.int64)[:, None] * cells
    in_rows = x + row[None, :] * C + column[:, None]
    inside = exists[None, :] & (column < C)[:, None]
    somewhere = inside & (place >= 0)[None, :]
    if ONTO:
        tl.store(in_grid, tl.load(in_rows, mask=somewhere), mask=somewhere)
    else:
        tl.store(in_rows, tl.load(in_grid, mask=somewhere, other=0), mask=inside)


def moved(x: Tensor, to: Tensor) -> Tensor:
    """[N, C]: row i of `x` as row `to[i]`."""
    words, (height, channels) = _words(x), x.shape
    y = x.new_empty(x.shape)
    columns = columns_of(channels, WIDEST)
    tile = ELEMENTS // columns
    launch(
        move_rows,
        [-(-height // tile) * -(-channels // columns)],
        [words, to.contiguous(), _words(y), height],
        C=channels,
        ROWS=tile,
        COLUMNS=columns,
    )
    return y


def turned(rows: Tensor, grid: Tensor, cell: Tensor, onto: bool) -> None:
    """Copy `rows` [N, C] onto their cells of `grid` [B, C, cells], or the other way."""
    height, channels = rows.shape
    columns = columns_of(channels, CHANNELS)
    launch(
        turn_rows,
        [-(-height // ROWS) * -(-channels // columns)],
        [_words(rows), cell.contiguous(), _words(grid), height, grid.shape[2]],
        C=channels,
        ROWS=ROWS,
        COLUMNS=columns,
        ONTO=onto,
    )


def _words(x: Tensor) -> Tensor:
    return x.detach().contiguous().view(WORDS[x.itemsize])
