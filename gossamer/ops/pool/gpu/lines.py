"""Pooling over a table: a program owns some output rows and walks the lines that they have."""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from gossamer.ops.conv import ACCUMULATOR
from gossamer.ops.keys.gpu.parts import either
from gossamer.ops.launch import launch
from gossamer.ops.pool.gpu.best import better
from gossamer.ops.pool.gpu.tiles import columns_of
from gossamer.ops.rulebooks.gpu.order import first_line

ROWS, WIDEST = 32, 64
NOWHERE = tl.constexpr(1 << 62)  # behind every tap and row


@triton.jit(do_not_specialize=["slots", "height"])
def walk_lines(
    x,
    y,
    sources,
    rows,
    masks,
    places,
    taps,
    slots,
    height,
    LINES: tl.constexpr,
    ORDERS: tl.constexpr,
    TAPS: tl.constexpr,
    C: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    WIDE: tl.constexpr,
    BEST: tl.constexpr,
):
    """Fill a tile of y: the rows of some slots of the last order, and some channels.

    Args:
        x: [N, C].
        y: [M, C], sums; or int64, the row that holds the largest value.
        sources, rows, masks, places, taps: the table.
        slots: S.
        height: M.
        LINES: of a group.
        TAPS: 0, 1 or 2 for taps that are natural, mirrored or listed.
        WIDE: whether sums are float64.
        BEST: whether y is of rows.
    """
    BLOCKS: tl.constexpr = (C + COLUMNS - 1) // COLUMNS
    WORDS: tl.constexpr = (LINES + 31) // 32
    column = tl.program_id(0) % BLOCKS * COLUMNS + tl.arange(0, COLUMNS)
    own = tl.program_id(0) // BLOCKS * ROWS + tl.arange(0, ROWS)
    # int64, because lines * slots passes 2**31 at 80 M rows of 27 lines.
    wide = slots.to(tl.int64)
    row = tl.load(rows + (ORDERS - 1) * wide + own)
    inside = (column < C)[None, :]
    if WIDE:
        held = tl.zeros((ROWS, COLUMNS), tl.float64)
    else:
        held = tl.zeros((ROWS, COLUMNS), tl.float32)
    if BEST:
        held = held + float("-inf")
    place = tl.full((ROWS, COLUMNS), NOWHERE, tl.int64)
    last_tap = tl.load(taps) if TAPS == 1 else 0
    for order in tl.static_range(ORDERS):
        slot = own
        if order < ORDERS - 1:
            slot = tl.load(places + order * height.to(tl.int64) + row, mask=row >= 0, other=-1)
        first = first_line(order, ORDERS, LINES)
        for word in range(WORDS):
            block = (order * WORDS + word) * (wide // 32) + slot // 32
            mask = tl.reduce(tl.load(masks + block, mask=slot >= 0, other=0), 0, either)
            for bit in range(32):
                if (mask >> bit) & 1 != 0:
                    line = first + word * 32 + bit
                    source = tl.load(sources + line * wide + slot, mask=slot >= 0, other=-1)
                    found = (source >= 0)[:, None] & inside
                    at = source.to(tl.int64)[:, None]
                    value = tl.load(x + at * C + column[None, :], mask=found, other=0.0)
                    value = value.to(held.dtype)
                    if BEST:
                        tap = line.to(tl.int64)
                        if TAPS == 1:
                            tap = last_tap - tap
                        if TAPS == 2:
                            tap = tl.load(taps + line)
                        # The tap decides between equals, and the row comes along below it.
                        there = (tap << 32) | at
                        held, place = better(held, place, value, there, found)
                    else:
                        held += value
    to = y + row.to(tl.int64)[:, None] * C + column[None, :]
    exists = (row >= 0)[:, None] & inside
    if BEST:
        tl.store(to, tl.where(place == NOWHERE, -1, place & 0xFFFFFFFF), mask=exists)
    else:
        tl.store(to, held.to(y.dtype.element_ty), mask=exists)


def pooled(x: Tensor, lists: Sequence[Tensor], rows: int, best: bool) -> Tensor:
    """[M, C]: sums over the lines of each output row, or int64, the rows with the largest values.

    Args:
        x: [N, C].
        lists: a table.
        rows: M.
        best: whether the largest is wanted.
    """
    sources, order, masks, places, taps = lists[:5]
    lines, orders = sources.shape[0], order.shape[0]
    y = x.new_empty(rows, x.shape[1], dtype=torch.int64 if best else x.dtype)
    columns = columns_of(x.shape[1], WIDEST)
    launch(
        walk_lines,
        [order.shape[1] // ROWS * -(-x.shape[1] // columns)],
        [x.contiguous(), y, sources, order, masks, places, taps, order.shape[1], rows],
        LINES=lines // orders,
        ORDERS=orders,
        TAPS=0 if not len(taps) else 2 if len(taps) == lines > 1 else 1,
        C=x.shape[1],
        ROWS=ROWS,
        COLUMNS=columns,
        WIDE=ACCUMULATOR.get(x.dtype, x.dtype) == torch.float64,
        BEST=best,
    )
    return y
