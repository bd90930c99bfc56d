"""The sites that taps lead to, sorted and unique, without a look from the host.

Where the output grid is small enough it is a bitmap: a bit for every cell, and sites are the bits
that are set. Elsewhere all candidates are written down as keys and sorted.
"""

# A number is 64 bits wide whatever its value, or there would be a kernel for each combination.
# pyright: reportInvalidTypeForm=false

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import triton
import triton.language as tl
from torch import Tensor

from gossamer.ops.keys.gpu.firsts import count_bits, count_firsts, write_bits, write_firsts
from gossamer.ops.keys.gpu.pack import unpacked
from gossamer.ops.keys.gpu.parts import (
    BOX,
    blocks_of,
    box,
    cells,
    constant,
    existing,
    key_type,
    padded,
    triton_type,
)
from gossamer.ops.launch import launch

MOST_CELLS = 2**29
"""Bits of the largest bitmap; it takes 64 MB, about what a large GPU caches."""

BLOCK = 128


@dataclass(frozen=True)
class Relation:
    """Where the taps lead: `fine = coarse * stride + offset`, inside a box.

    Args:
        lower, upper: D ints each, of the side that is led to.
        stride: D ints.
        offsets: K x D ints, row-major.
        upward: whether sites are coarse and lead to fine ones.
    """

    lower: tuple[int, ...]
    upper: tuple[int, ...]
    stride: tuple[int, ...]
    offsets: tuple[int, ...]
    upward: bool

    @property
    def corners(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return self.lower, self.upper

    @property
    def taps(self) -> int:
        return len(self.offsets) // len(self.stride)

    @property
    def most(self) -> int:
        """How many sites one site leads to at the most."""
        return self.taps if self.upward else _most_alike(self.offsets, self.stride)


@dataclass(frozen=True)
class Reached:
    """Sites that are counted and not written yet.

    Args:
        relation: that led to them.
        picked: sorted keys with repetitions, or words of a bitmap.
        ends: [blocks] int64, how many sites there are up to the end of each block of `picked`.
        bitmap: whether `picked` is one.
    """

    relation: Relation
    picked: Tensor
    ends: Tensor
    bitmap: bool

    @property
    def found(self) -> Tensor:
        """[1] int64: how many sites there are."""
        return self.ends[-1:] if len(self.ends) else self.ends.new_zeros(1)

    def rows(self, capacity: int, count: Tensor | None) -> Tensor:
        """[capacity, 1+D] int32: the sites; where `count` is `found`, zeros behind them."""
        if self.bitmap:
            keys = write_bits(self.picked, self.ends, capacity)
        else:
            keys = write_firsts(self.picked, self.ends, capacity, open_end=True)
        return unpacked(keys, count, self.relation.corners, len(self.relation.stride))


def reached(sites: Tensor, count: Tensor | None, relation: Relation, batches: int) -> Reached:
    """The sites that `relation` leads to from the first `count` of sites [N, 1+D] int32.

    Args:
        sites, count: count [1] int64; None for all.
        relation: where to.
        batches: how many samples there are; 0 if nobody knows.
    """
    number = cells(*relation.corners, batches)
    if 0 < number <= MOST_CELLS:
        words = sites.new_zeros(blocks_of(number, 32))
        _led(_mark, sites, count, words, number, relation, tl.int32)
        return Reached(relation, words, count_bits(words), bitmap=True)
    dtype = key_type(number)
    keys = sites.new_empty(relation.most * len(sites), dtype=dtype)
    _led(_write, sites, count, keys, relation.most, relation, triton_type(dtype))
    keys = keys.sort().values
    return Reached(relation, keys, count_firsts(keys, open_end=True), bitmap=False)


def _led(
    kernel: triton.JITFunction,
    sites: Tensor,
    count: Tensor | None,
    out: Tensor,
    room: int,
    relation: Relation,
    key: tl.dtype,
) -> None:
    steps = padded(relation.stride, 1)
    offsets = constant(relation.offsets, sites.device)
    counted = sites if count is None else count
    launch(
        kernel,
        (blocks_of(len(sites), BLOCK),),
        (sites, counted, offsets, out, len(sites), relation.taps, room, *box(*relation.corners)),
        COUNTED=count is not None,
        UP=relation.upward,
        KEY=key,
        D=len(relation.stride),
        STRIDE0=steps[0],
        STRIDE1=steps[1],
        STRIDE2=steps[2],
        STRIDE3=steps[3],
        BLOCK=BLOCK,
    )


@lru_cache(maxsize=256)
def _most_alike(offsets: Sequence[int], stride: Sequence[int]) -> int:
    # Taps of one site that hit differ by multiples of the stride.
    ndim = len(stride)
    taps = [offsets[i : i + ndim] for i in range(0, len(offsets), ndim)]
    alike = Counter(tuple(o % s for o, s in zip(tap, stride, strict=True)) for tap in taps)
    return max(alike.values(), default=0)


@triton.jit
def _lead(sites, row, there, offset, low, size, stride, UP, KEY, D: tl.constexpr):
    """Whether a tap leads from each site into the box, and the key of where it does."""
    first = sites + row * (1 + D)
    key = tl.load(first, mask=there, other=0).to(KEY)
    for axis in tl.static_range(D):  # pyright: ignore[reportGeneralTypeIssues]
        # 64 bits: what lies outside the box may lie outside 32 bits too.
        cell = tl.load(first + 1 + axis, mask=there, other=0).to(tl.int64)
        shift = tl.load(offset + axis).to(tl.int64)
        if UP:
            place = cell * stride[axis] + shift
        else:
            moved = cell - shift
            place = moved // stride[axis]
            there = there & (place * stride[axis] == moved)
        place -= low[axis]
        there = there & (place >= 0) & (place < size[axis])
        key = key * size[axis].to(KEY) + place.to(KEY)
    return key, there


@triton.jit(do_not_specialize=["rows", "taps", "cells", *BOX])
def _mark(
    sites,
    count,
    offsets,
    words,
    rows,
    taps,
    cells,
    low0: tl.int64,
    low1: tl.int64,
    low2: tl.int64,
    low3: tl.int64,
    size0: tl.int64,
    size1: tl.int64,
    size2: tl.int64,
    size3: tl.int64,
    COUNTED: tl.constexpr,
    UP: tl.constexpr,
    KEY: tl.constexpr,
    D: tl.constexpr,
    STRIDE0: tl.constexpr,
    STRIDE1: tl.constexpr,
    STRIDE2: tl.constexpr,
    STRIDE3: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Set the bit of every cell that is reached."""
    row = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    there = row < existing(count, rows, COUNTED)
    low, size = (low0, low1, low2, low3), (size0, size1, size2, size3)
    stride = (STRIDE0, STRIDE1, STRIDE2, STRIDE3)
    for tap in range(taps):
        key, hit = _lead(sites, row, there, offsets + tap * D, low, size, stride, UP, KEY, D)
        hit = hit & (key >= 0) & (key < cells)
        bit = tl.full([BLOCK], 1, tl.int32) << (key & 31)
        tl.atomic_or(words + (key >> 5), bit, mask=hit, sem="relaxed")


@triton.jit(do_not_specialize=["rows", "taps", "most", *BOX])
def _write(
    sites,
    count,
    offsets,
    keys,
    rows,
    taps,
    most,
    low0: tl.int64,
    low1: tl.int64,
    low2: tl.int64,
    low3: tl.int64,
    size0: tl.int64,
    size1: tl.int64,
    size2: tl.int64,
    size3: tl.int64,
    COUNTED: tl.constexpr,
    UP: tl.constexpr,
    KEY: tl.constexpr,
    D: tl.constexpr,
    STRIDE0: tl.constexpr,
    STRIDE1: tl.constexpr,
    STRIDE2: tl.constexpr,
    STRIDE3: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Write the keys that every site leads to into its column, then the largest number."""
    row = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    there = row < existing(count, rows, COUNTED)
    low, size = (low0, low1, low2, low3), (size0, size1, size2, size3)
    stride = (STRIDE0, STRIDE1, STRIDE2, STRIDE3)
    hits = tl.zeros([BLOCK], tl.int64)
    for tap in range(taps):
        key, hit = _lead(sites, row, there, offsets + tap * D, low, size, stride, UP, KEY, D)  # pyright: ignore[reportGeneralTypeIssues]
        tl.store(keys + hits * rows + row, key, mask=hit & (hits < most))
        hits += hit.to(tl.int64)
    largest: tl.constexpr = 0x7FFFFFFF if KEY == tl.int32 else 0x7FFFFFFFFFFFFFFF
    nothing = tl.full([BLOCK], largest, KEY)
    for place in range(most):
        tl.store(keys + place * rows + row, nothing, mask=(place >= hits) & (row < rows))
