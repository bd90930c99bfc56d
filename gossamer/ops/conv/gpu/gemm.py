"""One tile of output rows after the other: the product of gathered rows with the weights of taps.

A program owns a tile of slots and of columns. The lines that any of its rows has are the bits of
one mask, and (line, chunk of channels) is one loop, because only an innermost loop is pipelined.
A row that lacks a line of its tile reads zeros for it, so a row's sum does not depend on the rows
it shares a tile with. It does mean that Inf or NaN in a weight reaches such rows as NaN: what
would keep it out is a second set of sums, or a look at every weight.
"""

import triton
import triton.language as tl

from gossamer.ops.conv.gpu.bits import count_of_tile, lines_of_tile, popcount, trailing_zeros
from gossamer.ops.conv.gpu.epilogue import finish
from gossamer.ops.rulebooks.gpu.order import first_line


@triton.jit
def halves(tile):
    """The left and the right columns of a tile."""
    paired = tl.reshape(tile, (tile.shape[0], 2, tile.shape[1] // 2))
    return tl.split(tl.permute(paired, (0, 2, 1)))


@triton.jit
def sliced(tile, SLICES: tl.constexpr):
    """The columns of a tile in 1, 2 or 4 parts."""
    if SLICES == 1:
        parts = (tile,)
    elif SLICES == 2:
        parts = halves(tile)
    else:
        pair = halves(tile)
        left = halves(pair[0])
        right = halves(pair[1])
        parts = (left[0], left[1], right[0], right[1])
    return parts


@triton.jit
def add_orders(
    sums,
    partial,
    places,
    row,
    column,
    end,
    slots,
    height,
    ORDERS: tl.constexpr,
    WIDTH: tl.constexpr,
    EVEN: tl.constexpr,
):
    """`sums` and what the other orders have for the same rows, in their order."""
    for order in tl.static_range(ORDERS - 1):  # pyright: ignore[reportGeneralTypeIssues]
        slot = tl.load(places + order * height.to(tl.int64) + row, mask=row >= 0, other=-1)
        known = slot[:, None] >= 0
        if not EVEN:
            known = known & (column < end)[None, :]
        place = (order * slots + slot)[:, None] * WIDTH + column[None, :]
        sums += tl.load(partial + place, mask=known, other=0.0)
    return sums


@triton.jit(do_not_specialize=["blocks", "lines", "height"])
def multiply(
    x,
    weight,
    y,
    partial,
    sources,
    rows,
    masks,
    places,
    taps,
    scale,
    shift,
    residual,
    slope,
    blocks,
    lines,
    height,
    ORDERS: tl.constexpr,
    WORDS: tl.constexpr,
    TAPS: tl.constexpr,
    STORE: tl.constexpr,
    LIMIT: tl.constexpr,
    ITEMS: tl.constexpr,
    GROUPS: tl.constexpr,
    C_IN: tl.constexpr,
    C_OUT: tl.constexpr,
    W_IN: tl.constexpr,
    W_OUT: tl.constexpr,
    TILE_ROWS: tl.constexpr,
    TILE_OUT: tl.constexpr,
    TILE_IN: tl.constexpr,
    SLICES: tl.constexpr,
    PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
    SCALE: tl.constexpr,
    SHIFT: tl.constexpr,
    RESIDUAL: tl.constexpr,
    ACTIVATION: tl.constexpr,
):
    """Sum one tile of one order of a table.

    Args:
        x: [N, GROUPS * C_IN].
        weight: [K, C_IN, GROUPS * C_OUT], the last two axes with strides W_IN and W_OUT.
        y: [M, GROUPS * C_OUT].
        partial: float32 sums by slot, [ORDERS - 1 or ITEMS, S, GROUPS * C_OUT].
        sources, rows, masks, places, taps: the table.
        scale, shift, residual, slope: the epilogue.
        blocks: S / 32.
        lines: of one order.
        height: M.
        TAPS: see gossamer.ops.conv.gpu.taps.
        STORE: "partial" is the sums of every order but the last; "whole" adds those to the last
            order's and finishes; "items" is the one order there is, in work items of LIMIT lines.
        ITEMS: work items that a tile can have.
        SLICES: 1, 2 or 4, the parts in which the columns of a tile are finished.
    """
    COLUMNS: tl.constexpr = (C_OUT + TILE_OUT - 1) // TILE_OUT
    CHUNKS: tl.constexpr = (C_IN + TILE_IN - 1) // TILE_IN
    BLOCKS: tl.constexpr = (TILE_ROWS + 31) // 32
    EVEN_IN: tl.constexpr = C_IN % TILE_IN == 0
    EVEN_OUT: tl.constexpr = C_OUT % TILE_OUT == 0
    WIDTH: tl.constexpr = GROUPS * C_OUT
    # Columns fastest: their programs gather the same rows, which then are still in the cache.
    program = tl.program_id(0)
    item = program // COLUMNS % ITEMS
    tile = program // (COLUMNS * ITEMS)
    group = tl.program_id(1)
    order = tl.program_id(2) if STORE == "partial" else ORDERS - 1
    block = tile * TILE_ROWS // 32
    slots = blocks.to(tl.int64) * 32
    slot = tile * TILE_ROWS + tl.arange(0, TILE_ROWS)
    outer_first = group * C_OUT + program % COLUMNS * TILE_OUT
    outer = outer_first + tl.arange(0, TILE_OUT)
    end = group * C_OUT + C_OUT

    masks += order * WORDS * blocks.to(tl.int64)
    if STORE != "whole":
        count = count_of_tile(masks, block, blocks, BLOCKS, WORDS)
        if STORE == "items":
            items = tl.maximum(1, (count + LIMIT - 1) // LIMIT)
            if item >= items:
                return
        elif count == 0:
            return

    sums = tl.zeros((TILE_ROWS, TILE_OUT), tl.float32)
    first = first_line(order, ORDERS, lines)
    last_tap = tl.load(taps) if TAPS == "mirrored" else 0
    inner = tl.arange(0, TILE_IN)
    passed = 0
    for word in range(WORDS):
        mask = lines_of_tile(masks + word * blocks + block, BLOCKS)
        here = popcount(mask)
        if STORE == "items":
            skipped = tl.minimum(tl.maximum(item * LIMIT - passed, 0), here)
            stop = tl.minimum(tl.maximum(item * LIMIT + LIMIT - passed, 0), here)
            passed += here
            for _ in range(skipped):
                mask = mask & (mask - 1)
            here = stop - skipped
        for step in range(here * CHUNKS):
            line = first + word * 32 + trailing_zeros(mask)
            channel = step % CHUNKS * TILE_IN
            source = tl.load(sources + line * slots + slot)
            wanted = source[:, None] >= 0
            cells = x + (group * C_IN + channel) + source[:, None].to(tl.int64) * (GROUPS * C_IN)
            if TAPS == "natural":
                tap = line.to(tl.int64)
            elif TAPS == "mirrored":
                tap = last_tap - line
            else:
                tap = tl.load(taps + line)
            corner = weight + tap * (C_IN * WIDTH) + channel * W_IN
            corners = corner + inner[:, None] * W_IN + outer[None, :] * W_OUT
            if not EVEN_IN:
                wanted = wanted & (channel + inner < C_IN)[None, :]
            a = tl.load(cells + inner[None, :], mask=wanted, other=0.0)
            if EVEN_IN and EVEN_OUT:
                b = tl.load(corners)
            else:
                inside = (channel + inner < C_IN)[:, None] & (outer < end)[None, :]
                b = tl.load(corners, mask=inside, other=0.0)
            if UPCAST:
                a, b = a.to(tl.float32), b.to(tl.float32)
            sums = tl.dot(a, b, sums, input_precision=PRECISION)
            mask = tl.where(step % CHUNKS == CHUNKS - 1, mask & (mask - 1), mask)

    PART: tl.constexpr = TILE_OUT // SLICES
    split = items > 1 if STORE == "items" else STORE == "partial"
    if split:
        layer = order if STORE == "partial" else item
        cells = partial + (layer * slots + slot)[:, None] * WIDTH
        slices = sliced(sums, SLICES)
        for i in tl.static_range(SLICES):
            column = outer_first + i * PART + tl.arange(0, PART)
            if EVEN_OUT:
                tl.store(cells + column[None, :], slices[i])
            else:
                tl.store(cells + column[None, :], slices[i], mask=(column < end)[None, :])
    else:
        row = tl.load(rows + order * slots + slot)
        slices = sliced(sums, SLICES)
        for i in tl.static_range(SLICES):
            part = slices[i]
            column = outer_first + i * PART + tl.arange(0, PART)
            if ORDERS > 1:
                part = add_orders(
                    part, partial, places, row, column, end, slots, height,
                    ORDERS, WIDTH, EVEN_OUT,
                )  # fmt: skip
            finish(
                part, y, row, column, scale, shift, residual, slope, end,
                WIDTH, EVEN_OUT, SCALE, SHIFT, RESIDUAL, ACTIVATION,
            )  # fmt: skip
