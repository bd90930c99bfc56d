"""The sum of a tile's work items, in their order."""

import triton
import triton.language as tl

from gossamer.ops.conv.gpu.bits import count_of_tile
from gossamer.ops.conv.gpu.epilogue import finish


@triton.jit(do_not_specialize=["blocks"])
def add_items(
    y,
    partial,
    rows,
    masks,
    scale,
    shift,
    residual,
    slope,
    blocks,
    WORDS: tl.constexpr,
    LIMIT: tl.constexpr,
    WIDTH: tl.constexpr,
    TILE_ROWS: tl.constexpr,
    SUM_ROWS: tl.constexpr,
    SUM_OUT: tl.constexpr,
    SCALE: tl.constexpr,
    SHIFT: tl.constexpr,
    RESIDUAL: tl.constexpr,
    ACTIVATION: tl.constexpr,
):
    """Finish SUM_ROWS slots of a tile that `multiply` did in more than one item.

    Args:
        partial: [items, S, WIDTH] float32.
        SUM_ROWS: divides TILE_ROWS.
    """
    BLOCKS: tl.constexpr = (TILE_ROWS + 31) // 32
    COLUMNS: tl.constexpr = (WIDTH + SUM_OUT - 1) // SUM_OUT
    start = tl.program_id(0) // COLUMNS * SUM_ROWS
    block = start // TILE_ROWS * TILE_ROWS // 32
    count = count_of_tile(masks, block, blocks, BLOCKS, WORDS)
    if count <= LIMIT:
        return
    slot = start + tl.arange(0, SUM_ROWS)
    column = tl.program_id(0) % COLUMNS * SUM_OUT + tl.arange(0, SUM_OUT)
    inside = (column < WIDTH)[None, :]
    slots = blocks.to(tl.int64) * 32
    sums = tl.zeros((SUM_ROWS, SUM_OUT), tl.float32)
    for item in range((count + LIMIT - 1) // LIMIT):
        place = (item * slots + slot)[:, None] * WIDTH + column[None, :]
        sums += tl.load(partial + place, mask=inside, other=0.0)
    finish(
        sums, y, tl.load(rows + slot), column, scale, shift, residual, slope, WIDTH,
        WIDTH, WIDTH % SUM_OUT == 0, SCALE, SHIFT, RESIDUAL, ACTIVATION,
    )  # fmt: skip
