"""Reductions over sorted runs of pairs, alike for many short runs and for a few long ones.

A run is the pairs of an output row in a slot. Chunks of CHUNK pairs that lie inside one run are
reduced first, each by a program of its own, then chunks of CHUNK such chunks: these are the levels.
What is left of a run at either end of a level, less than a chunk each, is read by the program that
owns the row. So no run keeps a program waiting for long, and no two programs write to a row.
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from gossamer.ops.conv import ACCUMULATOR
from gossamer.ops.launch import launch
from gossamer.ops.pool.gpu.best import better, first_of_largest
from gossamer.ops.pool.gpu.tiles import columns_of, power_of_two
from gossamer.ops.rulebooks import TILE

CHUNK, WIDEST, MOST_ROWS, MOST_LANES = 64, 32, 32, 32
BYTES = 1 << 12  # of the sums a program keeps; of the largest, with their places, half as many
SEARCHED = 128  # rows a program searches the pairs of
NOWHERE = tl.constexpr(2**31 - 1)  # behind every pair


@triton.jit
def nothing(ROWS: tl.constexpr, LANES: tl.constexpr, COLUMNS: tl.constexpr, WIDE, BEST):
    """What has been met before the first pair: values, and where they stood."""
    if WIDE:
        held = tl.zeros((ROWS, LANES, COLUMNS), tl.float64)
    else:
        held = tl.zeros((ROWS, LANES, COLUMNS), tl.float32)
    if BEST:
        held = held + float("-inf")
    return held, tl.full((ROWS, LANES, COLUMNS), NOWHERE, tl.int32)


@triton.jit
def take(
    held, place, at, found, x, weights, inputs, parts, column,
    C: tl.constexpr, SHARE: tl.constexpr, FIRST: tl.constexpr, BEST: tl.constexpr,
):  # fmt: skip
    """`held` and `place` with one more pair, or chunk, a lane: number `at` where `found`.

    Args:
        held, place: [A, B, C].
        at, found: [A, B].
        x: [N, C].
        weights, SHARE: pair p reads row p // SHARE times weights[p]; a SHARE of 0 has no weights.
        inputs: of each pair.
        parts: of each chunk the sum, or the pair of its largest.
        FIRST: whether `at` counts pairs.
    """
    inside = found[:, :, None] & (column < C)[None, None, :]
    own = at.to(tl.int64)[:, :, None] * C + column[None, None, :]
    there = place
    if FIRST:
        source = tl.load(inputs + at, mask=found, other=0).to(tl.int64)
        row = source // SHARE if SHARE > 0 else source
        from_row = x + row[:, :, None] * C + column[None, None, :]
        value = tl.load(from_row, mask=inside, other=0.0).to(held.dtype)
        if SHARE > 0:
            weight = tl.load(weights + source, mask=found, other=0.0).to(held.dtype)
            value = value * weight[:, :, None]
        there = tl.broadcast_to(at[:, :, None], place.shape)
    elif BEST:
        there = tl.load(parts + own, mask=inside, other=0)
        source = tl.load(inputs + there, mask=inside, other=0).to(tl.int64)
        value = tl.load(x + source * C + column[None, None, :], mask=inside, other=0.0)
        value = value.to(held.dtype)
    else:
        value = tl.load(parts + own, mask=inside, other=0.0)
    if BEST:
        held, place = better(held, place, value, there, inside)  # pyright: ignore[reportGeneralTypeIssues]
    else:
        held += value
    return held, place


@triton.jit
def whole_chunks(low, high, some, CHUNK: tl.constexpr):
    """Which chunks of the level above lie in low : high [A]; none if there is no such level."""
    first, last = (low + CHUNK - 1) // CHUNK, high // CHUNK
    found = some & (first < last)
    return tl.where(found, first, 0), tl.where(found, last, 0)


@triton.jit
def take_run(
    held, place, begin, low, high, chunk_low, chunk_high, x, weights, inputs, parts, column,
    C: tl.constexpr, CHUNK: tl.constexpr, LANES: tl.constexpr, SHARE: tl.constexpr,
    FIRST: tl.constexpr, BEST: tl.constexpr,
):  # fmt: skip
    """`held` and `place` with what a level has in low : high [A], LANES at a time.

    Args:
        begin: where the level begins.
        chunk_low, chunk_high: [A], the chunks that are left out, for the level above has them.
    """
    skipped = (chunk_high - chunk_low) * CHUNK
    gap = tl.where(skipped > 0, chunk_low * CHUNK, high)
    longest = tl.max(high - low - skipped, 0)
    for step in range(0, longest, LANES):
        at = (low + step)[:, None] + tl.arange(0, LANES)[None, :]
        at += tl.where(at < gap[:, None], 0, skipped[:, None])
        held, place = take(  # pyright: ignore[reportGeneralTypeIssues]
            held, place, begin + at, at < high[:, None], x, weights, inputs, parts, column,
            C, SHARE, FIRST, BEST,
        )  # fmt: skip
    return held, place


@triton.jit
def first_not_below(outputs, wanted, low, high, steps):
    """[A]: in sorted outputs[low : high], where the first is that is >= `wanted` [A]."""
    for _ in range(steps):
        middle = low + (high - low) // 2
        searching = low < high
        below = tl.load(outputs + middle, mask=searching, other=0) < wanted
        low = tl.where(searching & below, middle + 1, low)
        high = tl.where(searching & ~below, middle, high)
    return low


@triton.jit(do_not_specialize=["pairs", "rows", "steps"])
def find_runs(
    outputs, starts, runs, pairs, rows, steps,
    SLOTS: tl.constexpr, TILE: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Fill some of runs [SLOTS, M, 2]: where the run of each slot and row begins and ends.

    Args:
        starts: where the pairs of a tile and slot begin; not read where TILE is 0.
        pairs: P.
        rows: M.
        steps: how often P can be halved.
        TILE: output rows a tile; 0 where all pairs are sorted by output row.
    """
    row = tl.program_id(0) // SLOTS * ROWS + tl.arange(0, ROWS)
    slot = tl.program_id(0) % SLOTS
    exists = row < rows
    first = tl.zeros((ROWS,), tl.int32)
    last = first + pairs
    if TILE > 0:
        tile = row // TILE * SLOTS + slot
        first = tl.load(starts + tile, mask=exists, other=0).to(tl.int32)
        last = tl.load(starts + tile + 1, mask=exists, other=0).to(tl.int32)
    low = first_not_below(outputs, row, first, last, steps)
    high = first_not_below(outputs, row + 1, low, last, steps)
    to = runs + (slot.to(tl.int64) * rows + row) * 2
    tl.store(to, low, mask=exists)
    tl.store(to + 1, high, mask=exists)


