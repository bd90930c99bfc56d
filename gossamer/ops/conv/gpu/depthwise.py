"""Convolution whose groups have one input channel each: no matrices, only rows read and weighed.

What it costs is the memory it reads, so tiles are small, for many of them to wait at the same time.
"""

from collections.abc import Sequence

import triton
import triton.language as tl
from torch import Tensor

from gossamer.ops.conv import Epilogue
from gossamer.ops.conv.gpu.bits import popcount, trailing_zeros
from gossamer.ops.conv.gpu.epilogue import finish, last_steps
from gossamer.ops.conv.gpu.parts import add_up, edge, lines_met, needed, workspace
from gossamer.ops.conv.gpu.taps import naming
from gossamer.ops.keys.gpu.parts import either
from gossamer.ops.launch import launch
from gossamer.ops.plans import Demand, architecture, choose
from gossamer.ops.rulebooks.gpu.order import first_line

ELEMENTS, WIDEST, TALLEST = 2048, 64, 256  # of a program's tile; its most channels and rows


@triton.jit(do_not_specialize=["slots", "height"])
def weigh(
    x,
    weight,
    y,
    sources,
    rows,
    masks,
    places,
    taps,
    scale,
    shift,
    residual,
    slope,
    slots,
    height,
    K: tl.constexpr,
    ORDERS: tl.constexpr,
    TAPS: tl.constexpr,
    C_OUT: tl.constexpr,
    MULTIPLIER: tl.constexpr,
    TILE_ROWS: tl.constexpr,
    TILE_OUT: tl.constexpr,
    SCALE: tl.constexpr,
    SHIFT: tl.constexpr,
    RESIDUAL: tl.constexpr,
    ACTIVATION: tl.constexpr,
):
    """Fill a tile of y: the rows of some slots of the last order, and some channels.

    Args:
        x: [N, C_OUT / MULTIPLIER].
        weight: [K, C_OUT].
        y: [M, C_OUT].
        sources, rows, masks, places, taps: the table.
        scale, shift, residual, slope: the epilogue.
        slots: S.
        height: M.
        TAPS: how lines name their taps, see gossamer.ops.conv.gpu.taps.
    """
    COLUMNS: tl.constexpr = (C_OUT + TILE_OUT - 1) // TILE_OUT
    LINES: tl.constexpr = K // ORDERS
    WORDS: tl.constexpr = (LINES + 31) // 32
    column = tl.program_id(0) % COLUMNS * TILE_OUT + tl.arange(0, TILE_OUT)
    own = tl.program_id(0) // COLUMNS * TILE_ROWS + tl.arange(0, TILE_ROWS)
    wide = slots.to(tl.int64)
    row = tl.load(rows + (ORDERS - 1) * wide + own)
    inside = (column < C_OUT)[None, :]
    last_tap = tl.load(taps) if TAPS == "mirrored" else 0
    sums = tl.zeros((TILE_ROWS, TILE_OUT), tl.float32)
    for order in tl.static_range(ORDERS):
        slot = own
        if order < ORDERS - 1:
            slot = tl.load(places + order * height.to(tl.int64) + row, mask=row >= 0, other=-1)
        first = first_line(order, ORDERS, LINES)
        for word in range(WORDS):
            block = (order * WORDS + word) * (wide // 32) + slot // 32
            mask = tl.reduce(tl.load(masks + block, mask=slot >= 0, other=0), 0, either)
            for _ in range(popcount(mask)):
                line = first + word * 32 + trailing_zeros(mask)
                mask = mask & (mask - 1)
                source = tl.load(sources + line * wide + slot, mask=slot >= 0, other=-1)
                tap = line
                if TAPS == "mirrored":
                    tap = last_tap - line
                if TAPS == "listed":
                    tap = tl.load(taps + line)
                found = (source >= 0)[:, None]
                at = source.to(tl.int64)[:, None] * (C_OUT // MULTIPLIER)
                value = tl.load(x + at + (column // MULTIPLIER)[None, :], found & inside, 0.0)
                factor = tl.load(weight + tap * C_OUT + column, mask=column < C_OUT, other=0.0)
                product = value.to(tl.float32) * factor.to(tl.float32)[None, :]
                # A row that lacks the line has no part in its weight, be that Inf or NaN.
                sums += tl.where(found, product, 0.0)
    finish(
        sums, y, row, column, scale, shift, residual, slope, C_OUT,
        C_OUT, C_OUT % TILE_OUT == 0, SCALE, SHIFT, RESIDUAL, ACTIVATION,
    )  # fmt: skip


@triton.jit
def weighted_products(
    x,
    grad,
    inputs,
    outputs,
    starts,
    sums,
    K: tl.constexpr,
    C_OUT: tl.constexpr,
    MULTIPLIER: tl.constexpr,
    PAIRS: tl.constexpr,
    TILE_OUT: tl.constexpr,
):
    """Sum one part of the pairs, for some channels.

    Args:
        x: [N, C_OUT / MULTIPLIER].
        grad: [M, C_OUT].
        inputs, outputs, starts: the pairs.
        sums: [parts + K, C_OUT] float32.
        PAIRS: how many are multiplied at a time.
    """
    column = tl.program_id(0) * TILE_OUT + tl.arange(0, TILE_OUT)
    part, total = tl.program_id(1), tl.load(starts + K)
    parts = needed(tl.num_programs(1), total)
    first, last = edge(part, parts, total), edge(part + 1, parts, total)
    low, high = lines_met(first, last, starts, K)
    for line in range(low, high):
        start = tl.maximum(first, tl.load(starts + line))
        count = (tl.minimum(last, tl.load(starts + line + 1)) - start).to(tl.int32)
        products = tl.zeros((PAIRS, TILE_OUT), tl.float32)
        for done in tl.range(0, count, PAIRS, num_stages=3):
            pair = done + tl.arange(0, PAIRS)
            here = pair < count
            source = tl.load(inputs + start + pair, mask=here, other=0).to(tl.int64)
            target = tl.load(outputs + start + pair, mask=here, other=0).to(tl.int64)
            wanted = here[:, None] & (column < C_OUT)[None, :]
            at_x = source[:, None] * (C_OUT // MULTIPLIER) + (column // MULTIPLIER)[None, :]
            at_grad = target[:, None] * C_OUT + column[None, :]
            a = tl.load(x + at_x, mask=wanted, other=0.0).to(tl.float32)
            b = tl.load(grad + at_grad, mask=wanted, other=0.0).to(tl.float32)
            products += a * b
        if count > 0:
            place = (part + line).to(tl.int64) * C_OUT + column
            tl.store(sums + place, tl.sum(products, 0), mask=column < C_OUT)


def conv_depthwise(
    x: Tensor,
    weight: Tensor,
    lists: Sequence[Tensor],
    rows: int,
    groups: int,
    epilogue: Epilogue,
) -> Tensor:
    """[M, C_out]: the convolution of x, [N, groups], with weight, [K, 1, C_out].

    Args:
        x, weight: float32, float16 or bfloat16.
        lists: a table.
        rows: M.
        groups: C_in, of which C_out is a multiple.
        epilogue: what happens to the sums.
    """
    y = x.new_empty(rows, weight.shape[2])
    sources, orders, taps = lists[0], lists[1], lists[4]
    tile_rows, tile_out = _tile(y.shape[1])
    last = last_steps(epilogue, y)
    tiles = sources.shape[1] // tile_rows * -(-y.shape[1] // tile_out)
    arrays = (x.contiguous(), weight.contiguous(), y, *lists[:5], *last.arguments)
    launch(
        weigh,
        (tiles,),
        (*arrays, sources.shape[1], rows),
        K=sources.shape[0],
        ORDERS=orders.shape[0],
        TAPS=naming(taps),
        C_OUT=y.shape[1],
        MULTIPLIER=y.shape[1] // groups,
        TILE_ROWS=tile_rows,
        TILE_OUT=tile_out,
        **last.constants,
    )
    return y


def weight_grad_depthwise(x: Tensor, grad: Tensor, lists: Sequence[Tensor], groups: int) -> Tensor:
    """[K, 1, C_out]: over the pairs of each tap, the sum of x[input] * grad[output].

    Args:
        x: [N, groups] float32, float16 or bfloat16.
        grad: [M, C_out], of the dtype of x.
        lists: a table with pairs.
        groups: C_in, of which C_out is a multiple.
    """
    taps, width = lists[0].shape[0], grad.shape[1]
    total = x.new_empty(taps, 1, width)
    if not total.numel():
        return total
    demand = Demand("weight_grad", architecture(x.device), x.dtype, 1, width // groups, taps)
    parts = choose(demand, grad.shape[0]).parts
    sums = workspace(parts, total.shape, x)
    tile_rows, tile_out = _tile(width)
    launch(
        weighted_products,
        (-(-width // tile_out), parts),
        (x.contiguous(), grad.contiguous(), *lists[5:], sums),
        K=taps,
        C_OUT=width,
        MULTIPLIER=width // groups,
        PAIRS=tile_rows,
        TILE_OUT=tile_out,
    )
    add_up(sums, lists[7], lists[4], total)
    return total


def _tile(width: int) -> tuple[int, int]:
    """Rows and channels of a tile of an array of `width` channels."""
    tile_out = min(WIDEST, 1 << (width - 1).bit_length())
    return min(TALLEST, ELEMENTS // tile_out), tile_out
