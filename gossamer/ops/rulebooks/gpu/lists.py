"""Tables read in other ways: backwards, and as lists of pairs."""

import triton
import triton.language as tl
from torch import Tensor

from gossamer.ops.keys.gpu.parts import blocks_of
from gossamer.ops.launch import launch

BLOCK = 1024


def turned(sources: Tensor, rows: int) -> Tensor:
    """[K, N] int32: where each row is a source in sources [K, M], or -1."""
    lines, outputs = sources.shape
    out = sources.new_full((lines, rows), -1)
    launch(_turn, (blocks_of(outputs, BLOCK), lines), (sources, out, outputs, rows), BLOCK=BLOCK)
    return out


def pairs_of(sources: Tensor) -> list[Tensor]:
    """Inputs, outputs [K*M] and starts [K+1] of sources [K, M]."""
    lines, rows = sources.shape
    blocks = blocks_of(rows, BLOCK)
    counts = sources.new_empty(lines * blocks)
    launch(_count, (blocks, lines), (sources, counts, rows), BLOCK=BLOCK)
    ends = counts.cumsum(0)
    inputs, outputs = sources.new_empty(lines * rows), sources.new_empty(lines * rows)
    launch(_list, (blocks, lines), (sources, ends, inputs, outputs, rows), BLOCK=BLOCK)
    starts = ends.new_zeros(lines + 1)
    if blocks:
        starts[1:] = ends[blocks - 1 :: blocks]
    return [inputs, outputs, starts]


@triton.jit
def _read(sources, rows, BLOCK: tl.constexpr):
    """A block of a line: its rows, what they read, and which of them are there."""
    row = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    at = sources + tl.program_id(1).to(tl.int64) * rows + row
    return row, tl.load(at, mask=row < rows, other=-1)


@triton.jit(do_not_specialize=["rows", "inputs"])
def _turn(sources, out, rows, inputs, BLOCK: tl.constexpr):
    row, source = _read(sources, rows, BLOCK)  # pyright: ignore[reportGeneralTypeIssues]
    line = out + tl.program_id(1).to(tl.int64) * inputs
    tl.store(line + source, row.to(tl.int32), mask=(source >= 0) & (source < inputs))


@triton.jit(do_not_specialize=["rows"])
def _count(sources, counts, rows, BLOCK: tl.constexpr):
    _, source = _read(sources, rows, BLOCK)  # pyright: ignore[reportGeneralTypeIssues]
    at = tl.program_id(1) * tl.num_programs(0) + tl.program_id(0)
    tl.store(counts + at, tl.sum((source >= 0).to(tl.int32)))


@triton.jit(do_not_specialize=["rows"])
def _list(sources, ends, inputs, outputs, rows, BLOCK: tl.constexpr):
    row, source = _read(sources, rows, BLOCK)  # pyright: ignore[reportGeneralTypeIssues]
    met = source >= 0
    block = tl.program_id(1) * tl.num_programs(0) + tl.program_id(0)
    before = tl.load(ends + block - 1, mask=block > 0, other=0)
    at = before + tl.cumsum(met.to(tl.int32), 0) - 1
    tl.store(inputs + at, source, mask=met)
    tl.store(outputs + at, row.to(tl.int32), mask=met)
