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
    "coarsen(Tensor fine, SymInt[] lower, SymInt[] upper, int[] stride, int[] offsets,"
    " SymInt batches) -> Tensor",
    run=lambda fine, *rest: select("keys", fine).coarsen(fine, *rest),
    shape=lambda fine, *rest: _coords_of(fine, fine.shape[1]),
)
"""[M, 1+D] int32, sorted, unique: the sites o in [lower, upper) that some fine site is tapped by,
`fine = o * stride + offset`. `offsets` is K x D ints, row-major; `batches` is B."""

dilate = register(
    "dilate(Tensor coarse, SymInt[] lower, SymInt[] upper, int[] stride, int[] offsets,"
    " SymInt batches) -> Tensor",
    run=lambda coarse, *rest: select("keys", coarse).dilate(coarse, *rest),
    shape=lambda coarse, *rest: _coords_of(coarse, coarse.shape[1]),
)
"""[M, 1+D] int32, sorted, unique: the sites `coarse * stride + offset` inside [lower, upper)."""


def _shape_within(sites: Tensor, *rest) -> tuple[Tensor, Tensor]:
    rows = sites.new_empty(rest[-1], sites.shape[1])
    return rows, sites.new_empty(1, dtype=torch.int64)


_WITHIN = (
    "(Tensor sites, Tensor? count, SymInt[] lower, SymInt[] upper, int[] stride, int[] offsets,"
    " SymInt batches, SymInt capacity) -> (Tensor, Tensor)"
)
coarsen_within = register(
    f"coarsen_within{_WITHIN}",
    run=lambda sites, *rest: select("keys", sites).coarsen_within(sites, *rest),
    shape=_shape_within,
)
"""`coarsen` into memory of a given size, so that the host need not know how many sites there are.

Args:
    sites: [N, 1+D] int32.
    count: [1] int64, how many of the rows exist; None for all.
    capacity: how many rows the result has.

Returns:
    [capacity, 1+D] int32, zeros behind the last site; [1] int64, how many sites there are. Those
    that found no place are the last ones.
"""

dilate_within = register(
    f"dilate_within{_WITHIN}",
    run=lambda sites, *rest: select("keys", sites).dilate_within(sites, *rest),
    shape=_shape_within,
)
"""`dilate` into memory of a given size; arguments and results as in `coarsen_within`."""


def _unique_shape(keys: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return keys.new_empty(new_size()), keys.new_empty(keys.shape[0]), keys.new_empty(keys.shape[0])
