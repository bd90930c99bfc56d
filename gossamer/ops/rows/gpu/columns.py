"""Sums over all rows, in two stages: chunks of rows, then their sums, always in the same order."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from gossamer.ops.conv import ACCUMULATOR
from gossamer.ops.launch import launch
from gossamer.ops.pool.gpu.tiles import columns_of
from gossamer.ops.rows.gpu.scale import NONE, activation, gate, scaled, vector

BYTES, WIDEST = 1 << 13, 64  # of a tile as it is computed with, and channels
# Enough for every processor of the largest GPU to have several, few enough to be joined quickly.
PROGRAMS, FEWEST_TILES = 1024, 4
PARTS, FEW_COLUMNS = 128, 8  # of a tile that joins


@triton.jit(do_not_specialize=["height", "tiles", "chunks"])
def chunk_moments(
    x, parts, height, tiles, chunks,
    C: tl.constexpr, WIDE: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Of a chunk of rows and some channels, the sum, and the squares of what is left of the mean.

    Every row of a tile keeps a mean of what it has met so far, by Welford's method, and all numbers
    are met without the first of the chunk: as good as two passes however large the mean is.

    Args:
        parts: [2, chunks, C] float64.
        tiles: of a chunk.
    """
    BLOCKS: tl.constexpr = (C + COLUMNS - 1) // COLUMNS
    like = tl.float64 if WIDE else tl.float32
    chunk = (tl.program_id(0) // BLOCKS).to(tl.int64)
    column = tl.program_id(0) % BLOCKS * COLUMNS + tl.arange(0, COLUMNS)
    lane = tl.arange(0, ROWS)
    first = tl.load(x + chunk * tiles * ROWS * C + column, mask=column < C, other=0.0).to(like)
    first = tl.where(first - first == 0, first, 0.0)  # an infinite one would make NaN of others
    met = tl.zeros((ROWS,), like)
    total = tl.zeros((ROWS, COLUMNS), like)
    mean = tl.zeros((ROWS, COLUMNS), like)
    square = tl.zeros((ROWS, COLUMNS), like)
    for tile in range(tiles):
        row = (chunk * tiles + tile) * ROWS + lane
        exists = row < height
        inside = exists[:, None] & (column < C)[None, :]
        at = x + row[:, None] * C + column[None, :]
        value = tl.load(at, mask=inside, other=0.0).to(like) - first[None, :]
        value = tl.where(exists[:, None], value, 0.0)
        met += tl.where(exists, 1.0, 0.0).to(like)
        share = 1.0 / tl.where(exists, met, 1.0).to(like)
        apart = tl.where(exists[:, None], value - mean, 0.0)
        total += value
        mean += apart * share[:, None]
        # Nothing where a row does not exist: an infinite mean would make NaN of it.
        square += tl.where(exists[:, None], apart * (value - mean), 0.0)
    # From here on each number is touched once, so float64 costs little even where it is slow.
    met = met.to(tl.float64)
    count, whole = tl.sum(met, 0), tl.sum(total.to(tl.float64), 0)
    off = mean.to(tl.float64) - (whole / count)[None, :]
    squares = tl.sum(square.to(tl.float64) + off * off * met[:, None], 0)
    to = parts + chunk * C + column
    tl.store(to, whole + first * count, mask=column < C)
    tl.store(to + chunks.to(tl.int64) * C, squares, mask=column < C)


@triton.jit(do_not_specialize=["slope", "height", "tiles", "chunks"])
def chunk_dots(
    grad, x, mean, scale, shift, other, gated, parts, slope, height, tiles, chunks,
    C: tl.constexpr, CENTRE: tl.constexpr, OTHER: tl.constexpr, KIND: tl.constexpr,
    WIDE: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Of a chunk of rows and some channels, the sums that `gated_dots` gives.

    Args:
        parts: [2, chunks, C] float64.
        tiles: of a chunk.
        CENTRE: whether there is a mean to subtract.
        OTHER: whether there is an `other`; then `gated` is written.
    """
    BLOCKS: tl.constexpr = (C + COLUMNS - 1) // COLUMNS
    like = tl.float64 if WIDE else tl.float32
    chunk = (tl.program_id(0) // BLOCKS).to(tl.int64)
    column = tl.program_id(0) % BLOCKS * COLUMNS + tl.arange(0, COLUMNS)
    total = tl.zeros((ROWS, COLUMNS), like)
    dot = tl.zeros((ROWS, COLUMNS), like)
    for tile in range(tiles):
        row = (chunk * tiles + tile) * ROWS + tl.arange(0, ROWS)
        inside = (row < height)[:, None] & (column < C)[None, :]
        at = row[:, None] * C + column[None, :]
        value = tl.load(x + at, mask=inside, other=0.0).to(like)
        part = tl.load(grad + at, mask=inside, other=0.0).to(like)
        if KIND != NONE:
            factor, term = vector(scale, column, C, like), vector(shift, column, C, like)
            more = value
            if OTHER:
                more = tl.load(other + at, mask=inside, other=0.0).to(like)
            part = gate(part, scaled(value, factor, term, more, OTHER), slope, KIND)
        if OTHER:
            tl.store(gated + at, part.to(gated.dtype.element_ty), mask=inside)
        if CENTRE:
            value = value - vector(mean, column, C, like)
        total += part
        dot += tl.where(inside, part * value, 0.0)
    to = parts + chunk * C + column
    tl.store(to, tl.sum(total.to(tl.float64), 0), mask=column < C)
    tl.store(to + chunks.to(tl.int64) * C, tl.sum(dot.to(tl.float64), 0), mask=column < C)


@triton.jit(do_not_specialize=["height", "size", "chunks"])
def join_chunks(
    parts, first, second, height, size, chunks,
    C: tl.constexpr, MOMENTS: tl.constexpr, PARTS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Two sums of some channels, or the mean and the variance.

    Args:
        parts: [2, chunks, C] float64.
        first, second: [C].
        height: N.
        size: rows of a chunk.
    """
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    wide = chunks.to(tl.int64) * C
    sums = tl.zeros((PARTS, COLUMNS), tl.float64)
    others = tl.zeros((PARTS, COLUMNS), tl.float64)
    for begin in range(0, chunks, PARTS):
        chunk = begin + tl.arange(0, PARTS)
        inside = (chunk < chunks)[:, None] & (column < C)[None, :]
        at = parts + chunk.to(tl.int64)[:, None] * C + column[None, :]
        sums += tl.load(at, mask=inside, other=0.0)
        others += tl.load(at + wide, mask=inside, other=0.0)
    total, other = tl.sum(sums, 0), tl.sum(others, 0)
    if MOMENTS:
        count = tl.maximum(height, 1).to(tl.float64)
        total = total / count
        apart = tl.zeros((PARTS, COLUMNS), tl.float64)
        for begin in range(0, chunks, PARTS):
            chunk = (begin + tl.arange(0, PARTS)).to(tl.int64)
            inside = (chunk < chunks)[:, None] & (column < C)[None, :]
            at = parts + chunk[:, None] * C + column[None, :]
            rows = tl.minimum(height - chunk * size, size).to(tl.float64)[:, None]
            off = tl.load(at, mask=inside, other=0.0) / rows - total[None, :]
            apart += tl.where(inside, off * off * rows, 0.0)
        other = (other + tl.sum(apart, 0)) / count
    tl.store(first + column, total.to(first.dtype.element_ty), mask=column < C)
    tl.store(second + column, other.to(second.dtype.element_ty), mask=column < C)


@dataclass(frozen=True)
class Chunks:
    """How [N, C] is cut, which depends on nothing else; so last digits are the same on every GPU.

    Args:
        wide: what is computed with.
        height, channels: N and C.
        columns: of a tile.
        rows: of a tile.
        tiles: of a chunk.
        count: of chunks.
    """

    wide: torch.dtype
    height: int
    channels: int
    columns: int
    rows: int
    tiles: int
    count: int

    @classmethod
    def of(cls, x: Tensor) -> "Chunks":
        height, channels = x.shape
        wide = ACCUMULATOR.get(x.dtype, x.dtype)
        columns = columns_of(channels, WIDEST)
        rows = BYTES // wide.itemsize // columns
        most = PROGRAMS // max(1, -(-channels // columns)) or 1
        tiles = max(FEWEST_TILES, -(-height // (rows * most)))
        return cls(wide, height, channels, columns, rows, tiles, -(-height // (rows * tiles)))

    def start(self, kernel, arguments: Sequence[Tensor | int], **constants) -> None:
        """Start `kernel` on every chunk."""
        grid = [self.count * -(-self.channels // self.columns)]
        arguments = [*arguments, self.height, self.tiles, self.count]
        constants |= {"C": self.channels, "ROWS": self.rows, "COLUMNS": self.columns}
        constants["WIDE"] = self.wide == torch.float64
        launch(kernel, grid, arguments, **constants)

    def parts(self, x: Tensor) -> Tensor:
        """Two sums a channel for every chunk, to be filled."""
        return x.new_empty(2, self.count, self.channels, dtype=torch.float64)

    def joined(self, parts: Tensor, moments: bool) -> tuple[Tensor, Tensor]:
        """[C] twice: the sums over all chunks, or the mean and the variance."""
        first, second = (parts.new_empty(self.channels, dtype=self.wide) for _ in range(2))
        launch(
            join_chunks,
            [-(-self.channels // FEW_COLUMNS)],
            [parts, first, second, self.height, self.rows * self.tiles, self.count],
            C=self.channels,
            MOMENTS=moments,
            PARTS=PARTS,
            COLUMNS=FEW_COLUMNS,
        )
        return first, second


def moments_of(x: Tensor) -> tuple[Tensor, Tensor]:
    """[C] twice: what `moments` gives."""
    chunks = Chunks.of(x)
    parts = chunks.parts(x)
    chunks.start(chunk_moments, [x.contiguous(), parts])
    return chunks.joined(parts, moments=True)


def dots_of(
    rows: Sequence[Tensor], vectors: Sequence[Tensor], other: Tensor | None, slope: float
) -> tuple[Tensor, Tensor, Tensor]:
    """What `gated_dots` gives.

    Args:
        rows: grad and x.
        vectors: mean, scale and shift; none for a mean of 0 and a slope of 1.
        other, slope: as there.
    """
    grad, x = (t.contiguous() for t in rows)
    chunks, (kind, bits) = Chunks.of(x), activation(slope)
    parts = chunks.parts(x)
    gated = x.new_empty(0 if other is None else len(x), x.shape[1])
    by = [v.contiguous() for v in vectors] or [x] * 3
    more = x if other is None else other.contiguous()
    arguments = [grad, x, *by, more, gated, parts, bits]
    constants = {"CENTRE": bool(vectors), "OTHER": other is not None, "KIND": kind}
    chunks.start(chunk_dots, arguments, **constants)
    return *chunks.joined(parts, moments=False), gated