@triton.jit(do_not_specialize=["span", "under", "begin"])
def fold_chunks(
    x, weights, inputs, outputs, parts, span, under, begin,
    C: tl.constexpr, CHUNK: tl.constexpr, COLUMNS: tl.constexpr, SHARE: tl.constexpr,
    FIRST: tl.constexpr, WIDE: tl.constexpr, BEST: tl.constexpr,
):  # fmt: skip
    """Reduce a chunk of a level, if it lies inside a run: nobody reads it otherwise.

    Args:
        span: how many pairs a chunk has.
        under: where in parts the level below begins.
        begin: where in parts this level begins.
    """
    BLOCKS: tl.constexpr = (C + COLUMNS - 1) // COLUMNS
    chunk = tl.program_id(0) // BLOCKS
    column = tl.program_id(0) % BLOCKS * COLUMNS + tl.arange(0, COLUMNS)
    first = outputs + chunk * span
    if tl.load(first) == tl.load(first + span - 1):
        at = (under + chunk * CHUNK + tl.arange(0, CHUNK))[None, :]
        held, place = nothing(1, CHUNK, COLUMNS, WIDE, BEST)  # pyright: ignore[reportGeneralTypeIssues]
        held, place = take(
            held, place, at, at >= 0, x, weights, inputs, parts, column, C, SHARE, FIRST, BEST
        )
        to = parts + (begin + chunk).to(tl.int64) * C + column[None, :]
        if BEST:
            winner = first_of_largest(held, place, NOWHERE)
            tl.store(to, winner, mask=(column < C)[None, :])
        else:
            tl.store(to, tl.sum(held, 1), mask=(column < C)[None, :])


@triton.jit(do_not_specialize=["pairs", "rows"])
def reduce_rows(
    x, weights, inputs, runs, parts, y, pairs, rows,
    C: tl.constexpr, CHUNK: tl.constexpr, LEVELS: tl.constexpr, SLOTS: tl.constexpr,
    SHARE: tl.constexpr, ROWS: tl.constexpr, LANES: tl.constexpr, COLUMNS: tl.constexpr,
    WIDE: tl.constexpr, BEST: tl.constexpr,
):  # fmt: skip
    """Fill some rows and channels of y.

    Args:
        runs: [SLOTS, M, 2].
        parts: the chunks of all levels, one level behind the other.
        y: [M, C], sums; or int64, the row that holds the largest value.
        pairs: P.
        rows: M.
    """
    BLOCKS: tl.constexpr = (C + COLUMNS - 1) // COLUMNS
    row = tl.program_id(0) // BLOCKS * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(0) % BLOCKS * COLUMNS + tl.arange(0, COLUMNS)
    exists = row < rows
    held, place = nothing(ROWS, LANES, COLUMNS, WIDE, BEST)  # pyright: ignore[reportGeneralTypeIssues]
    for slot in range(SLOTS):
        run = runs + (tl.cast(slot, tl.int64) * rows + row) * 2
        low = tl.load(run, mask=exists, other=0)
        high = tl.load(run + 1, mask=exists, other=0)
        chunk_low, chunk_high = whole_chunks(low, high, LEVELS > 0, CHUNK)
        held, place = take_run(
            held, place, 0, low, high, chunk_low, chunk_high, x, weights, inputs, parts, column,
            C, CHUNK, LANES, SHARE, True, BEST,
        )  # fmt: skip
        level, begin = pairs // CHUNK, 0
        for depth in range(1, LEVELS + 1):
            low, high = chunk_low, chunk_high
            chunk_low, chunk_high = whole_chunks(low, high, depth < LEVELS, CHUNK)
            held, place = take_run(
                held, place, begin, low, high, chunk_low, chunk_high, x, weights, inputs, parts,
                column, C, CHUNK, LANES, SHARE, False, BEST,
            )  # fmt: skip
            begin += level
            level = level // CHUNK
    to = y + row.to(tl.int64)[:, None] * C + column[None, :]
    inside = exists[:, None] & (column < C)[None, :]
    if BEST:
        winner = first_of_largest(held, place, NOWHERE)
        some = winner != NOWHERE
        source = tl.load(inputs + winner, mask=some, other=-1).to(tl.int64)
        tl.store(to, source, mask=inside)
    else:
        tl.store(to, tl.sum(held, 1).to(y.dtype.element_ty), mask=inside)


