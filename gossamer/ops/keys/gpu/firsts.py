"""Things picked out of a long list, and numbered: distinct keys, or the bits that are set.

A first kernel counts them block by block, the counts are summed up, and a second kernel writes each
at its number.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from gossamer.ops.keys.gpu.parts import blocks_of, ones
from gossamer.ops.launch import launch

BLOCK = 1024


def count_firsts(keys: Tensor, open_end: bool) -> Tensor:
    """[blocks] int64: how many distinct ones sorted keys [N] have up to the end of each block.

    Args:
        keys: [N] int32 or int64.
        open_end: whether the largest number of the type is no key.
    """
    counts = keys.new_empty(blocks_of(len(keys), BLOCK), dtype=torch.int32)
    launch(_count_firsts, counts.shape, (keys, counts, len(keys)), OPEN_END=open_end, BLOCK=BLOCK)
    return counts.cumsum(0)


def write_firsts(keys: Tensor, ends: Tensor, capacity: int, open_end: bool) -> Tensor:
    """[capacity]: the distinct keys, as many as there is place for."""
    distinct = keys.new_empty(capacity)
    launch(
        _write_firsts,
        ends.shape,
        (keys, ends, distinct, keys, keys, len(keys), capacity),
        OPEN_END=open_end,
        RANKED=False,
        BLOCK=BLOCK,
    )
    return distinct


def rank_firsts(keys: Tensor, order: Tensor, ends: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """The distinct keys [number], and for each key, before it was sorted by `order`, its row."""
    distinct, row = keys.new_empty(number), torch.empty_like(order)
    launch(
        _write_firsts,
        ends.shape,
        (keys, ends, distinct, order, row, len(keys), number),
        OPEN_END=False,
        RANKED=True,
        BLOCK=BLOCK,
    )
    return distinct, row


def count_bits(words: Tensor) -> Tensor:
    """[blocks] int64: how many bits of words [W] int32 are set up to the end of each block."""
    counts = words.new_empty(blocks_of(len(words), BLOCK), dtype=torch.int32)
    launch(_count_bits, counts.shape, (words, counts, len(words)), BLOCK=BLOCK)
    return counts.cumsum(0)


def write_bits(words: Tensor, ends: Tensor, capacity: int) -> Tensor:
    """[capacity] int32: the numbers of the bits that are set, as many as there is place for."""
    numbers = words.new_empty(capacity)
    launch(_write_bits, ends.shape, (words, ends, numbers, len(words), capacity), BLOCK=BLOCK)
    return numbers


@triton.jit
def _is_first(keys, at, number, OPEN_END: tl.constexpr):
    there = at < number
    key = tl.load(keys + at, mask=there, other=0)
    before = tl.load(keys + at - 1, mask=there & (at > 0), other=0)
    first = there & ((at == 0) | (key != before))
    if OPEN_END:
        largest: tl.constexpr = 0x7FFFFFFF if key.dtype == tl.int32 else 0x7FFFFFFFFFFFFFFF  # pyright: ignore[reportAssignmentType]
        first = first & (key != largest)
    return key, first


@triton.jit(do_not_specialize=["number"])
def _count_firsts(keys, counts, number, OPEN_END: tl.constexpr, BLOCK: tl.constexpr):
    block = tl.program_id(0).to(tl.int64)
    _, first = _is_first(keys, block * BLOCK + tl.arange(0, BLOCK), number, OPEN_END)  # pyright: ignore[reportGeneralTypeIssues]
    tl.store(counts + block, tl.sum(first.to(tl.int32)))


@triton.jit(do_not_specialize=["number", "capacity"])
def _write_firsts(
    keys,
    ends,
    distinct,
    order,
    row,
    number,
    capacity,
    OPEN_END: tl.constexpr,
    RANKED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    block = tl.program_id(0).to(tl.int64)
    at = block * BLOCK + tl.arange(0, BLOCK)
    key, first = _is_first(keys, at, number, OPEN_END)  # pyright: ignore[reportGeneralTypeIssues]
    before = tl.load(ends + block - 1, mask=block > 0, other=0)
    rank = before + tl.cumsum(first.to(tl.int32), 0) - 1
    tl.store(distinct + rank, key, mask=first & (rank < capacity))
    if RANKED:
        place = tl.load(order + at, mask=at < number, other=0)
        tl.store(row + place, rank, mask=at < number)


@triton.jit(do_not_specialize=["number"])
def _count_bits(words, counts, number, BLOCK: tl.constexpr):
    block = tl.program_id(0).to(tl.int64)
    at = block * BLOCK + tl.arange(0, BLOCK)
    word = tl.load(words + at, mask=at < number, other=0).to(tl.uint32, bitcast=True)
    tl.store(counts + block, tl.sum(ones(word)))


@triton.jit(do_not_specialize=["number", "capacity"])
def _write_bits(words, ends, numbers, number, capacity, BLOCK: tl.constexpr):
    block = tl.program_id(0).to(tl.int64)
    at = block * BLOCK + tl.arange(0, BLOCK)
    word = tl.load(words + at, mask=at < number, other=0).to(tl.uint32, bitcast=True)
    count = ones(word)
    before = tl.load(ends + block - 1, mask=block > 0, other=0)
    rank = before + tl.cumsum(count, 0) - count
    # A bit of every word at a time, the lowest first; most blocks of a grid are empty.
    for _ in range(tl.max(count)):
        rest = word & (word - 1)
        bit = ones((word ^ rest) - 1)
        tl.store(numbers + rank, at * 32 + bit, mask=(word != 0) & (rank < capacity))
        rank += 1
        word = rest
