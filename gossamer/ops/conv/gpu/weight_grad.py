"""The gradient of a weight: for every line, the product of gathered x, turned, and gathered grad.

Two stages without atomics, so same inputs give same bits; see gossamer.ops.conv.gpu.parts.
"""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn.functional import pad

from gossamer.ops.conv.gpu.depthwise import weight_grad_depthwise
from gossamer.ops.conv.gpu.parts import add_up, edge, lines_met, needed, workspace
from gossamer.ops.launch import interpreted, launch
from gossamer.ops.plans import Choice, Demand, architecture, choose

LEAST = 16  # a matrix instruction is no narrower


@triton.jit
def readable(channel, CHANNELS: tl.constexpr, TILE: tl.constexpr, VECTOR: tl.constexpr):
    """The channels of a tile; for those behind the last one some of the first, which exist.

    Nobody stores what comes of them, and a mask for them took so many registers that large tiles
    had too few. CHANNELS is a multiple of VECTOR, 16 bytes.
    """
    if CHANNELS % TILE == 0:
        return channel
    existing = tl.where(channel < CHANNELS, channel, channel % VECTOR)
    return tl.max_contiguous(tl.multiple_of(existing, VECTOR), VECTOR)


@triton.jit
def outer_products(
    x,
    grad,
    inputs,
    outputs,
    starts,
    sums,
    K: tl.constexpr,
    GROUPS: tl.constexpr,
    C_IN: tl.constexpr,
    C_OUT: tl.constexpr,
    PAIRS: tl.constexpr,
    TILE_IN: tl.constexpr,
    TILE_OUT: tl.constexpr,
    PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
):
    """Sum one part of the pairs, for one tile of one group's channels.

    Args:
        x: [N, GROUPS * C_IN].
        grad: [M, GROUPS * C_OUT].
        inputs, outputs, starts: the pairs.
        sums: [parts + K, C_IN, GROUPS * C_OUT] float32.
        C_IN, C_OUT: channels a group, multiples of 16 bytes.
        PAIRS: how many are multiplied at a time.
    """
    COLUMNS: tl.constexpr = (C_OUT + TILE_OUT - 1) // TILE_OUT
    ROWS: tl.constexpr = (C_IN + TILE_IN - 1) // TILE_IN
    WIDTH: tl.constexpr = GROUPS * C_OUT
    VECTOR: tl.constexpr = 128 // x.dtype.element_ty.primitive_bitwidth
    # Tiles of one part run side by side: they read the same rows, which then are in the cache.
    tile, part = tl.program_id(0), tl.program_id(1)
    group = tile // (ROWS * COLUMNS)
    row = tile // COLUMNS % ROWS * TILE_IN + tl.arange(0, TILE_IN)
    column = tile % COLUMNS * TILE_OUT + tl.arange(0, TILE_OUT)
    of_x = group * C_IN + readable(row, C_IN, TILE_IN, VECTOR)
    of_grad = group * C_OUT + readable(column, C_OUT, TILE_OUT, VECTOR)

    total = tl.load(starts + K)
    parts = needed(tl.num_programs(1), total)
    first, last = edge(part, parts, total), edge(part + 1, parts, total)
    low, high = lines_met(first, last, starts, K)
    for line in range(low, high):
        start = tl.maximum(first, tl.load(starts + line))
        count = (tl.minimum(last, tl.load(starts + line + 1)) - start).to(tl.int32)
        product = tl.zeros((TILE_IN, TILE_OUT), tl.float32)
        for done in range(0, count, PAIRS):
            pair = done + tl.arange(0, PAIRS)
            here = pair < count
            source = tl.load(inputs + start + pair, mask=here, other=0).to(tl.int64)
            target = tl.load(outputs + start + pair, mask=here, other=0).to(tl.int64)
            at_x = source[None, :] * (GROUPS * C_IN) + of_x[:, None]
            at_grad = target[:, None] * WIDTH + of_grad[None, :]
            a = tl.load(x + at_x, mask=here[None, :], other=0.0)
            b = tl.load(grad + at_grad, mask=here[:, None], other=0.0)
            if UPCAST:
                a, b = a.to(tl.float32), b.to(tl.float32)
            product = tl.dot(a, b, product, input_precision=PRECISION)
        if count > 0:
            place = ((part + line).to(tl.int64) * C_IN + row)[:, None] * WIDTH
            inside = (row < C_IN)[:, None] & (column < C_OUT)[None, :]
            tl.store(sums + place + (group * C_OUT + column)[None, :], product, mask=inside)


def weight_grad(x: Tensor, grad: Tensor, lists: Sequence[Tensor], groups: int) -> Tensor:
    """[K, C_in/groups, C_out]: over the pairs of each tap, the sum of x[input] outer grad[output].

    Args:
        x: [N, C_in] float32, float16 or bfloat16.
        grad: [M, C_out], of the dtype of x.
        lists: a table.
        groups: how many parts the channels fall into.

    Raises:
        RuntimeError: the table is without pairs.
    """
    taps, starts = lists[0].shape[0], lists[7]
    if taps and not starts.shape[0]:
        raise RuntimeError(
            "a gradient of weight was asked for, but the forward pass was not given lists of pairs "
            "for it"
        )
    if groups > 1 and x.shape[1] == groups:
        return weight_grad_depthwise(x, grad, lists, groups)
    high, wide = x.shape[1] // groups, grad.shape[1] // groups
    if not taps * high * wide:
        return x.new_empty(taps, high, groups * wide)
    choice = choose(
        Demand("weight_grad", architecture(x.device), x.dtype, high, wide, taps), grad.shape[0]
    )
    x, grad = _aligned(x, groups), _aligned(grad, groups)
    total = x.new_empty(taps, x.shape[1] // groups, grad.shape[1])
    sums = workspace(choice.parts, total.shape, x)
    _launch_products(choice, (x, grad, *lists[5:], sums), groups)
    add_up(sums, starts, lists[4], total)
    if total.shape[1:] == (high, groups * wide):
        return total
    return total[:, :high].unflatten(2, (groups, -1))[..., :wide].flatten(2).contiguous()


def _aligned(x: Tensor, groups: int) -> Tensor:
    """`x`, with zeros behind each group's channels where they are no multiple of 16 bytes.

    Only what lies on 16 bytes is copied while something else is multiplied; and what does not
    takes so many registers that a large tile has too few.
    """
    channels = x.shape[1] // groups
    missing = -channels % (16 // x.element_size())
    if not missing:
        return x.contiguous()
    return pad(x.unflatten(1, (groups, channels)), (0, missing)).flatten(1)


def _launch_products(choice: Choice, arguments: Sequence[Tensor], groups: int) -> None:
    x, sums = arguments[0], arguments[-1]
    high, wide = sums.shape[1], sums.shape[2] // groups
    tile_in, tile_out = _clipped(choice.tile.channels, high), _clipped(choice.tile.columns, wide)
    launch(
        outer_products,
        (-(-high // tile_in) * -(-wide // tile_out) * groups, choice.parts),
        arguments,
        warps=choice.tile.warps,
        stages=choice.tile.stages,
        K=sums.shape[0] - choice.parts,
        GROUPS=groups,
        C_IN=high,
        C_OUT=wide,
        PAIRS=choice.tile.rows,
        TILE_IN=tile_in,
        TILE_OUT=tile_out,
        # AMD's compiler refuses the others for half types.
        PRECISION=choice.precision if x.dtype == torch.float32 else "ieee",
        UPCAST=interpreted(),
    )


def _clipped(tile: int, channels: int) -> int:
    return min(tile, max(LEAST, 1 << (channels - 1).bit_length()))
