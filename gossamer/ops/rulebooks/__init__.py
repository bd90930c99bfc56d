"""Which input row feeds which output row through which tap, as lists of pairs.

The pairs of a rulebook are four tensors, in the order in which a CPU walks them:

    inputs   [P] int32   the row that is read
    outputs  [P] int32   the row that is written
    starts   [T*K+1] int64   the pairs of tile t and slot j are starts[t*K+j] : starts[t*K+j+1]
    taps     [K] int64   the tap, so the weight, of each slot

A tile is TILE output rows; inside a slot pairs are sorted by output row. All kinds of convolution
come from the one relation `fine = coarse * stride + offset`: regular and submanifold ones read the
fine site and write the coarse one, transposed and inverse ones the other way round.
"""

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


match = register(
    "match(Tensor fine, Tensor coarse, SymInt[] lower, SymInt[] upper, int[] stride, int[] offsets)"
    " -> (Tensor, Tensor, Tensor)",
    run=lambda fine, *rest: select("rulebooks", fine).match(fine, *rest),
    shape=lambda fine, coarse, lower, upper, stride, offsets: _shape(
        fine, coarse.shape[0], len(offsets) // len(stride)
    ),
)
"""The pairs (fine row, coarse row) with `fine = coarse * stride + offset`, tiled by coarse row.

Args:
    fine: [N, 1+D] int32, sorted by key, unique.
    coarse: [M, 1+D] int32, sorted by key, unique; `fine` itself for a submanifold kernel.
    lower, upper: a box that holds every fine site and every site that a tap can look at.
    stride: D ints.
    offsets: K x D ints, row-major.

Returns:
    inputs (fine rows), outputs (coarse rows), starts; slot j is tap j.
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
"""The same pairs read backwards: inputs and outputs exchanged, tiled by what was an input row.

Args:
    inputs, outputs, starts: the pairs.
    slots: K.
    rows: how many input rows there are, which become output rows.
"""
