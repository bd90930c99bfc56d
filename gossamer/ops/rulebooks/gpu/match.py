"""The table of a relation: every tap of every coarse row looked up among the fine rows.

Fine rows are sorted by key. Where the grid is small enough it is a bitmap, and the row of a site is
the first row of its word plus the bits below; elsewhere keys are searched by halving.
"""

# A number is 64 bits wide whatever its value, or there would be a kernel for each combination.
# pyright: reportInvalidTypeForm=false

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from gossamer.ops.keys.gpu.pack import packed, place_of
from gossamer.ops.keys.gpu.parts import (
    FORM,
    STEPS,
    blocks_of,
    cells,
    constant,
    existing,
    form,
    key_of,
    key_type,
    ones,
    padded,
    triton_type,
)
from gossamer.ops.keys.gpu.reach import MOST_CELLS
from gossamer.ops.launch import launch

BLOCK = 128
LINES = 8  # looked up at once, so that a thread waits for many numbers together


@dataclass(frozen=True)
class Sites:
    """Rows [N, 1+D] int32, sorted by key, of which the first `count` [1] exist; None for all."""

    rows: Tensor
    count: Tensor | None

    @property
    def arguments(self) -> tuple[Tensor, Tensor]:
        return self.rows, self.rows if self.count is None else self.count


def matched(
    fine: Sites,
    coarse: Sites,
    corners: Sequence[Sequence[int]],
    stride: Sequence[int],
    offsets: Sequence[int],
    batches: int,
) -> Tensor:
    """[K, M] int32: the fine row of each coarse row through each tap, or -1."""
    ndim, number = len(stride), cells(corners[0], corners[1], batches)
    rows, lines = len(coarse.rows), len(offsets) // ndim
    sources = fine.rows.new_empty(lines, rows)
    bitmap = 0 < number <= MOST_CELLS
    if bitmap:
        index, first, size = *_bitmap(fine, corners, number), number
    else:
        index = first = packed(*_pair(fine), corners, key_type(number))
        size = len(index)
    launch(
        _match,
        (blocks_of(rows, BLOCK),),
        (
            *coarse.arguments,
            constant(tuple(offsets), sources.device),
            index,
            first,
            sources,
            rows,
            lines,
            size,
            size.bit_length(),
            *form(*corners),
            *padded(stride, 1),
        ),
        COUNTED=coarse.count is not None,
        BITMAP=bitmap,
        KEY=triton_type(index.dtype),
        D=ndim,
        BLOCK=BLOCK,
        LINES=LINES,
    )
    return sources


def _pair(sites: Sites) -> tuple[Tensor, Tensor | None]:
    return sites.rows, sites.count


def _bitmap(sites: Sites, corners: Sequence[Sequence[int]], number: int) -> tuple[Tensor, Tensor]:
    """A bit for each of `number` cells, and the first row of each word that has some."""
    words = sites.rows.new_zeros(blocks_of(number, 32))
    first = torch.empty_like(words)
    launch(
        _number,
        (blocks_of(len(sites.rows), BLOCK),),
        (*sites.arguments, words, first, len(sites.rows), number, *form(*corners)),
        COUNTED=sites.count is not None,
        D=len(corners[0]),
        BLOCK=BLOCK,
    )
    return words, first


@triton.jit(do_not_specialize=["rows", "cells", *FORM])
def _number(
    sites,
    count,
    words,
    first,
    rows,
    cells,
    batch_weight: tl.int64,
    weight0: tl.int64,
    weight1: tl.int64,
    weight2: tl.int64,
    weight3: tl.int64,
    constant: tl.int64,
    COUNTED: tl.constexpr,
    D: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    there = row < existing(count, rows, COUNTED)
    weights = (batch_weight, weight0, weight1, weight2, weight3, constant)
    key = key_of(sites, row, there, weights, (1, 1, 1, 1), tl.int32, D)
    there = there & (key >= 0) & (key < cells)
    follows = there & (row > 0)
    before = key_of(sites, row - 1, follows, weights, (1, 1, 1, 1), tl.int32, D)
    bit = tl.full([BLOCK], 1, tl.int32) << (key & 31)
    tl.atomic_or(words + (key >> 5), bit, mask=there, sem="relaxed")
    opens = there & ((row == 0) | ((key >> 5) != (before >> 5)))
    tl.store(first + (key >> 5), row.to(tl.int32), mask=opens)


@triton.jit(do_not_specialize=["rows", "lines", "number", "steps", *FORM, *STEPS])
def _match(
    coarse,
    count,
    offsets,
    index,
    first,
    sources,
    rows,
    lines,
    number,
    steps,
    batch_weight: tl.int64,
    weight0: tl.int64,
    weight1: tl.int64,
    weight2: tl.int64,
    weight3: tl.int64,
    constant: tl.int64,
    stride0: tl.int64,
    stride1: tl.int64,
    stride2: tl.int64,
    stride3: tl.int64,
    COUNTED: tl.constexpr,
    BITMAP: tl.constexpr,
    KEY: tl.constexpr,
    D: tl.constexpr,
    BLOCK: tl.constexpr,
    LINES: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    there = row < existing(count, rows, COUNTED)
    weights = (batch_weight, weight0, weight1, weight2, weight3, constant)
    stride = (stride0.to(KEY), stride1.to(KEY), stride2.to(KEY), stride3.to(KEY))
    key = key_of(coarse, row, there, weights, stride, KEY, D)[None, :]
    for start in range(0, lines, LINES):
        line = start + tl.arange(0, LINES)[:, None]
        wanted = key
        for axis in tl.static_range(D):
            offset = tl.load(offsets + line * D + axis, mask=line < lines, other=0)
            wanted += offset.to(KEY) * weights[1 + axis].to(KEY)
        looks = (line < lines) & there[None, :]
        if BITMAP:
            looks = looks & (wanted >= 0) & (wanted < number)
            word = tl.load(index + (wanted >> 5), mask=looks, other=0).to(tl.uint32, bitcast=True)
            bit = tl.full([LINES, BLOCK], 1, tl.uint32) << (wanted & 31).to(tl.uint32)
            met = (word & bit) != 0
            start_row = tl.load(first + (wanted >> 5), mask=met, other=0)
            source = start_row + ones(word & (bit - 1))
        else:
            place = place_of(index, wanted, looks, number, steps)
            looks = looks & (place < number)
            met = looks & (tl.load(index + place, mask=looks, other=0) == wanted)
            source = place.to(tl.int32)
        at = sources + line.to(tl.int64) * rows + row[None, :]
        tl.store(at, tl.where(met, source, -1), mask=(line < lines) & (row < rows)[None, :])
