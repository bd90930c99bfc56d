"""Which input row feeds which output row through which tap, in one of two layouts.

A rulebook in one direction is a list of tensors; its length tells the layouts apart.

Pairs, what a CPU walks and what can hold a pair several times:

    inputs   [P] int32   the row that is read
    outputs  [P] int32   the row that is written
    starts   [T*K+1] int64   the pairs of tile t and slot j are starts[t*K+j] : starts[t*K+j+1]
    taps     [K] int64   the tap, so the weight, of each slot

A tile is TILE output rows; inside a slot pairs are sorted by output row.

Table, what a GPU walks: a line of sources for each of K taps, M output rows in G orders. A slot is
a place in an order; there are S of them, M rounded up to a multiple of SLOTS.

    sources  [K, S] int32     the row that each slot reads through each line, -1 for none
    rows     [G, S] int32     the output row of each slot, -1 for a slot without one
    masks    [G, W, S/32] int32   bit b of word w: one of 32 slots has line 32 w + b of its group
    places   [G, M] int32     the slot of each output row, -1 where it has none
    taps     int64: [0] line k is tap k, [1] it is tap taps[0] - k, [K] it is tap taps[k]
    inputs, outputs  [K*M] int32, starts [K+1] int64   the pairs of line k are
             starts[k] : starts[k+1], those of an output row before those of the next; [0] where no
             gradient of a weight will be asked for

The lines fall into G groups of K/G successive ones. Order g has the lines of group
(g + G//2 + 1) % G, so the middle group comes last. The last order has a slot for every output row,
the others for those that have one of their lines; `line_group` is the arithmetic. Slots are sorted
by mask, heavy ones first, see `arrange`.

All kinds of convolution come from the one relation `fine = coarse * stride + offset`: regular and
submanifold ones read the fine site and write the coarse one, transposed and inverse ones the other
way round.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from gossamer.ops.dispatch import select
from gossamer.ops.register import new_size, register

# Small enough that the rows a tile writes stay in the L2 cache at 128 channels of float32, large
# enough that a slot of a typical scan has tens of pairs.
TILE = 512


def tiles(rows: int) -> int:
    """How many tiles `rows` output rows make."""
    return (rows + TILE - 1) // TILE


def _shape(index: Tensor, rows: int, slots: int) -> tuple[Tensor, Tensor, Tensor]:
    pairs = new_size()
    return (
        index.new_empty(pairs, dtype=torch.int32),
        index.new_empty(pairs, dtype=torch.int32),
        index.new_empty(tiles(rows) * slots + 1, dtype=torch.int64),
    )


PAIRS, TABLE = 4, 8
"""How many tensors each layout has."""

SLOTS = 256
"""The largest tile of rows; tables are padded to a multiple of it."""


def is_table(lists: Sequence[Tensor]) -> bool:
    """Whether a rulebook in one direction is a table."""
    return len(lists) == TABLE


def taps_of(lists: Sequence[Tensor]) -> int:
    """K."""
    return lists[0].shape[0] if is_table(lists) else lists[3].shape[0]


def line_group(order: int, groups: int) -> int:
    """The group of lines that an order has; the middle one is the last."""
    return (order + groups // 2 + 1) % groups


def makes_tables(x: Tensor) -> bool:
    """Whether rulebooks of what lies where `x` does are tables."""
    return select("rulebooks", x).LAYOUT == "table"


def _shape_of_match(fine: Tensor, coarse: Tensor, lower, upper, stride, offsets, *rest):
    slots = len(offsets) // len(stride)
    if makes_tables(fine):
        return [coarse.new_empty(slots, coarse.shape[0], dtype=torch.int32)]
    return list(_shape(fine, coarse.shape[0], slots))


match = register(
    "match(Tensor fine, Tensor coarse, SymInt[] lower, SymInt[] upper, int[] stride, int[] offsets,"
    " SymInt batches, Tensor? fine_count, Tensor? coarse_count) -> Tensor[]",
    run=lambda fine, *rest: list(select("rulebooks", fine).match(fine, *rest)),
    shape=_shape_of_match,
)
"""The pairs (fine row, coarse row) with `fine = coarse * stride + offset`.

Args:
    fine: [N, 1+D] int32, sorted by key, unique.
    coarse: [M, 1+D] int32, sorted by key, unique; `fine` itself for a submanifold kernel.
    lower, upper: a box that holds every fine site and every site that a tap can look at.
    stride: D ints.
    offsets: K x D ints, row-major.
    batches: how many samples there are.
    fine_count, coarse_count: [1] int64, how many of the rows exist; None for all.

Returns:
    inputs (fine rows), outputs (coarse rows), starts, where slot j is tap j; or, from a backend
    that makes tables, one [K, M] int32: the fine row of each coarse row through each tap, or -1.
"""

transpose = register(
    "transpose(Tensor inputs, Tensor outputs, Tensor starts, int slots, SymInt rows)"
    " -> (Tensor, Tensor, Tensor)",
    run=lambda inputs, *rest: select("rulebooks", inputs).transpose(inputs, *rest),
    shape=lambda inputs, outputs, starts, slots, rows: (
        torch.empty_like(inputs),
        torch.empty_like(outputs),
        starts.new_empty(tiles(rows) * slots + 1),
    ),
)
"""Pairs read backwards: inputs and outputs exchanged, tiled by what was an input row.

Args:
    inputs, outputs, starts: the pairs.
    slots: K.
    rows: how many input rows there are, which become output rows.
"""

turn = register(
    "turn(Tensor sources, SymInt rows) -> Tensor",
    run=lambda sources, rows: select("rulebooks", sources).turn(sources, rows),
    shape=lambda sources, rows: sources.new_empty(sources.shape[0], rows),
)
"""[K, N] int32: a table read backwards, where `turned[k, sources[k, m]] = m`, -1 elsewhere.

Args:
    sources: [K, M] int32, in each line no row twice.
    rows: N.
"""


def slots_of(rows: int) -> int:
    """S, how many slots a table of `rows` output rows has."""
    return (rows + SLOTS - 1) // SLOTS * SLOTS


def _shape_of_arrange(sources: Tensor, groups: int, significance, count) -> list[Tensor]:
    lines, rows = sources.shape
    slots, words = slots_of(rows), -(-(lines // groups) // 32)
    shapes = [(lines, slots), (groups, slots), (groups, words, slots // 32), (groups, rows)]
    return [sources.new_empty(shape) for shape in shapes]


arrange = register(
    "arrange(Tensor sources, int groups, int[] significance, Tensor? count) -> Tensor[]",
    run=lambda sources, *rest: list(select("rulebooks", sources).arrange(sources, *rest)),
    shape=_shape_of_arrange,
)
"""A table in order: sources [K, S], rows [G, S], masks [G, W, S/32], places [G, M].

Args:
    sources: [K, M] int32, as `match` gives them.
    groups: G, a divisor of K.
    significance: K ints, the rank of each line in the mask that rows are sorted by. The mask is
        read as a Gray code, and the largest number comes first. [] leaves rows where they are.
    count: [1] int64, how many of the rows exist; None for all.
"""

listed = register(
    "listed(Tensor sources) -> Tensor[]",
    run=lambda sources: list(select("rulebooks", sources).listed(sources)),
    shape=lambda sources: [
        sources.new_empty(sources.numel()),
        sources.new_empty(sources.numel()),
        sources.new_empty(sources.shape[0] + 1, dtype=torch.int64),
    ],
)
"""The pairs of each line of `sources` [K, M], by output row: inputs, outputs [K*M], starts [K+1].

What lies behind the last start is not set.
"""