@dataclass(frozen=True)
class Segments:
    """Pairs whose runs are to be reduced.

    Args:
        inputs: [P] int, the row that each pair reads.
        outputs: [P] int, the row that it goes to, sorted inside each slot of a tile.
        starts: [T*K+1] int64, where the pairs of a tile and slot begin; None where all are sorted.
        slots: K.
        weights: what each pair is multiplied by, at its number in `inputs`, if `share` is not 0.
        share: how many successive inputs read the same row; 0 where inputs are rows.
    """

    inputs: Tensor
    outputs: Tensor
    starts: Tensor | None
    slots: int = 1
    weights: Tensor | None = None
    share: int = 0


def reduced(x: Tensor, by: Segments, rows: int, best: bool) -> Tensor:
    """[M, C]: sums over the pairs of each output row, or int64, the rows with the largest values.

    Args:
        x: [N, C].
        by: the pairs.
        rows: M.
        best: whether the largest is wanted.

    Raises:
        ValueError: there are too many pairs to number them with an int32.
    """
    x, pairs, channels = x.contiguous(), len(by.inputs), x.shape[1]
    if pairs >= NOWHERE.value:
        raise ValueError(f"there are {pairs} pairs; wanted fewer than {NOWHERE.value}")
    wide = ACCUMULATOR.get(x.dtype, x.dtype)
    columns = columns_of(channels, WIDEST)
    blocks = -(-channels // columns)
    same = {"C": channels, "CHUNK": CHUNK, "COLUMNS": columns, "SHARE": by.share}
    same |= {"WIDE": wide == torch.float64, "BEST": best}
    levels = _levels(pairs)
    parts = x.new_empty(sum(levels), channels, dtype=torch.int32 if best else wide)
    read = [x, x if by.weights is None else by.weights.contiguous(), by.inputs]
    for i, chunks in enumerate(levels):
        begins = [CHUNK ** (i + 1), sum(levels[: max(0, i - 1)]), sum(levels[:i])]
        arguments = [*read, by.outputs, parts, *begins]
        launch(fold_chunks, [chunks * blocks], arguments, FIRST=i == 0, **same)
    y = x.new_empty(rows, channels, dtype=torch.int64 if best else x.dtype)
    lanes = min(MOST_LANES, power_of_two(pairs // max(1, rows)))
    elements = BYTES // wide.itemsize // (2 if best else 1)
    tile = max(1, min(MOST_ROWS, elements // (lanes * columns)))
    launch(
        reduce_rows,
        [-(-rows // tile) * blocks],
        [*read, _runs(by, rows), parts, y, pairs, rows],
        LEVELS=len(levels),
        SLOTS=by.slots,
        ROWS=tile,
        LANES=lanes,
        **same,
    )
    return y


def _runs(by: Segments, rows: int) -> Tensor:
    """[K, M, 2] int32: where the run of each slot and output row begins and ends."""
    runs, pairs = by.outputs.new_empty(by.slots, rows, 2), len(by.outputs)
    starts = by.outputs if by.starts is None else by.starts
    launch(
        find_runs,
        [-(-rows // SEARCHED) * by.slots],
        [by.outputs, starts, runs, pairs, rows, pairs.bit_length()],
        SLOTS=by.slots,
        TILE=0 if by.starts is None else TILE,
        ROWS=SEARCHED,
    )
    return runs


def _levels(pairs: int) -> list[int]:
    """How many whole chunks each level has; the last has no more than one program reads at once."""
    levels = []
    while pairs > CHUNK:
        pairs //= CHUNK
        levels.append(pairs)
    return levels
