"""A sum over pairs, divided evenly among programs and added up in a fixed order.

Some lines have forty times as many pairs as others, so the pairs of all lines are one sequence, of
which every program takes an equal part. A part that reaches over several lines leaves a sum for
each: part i leaves that of line k in segment i + k of a workspace, and no other has the same i + k,
because where the part or the line is a later one, the other is no earlier one. How many parts there
are depends on the problem only, and neither on the card nor on the number of pairs, which is known
only on the device.
"""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from gossamer.ops.conv.gpu.taps import naming
from gossamer.ops.launch import launch

SEGMENTS, ELEMENTS = 32, 64  # added at a time by a program of the second stage


@triton.jit
def needed(parts, total):
    """How many of the parts get any of `total` pairs: one each where they are more than the pairs.

    So no part among those that a line meets is without pairs.
    """
    return tl.maximum(tl.minimum(total, parts), 1)


@triton.jit
def edge(part, parts, total):
    """Where a part starts, in int64."""
    return part * total // parts


@triton.jit
def lines_met(first, last, starts, K: tl.constexpr):
    """The lines that pairs first:last lie in, as a range; some of those inside may be empty.

    Returns:
        the first line, and the one behind the last.
    """
    line = tl.arange(0, triton.next_power_of_2(K))
    here = line < K
    before = here & (tl.load(starts + 1 + line, mask=here, other=0) <= first)
    begun = here & (tl.load(starts + line, mask=here, other=0) < last)
    return tl.sum(before.to(tl.int32), 0), tl.sum(begun.to(tl.int32), 0)


@triton.jit(do_not_specialize=["parts"])
def _add_up(
    workspace,
    starts,
    taps,
    total,
    parts,
    K: tl.constexpr,
    TAPS: tl.constexpr,
    SIZE: tl.constexpr,
    SEGMENTS: tl.constexpr,
    ELEMENTS: tl.constexpr,
):
    """Add the segments of one line.

    Args:
        workspace: [parts + K, SIZE] float32.
        starts, taps: the table.
        total: [K, SIZE], by tap.
        TAPS: how lines name their taps, see gossamer.ops.conv.gpu.taps.
    """
    line = tl.program_id(1)
    column = tl.program_id(0) * ELEMENTS + tl.arange(0, ELEMENTS)
    first, last, pairs = tl.load(starts + line), tl.load(starts + line + 1), tl.load(starts + K)
    sums = tl.zeros((SEGMENTS, ELEMENTS), tl.float32)
    if first < last:
        used = needed(parts, pairs)
        # The part that has pair p is the last one that starts at p or before it.
        low = ((first + 1) * used - 1) // pairs
        high = (last * used - 1) // pairs + 1
        for start in range(low, high, SEGMENTS):
            part = start + tl.arange(0, SEGMENTS)
            place = (part + line)[:, None] * SIZE + column[None, :]
            wanted = (part < high)[:, None] & (column < SIZE)[None, :]
            sums += tl.load(workspace + place, mask=wanted, other=0.0)
    tap = line.to(tl.int64)
    if TAPS == "mirrored":
        tap = tl.load(taps) - line
    if TAPS == "listed":
        tap = tl.load(taps + line)
    value = tl.sum(sums, 0).to(total.dtype.element_ty)
    tl.store(total + tap * SIZE + column, value, mask=column < SIZE)


def workspace(parts: int, shape: Sequence[int], like: Tensor) -> Tensor:
    """Room for the sums of `parts` parts: [parts + K, ...] float32, for shape [K, ...]."""
    return like.new_empty(parts + shape[0], *shape[1:], dtype=torch.float32)


def add_up(sums: Tensor, starts: Tensor, taps: Tensor, total: Tensor) -> None:
    """Fill `total`, [K, ...], with the sums that parts left for each line, where its tap is.

    Args:
        sums: as `workspace` makes it, filled.
        starts, taps: of the table.
        total: every line's sum, in order of tap.
    """
    lines, size = total.shape[0], total[0].numel()
    launch(
        _add_up,
        (-(-size // ELEMENTS), lines),
        (sums, starts, taps, total, sums.shape[0] - lines),
        K=lines,
        TAPS=naming(taps),
        SIZE=size,
        SEGMENTS=SEGMENTS,
        ELEMENTS=ELEMENTS,
    )
