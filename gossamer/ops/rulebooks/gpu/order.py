"""Tables in order: rows that have the same lines stand together, and those with many come first."""

from functools import lru_cache
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from gossamer.ops.keys.gpu.parts import blocks_of, constant, either, existing, triton_type
from gossamer.ops.launch import launch
from gossamer.ops.rulebooks import slots_of

BLOCK = 128  # divides the number of slots
LINES = 8


class Digits(NamedTuple):
    """How lines become a number to sort by.

    Args:
        places: K, the bit of each line in the number of its group; lines may share one.
        bits: how many there are.
        dtype: of the numbers, with the group above them and room for rows without a slot.
    """

    places: tuple[int, ...]
    bits: int
    dtype: torch.dtype


@lru_cache(maxsize=256)
def digits_of(significance: tuple[int, ...], groups: int) -> Digits:
    """The digits of K lines, the least significant first."""
    lines = len(significance) // groups
    # One bit more tells rows without a line from rows that do not exist.
    above = 1 + (groups - 1).bit_length()
    room = 63 - above
    bits = lines if lines <= room else min(room, (lines + 1) // 2)
    places = []
    for first in range(0, len(significance), lines):
        places += _places(significance[first : first + lines], bits)
    dtype = torch.int32 if bits + above <= 31 else torch.int64
    return Digits(tuple(places), bits, dtype)


def _places(ranks: tuple[int, ...], bits: int) -> list[int]:
    """The bit of every line of a group, one each where there are enough.

    Opposite taps share a bit otherwise, and then the least significant ones the lowest. On a scan
    at 125 taps this wastes less than the full mask, and much less than leaving lines out.
    """
    lines = len(ranks)
    heads = [i if lines <= bits else min(i, lines - 1 - i) for i in range(lines)]
    rank_of = {head: max(ranks[head], ranks[i]) for i, head in enumerate(heads)}
    order = sorted(rank_of, key=rank_of.__getitem__)
    bit_of = {head: max(0, place - max(0, len(order) - bits)) for place, head in enumerate(order)}
    return [bit_of[head] for head in heads]


def ordered(
    sources: Tensor, groups: int, significance: tuple[int, ...], count: Tensor | None
) -> list[Tensor]:
    """Sources [K, S], rows [G, S], masks [G, W, S/32], places [G, M] of sources [K, M] int32."""
    lines, rows = sources.shape
    order, numbers, bits = sources, sources, 0
    if significance:
        digits = digits_of(significance, groups)
        numbers = _numbers(sources, groups, digits, count)
        numbers, order = numbers.sort(stable=True, descending=True)
        bits = digits.bits
    slots, each = slots_of(rows), lines // groups
    words = blocks_of(each, 32)
    shapes = (lines, slots), (groups, slots), (groups, words, slots // 32), (groups, rows)
    out = [sources.new_empty(shape) for shape in shapes]
    counted = sources if count is None else count
    launch(
        _place,
        (slots // BLOCK, groups),
        (sources, order, numbers, counted, *out, rows, slots, each, groups, words, bits),
        COUNTED=count is not None,
        SORTED=bool(significance),
        BLOCK=BLOCK,
        LINES=LINES,
    )
    return out


def _numbers(sources: Tensor, groups: int, digits: Digits, count: Tensor | None) -> Tensor:
    """[G*M]: for each order and row what to sort by, where an order has larger ones than the next.

    Inside an order a row that does not exist has 0, one without a line 1.
    """
    lines, rows = sources.shape
    numbers = sources.new_empty(groups * rows, dtype=digits.dtype)
    places = constant(digits.places, sources.device)
    counted = sources if count is None else count
    sizes = rows, lines // groups, groups, digits.bits
    launch(
        _weigh,
        (blocks_of(rows, BLOCK), groups),
        (sources, places, counted, numbers, *sizes),
        COUNTED=count is not None,
        SHARED=digits.bits < lines // groups,
        KEY=triton_type(digits.dtype),
        BLOCK=BLOCK,
        LINES=LINES,
    )
    return numbers


@triton.jit
def first_line(order, groups, each):
    """The first line of the group of an order."""
    return (order + groups // 2 + 1) % groups * each


@triton.jit(do_not_specialize=["rows", "each", "groups", "bits"])
def _weigh(
    sources,
    places,
    count,
    numbers,
    rows,
    each,
    groups,
    bits,
    COUNTED: tl.constexpr,
    SHARED: tl.constexpr,
    KEY: tl.constexpr,
    BLOCK: tl.constexpr,
    LINES: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    order = tl.program_id(1)
    there = row < existing(count, rows, COUNTED)
    first = first_line(order, groups, each)
    number = tl.zeros([BLOCK], KEY)
    for start in range(0, each, LINES):
        line = start + tl.arange(0, LINES)[:, None]
        at = sources + (first + line).to(tl.int64) * rows + row[None, :]
        source = tl.load(at, mask=(line < each) & there[None, :], other=-1)
        place = tl.load(places + first + line, mask=line < each, other=0).to(KEY)
        bit = tl.where(source >= 0, tl.full([LINES, BLOCK], 1, KEY) << place, 0)
        if SHARED:
            number |= tl.reduce(bit, 0, either)
        else:
            number += tl.sum(bit, 0)
    # From a Gray code to its number: every bit becomes the parity of those from it upwards.
    number ^= number >> 1
    number ^= number >> 2
    number ^= number >> 4
    number ^= number >> 8
    number ^= number >> 16
    if KEY == tl.int64:
        number ^= number >> 32
    number = tl.where(there, number + 1, 0)
    number += (groups - 1 - order).to(KEY) << (bits + 1).to(KEY)
    tl.store(numbers + order.to(tl.int64) * rows + row, number, mask=row < rows)


@triton.jit(do_not_specialize=["rows", "slots", "each", "groups", "words", "bits"])
def _place(
    sources,
    order,
    numbers,
    count,
    out,
    out_rows,
    masks,
    places,
    rows,
    slots,
    each,
    groups,
    words,
    bits,
    COUNTED: tl.constexpr,
    SORTED: tl.constexpr,
    BLOCK: tl.constexpr,
    LINES: tl.constexpr,
):
    """Fill BLOCK slots of an order."""
    block, group = tl.program_id(0), tl.program_id(1).to(tl.int64)
    slot = block.to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = slot < rows
    if SORTED:
        at = group * rows + slot
        row = tl.load(order + at, mask=inside, other=0) - group * rows
        number = tl.load(numbers + at, mask=inside, other=0).to(tl.int64)
        number -= (groups - 1 - group) << (bits + 1)
        # The last order has a slot for rows without a line too.
        has = inside & (number > tl.where(group == groups - 1, 0, 1))
    else:
        row = slot
        has = inside & (slot < existing(count, rows, COUNTED))
    tl.store(places + group * rows + row, tl.where(has, slot, -1).to(tl.int32), mask=inside)
    tl.store(out_rows + group * slots + slot, tl.where(has, row, -1).to(tl.int32))
    first = first_line(group, groups, each)
    for word in range(words):
        mask = tl.zeros([BLOCK], tl.int32)
        for part in tl.static_range(32 // LINES):
            bit = part * LINES + tl.arange(0, LINES)[:, None]
            line = word * 32 + bit
            taken = line < each
            source = tl.load(
                sources + (first + line) * rows + row[None, :], mask=taken & has[None, :], other=-1
            )
            tl.store(out + (first + line) * slots + slot[None, :], source, mask=taken)
            set_bit = tl.full([LINES, BLOCK], 1, tl.int32) << bit
            mask += tl.sum(tl.where(source >= 0, set_bit, 0), 0)
        together = tl.reduce(tl.reshape(mask, [BLOCK // 32, 32]), 1, either)
        unit = (group * words + word) * (slots // 32) + block * (BLOCK // 32)
        tl.store(masks + unit + tl.arange(0, BLOCK // 32), together)
