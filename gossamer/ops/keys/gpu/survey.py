"""The range of every column and whether rows ascend: each block of rows, then all blocks."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from gossamer.ops.keys.gpu.parts import blocks_of
from gossamer.ops.launch import launch

BLOCK = 1024
PROGRAMS = 512


def surveyed(coords: Tensor) -> Tensor:
    """[3, 1+D] int64 of at least one row of coords [N, 1+D]."""
    rows, columns = coords.shape
    programs = min(PROGRAMS, blocks_of(rows, BLOCK))
    partial = coords.new_empty(3, columns, programs, dtype=torch.int64)
    out = coords.new_empty(3, columns, dtype=torch.int64)
    launch(
        _survey,
        (programs, columns),
        (coords, partial, rows, programs),
        COLUMNS=columns,
        BLOCK=BLOCK,
    )
    launch(_gather, (columns,), (partial, out, programs), COLUMNS=columns, PROGRAMS=PROGRAMS)
    return out


@triton.jit(do_not_specialize=["rows", "programs"])
def _survey(coords, partial, rows, programs, COLUMNS: tl.constexpr, BLOCK: tl.constexpr):
    program, column = tl.program_id(0).to(tl.int64), tl.program_id(1)
    value = tl.load(coords + program * BLOCK * COLUMNS + column).to(tl.int64)
    least, most = tl.zeros([BLOCK], tl.int64) + value, tl.zeros([BLOCK], tl.int64) + value
    ascends = tl.full([BLOCK], 1, tl.int64)
    for first in range(program * BLOCK, rows, programs * BLOCK):
        row = first + tl.arange(0, BLOCK).to(tl.int64)
        there = row < rows
        here = tl.load(coords + row * COLUMNS + column, mask=there, other=0).to(tl.int64)
        least = tl.where(there, tl.minimum(least, here), least)
        most = tl.where(there, tl.maximum(most, here), most)
        if column == 0:
            follows = there & (row > 0)
            smaller = tl.zeros([BLOCK], tl.int1)
            # From the last column to the first, which has the last word.
            for step in tl.static_range(COLUMNS):
                at = coords + row * COLUMNS + (COLUMNS - 1 - step)
                after = tl.load(at, mask=follows, other=0)
                before = tl.load(at - COLUMNS, mask=follows, other=0)
                smaller = (before < after) | ((before == after) & smaller)
            ascends = tl.where(follows & (smaller == 0), 0, ascends)
    at = partial + column * programs + program
    stride = COLUMNS * programs
    tl.store(at, tl.min(least))
    tl.store(at + stride, tl.max(most))
    tl.store(at + 2 * stride, tl.min(ascends))


@triton.jit(do_not_specialize=["programs"])
def _gather(partial, out, programs, COLUMNS: tl.constexpr, PROGRAMS: tl.constexpr):
    column = tl.program_id(0)
    program = tl.arange(0, PROGRAMS)
    there = program < programs
    at = partial + column * programs + program
    stride = COLUMNS * programs
    # A program that is not there says what the first one says.
    at = tl.where(there, at, partial + column * programs)
    tl.store(out + column, tl.min(tl.load(at)))
    tl.store(out + COLUMNS + column, tl.max(tl.load(at + stride)))
    # Only the programs of the first column looked at whole rows.
    at -= column * programs
    tl.store(out + 2 * COLUMNS + column, tl.min(tl.load(at + 2 * stride)))
