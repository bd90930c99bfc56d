"""Coordinates as sortable int64 keys: survey, pack, sort, make unique, look up, coarsen, dilate.

A key numbers the cells of a box of `upper - lower` cells a sample, row-major, batch first:
`key = ((batch * size_0 + c_0 - lower_0) * size_1 + c_1 - lower_1) * ...`. So rows sorted by key are
sorted by batch, then by the axes from the first to the last, and a neighbour that lies inside the
box is key + constant. `gossamer.coords` makes boxes that fit 63 bits.

`coarsen` and `dilate` answer the two questions a strided kernel asks about sites, both through the
one relation `fine = coarse * stride + offset`.
"""

import torch
from torch import Tensor

from gossamer.ops.dispatch import select
from gossamer.ops.register import new_size, register


def _coords_of(rows: Tensor, columns: int) -> Tensor:
    return rows.new_empty(new_size(), columns)


survey = register(
    "survey(Tensor coords) -> Tensor",
    run=lambda coords: select("keys", coords).survey(coords),
    shape=lambda coords: coords.new_empty(3, coords.shape[1], dtype=torch.int64),
)
"""[3, 1+D] int64: the smallest and the largest number of each column of `coords` [N, 1+D], 0 and -1
without rows; and in every place of the last row 1 if the rows ascend and none repeats, else 0."""

pack = register(
    "pack(Tensor coords, SymInt[] lower, SymInt[] upper) -> Tensor",
    run=lambda coords, *box: select("keys", coords).pack(coords, *box),
    shape=lambda coords, lower, upper: coords.new_empty(coords.shape[0], dtype=torch.int64),
)
"""[N] int64: the key of each row of `coords` [N, 1+D], inside the box [lower, upper)."""

unpack = register(
    "unpack(Tensor keys, SymInt[] lower, SymInt[] upper) -> Tensor",
    run=lambda keys, *box: select("keys", keys).unpack(keys, *box),
    shape=lambda keys, lower, upper: keys.new_empty(
        keys.shape[0], 1 + len(lower), dtype=torch.int32
    ),
)
"""[N, 1+D] int32: the rows that `pack` made `keys` [N] of."""

argsort = register(
    "argsort(Tensor keys) -> Tensor",
    run=lambda keys: select("keys", keys).argsort(keys),
    shape=lambda keys: keys.new_empty(keys.shape[0]),
)
"""[N] int64: the order that sorts `keys` [N], equal ones as they came."""

unique = register(
    "unique(Tensor keys) -> (Tensor, Tensor, Tensor)",
    run=lambda keys: select("keys", keys).unique(keys),
    shape=lambda keys: _unique_shape(keys),
)
"""The sorted distinct keys [U], for each key its row among them [N], and the stable order [N]."""

find = register(
    "find(Tensor keys, Tensor wanted) -> Tensor",
    run=lambda keys, wanted: select("keys", keys).find(keys, wanted),
    shape=lambda keys, wanted: wanted.new_empty(wanted.shape),
)
"""int64 like `wanted`: the row of each wanted key among the sorted `keys` [N], or -1."""

coarsen = register(
    "coarsen(Tensor fine, SymInt[] lower, SymInt[] upper, int[] stride, int[] offsets) -> Tensor",
    run=lambda fine, *rest: select("keys", fine).coarsen(fine, *rest),
    shape=lambda fine, *rest: _coords_of(fine, fine.shape[1]),
)
"""[M, 1+D] int32, sorted, unique: the sites o in [lower, upper) that some fine site is tapped by,
`fine = o * stride + offset`. `offsets` is K x D ints, row-major."""

dilate = register(
    "dilate(Tensor coarse, SymInt[] lower, SymInt[] upper, int[] stride, int[] offsets) -> Tensor",
    run=lambda coarse, *rest: select("keys", coarse).dilate(coarse, *rest),
    shape=lambda coarse, *rest: _coords_of(coarse, coarse.shape[1]),
)
"""[M, 1+D] int32, sorted, unique: the sites `coarse * stride + offset` inside [lower, upper)."""


def _unique_shape(keys: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return keys.new_empty(new_size()), keys.new_empty(keys.shape[0]), keys.new_empty(keys.shape[0])
