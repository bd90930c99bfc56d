"""Keys on a GPU: bitmaps and sorted keys; the host waits only where a size is asked for."""

import torch
from torch import Tensor

from gossamer.ops.dispatch import Problem
from gossamer.ops.keys.gpu.firsts import count_firsts, rank_firsts
from gossamer.ops.keys.gpu.pack import found, packed, unpacked
from gossamer.ops.keys.gpu.reach import Relation, reached
from gossamer.ops.keys.gpu.survey import surveyed
from gossamer.ops.launch import unusable


def refuses(problem: Problem) -> str:
    return unusable(problem.device, problem.index)


def survey(coords: Tensor) -> Tensor:
    if len(coords):
        return surveyed(coords.contiguous())
    out = coords.new_zeros(3, coords.shape[1], dtype=torch.int64)
    out[1], out[2] = -1, 1
    return out


def pack(coords: Tensor, lower: list[int], upper: list[int]) -> Tensor:
    return packed(coords.contiguous(), None, (lower, upper), torch.int64)


def unpack(keys: Tensor, lower: list[int], upper: list[int]) -> Tensor:
    return unpacked(keys.contiguous(), None, (lower, upper), len(lower))


def argsort(keys: Tensor) -> Tensor:
    return keys.argsort(stable=True)


def unique(keys: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    ordered, order = keys.sort(stable=True)
    ends = count_firsts(ordered, open_end=False)
    number = int(ends[-1]) if len(keys) else 0
    return *rank_firsts(ordered, order, ends, number), order


def find(keys: Tensor, wanted: Tensor) -> Tensor:
    return found(keys.contiguous(), wanted)


def coarsen(
    fine: Tensor,
    lower: list[int],
    upper: list[int],
    stride: list[int],
    offsets: list[int],
    batches: int = 0,
) -> Tensor:
    relation = _relation(lower, upper, stride, offsets, upward=False)
    return _all(fine, relation, batches)


def dilate(
    coarse: Tensor,
    lower: list[int],
    upper: list[int],
    stride: list[int],
    offsets: list[int],
    batches: int = 0,
) -> Tensor:
    relation = _relation(lower, upper, stride, offsets, upward=True)
    return _all(coarse, relation, batches)


def coarsen_within(
    sites: Tensor,
    count: Tensor | None,
    lower: list[int],
    upper: list[int],
    stride: list[int],
    offsets: list[int],
    batches: int,
    capacity: int,
) -> tuple[Tensor, Tensor]:
    relation = _relation(lower, upper, stride, offsets, upward=False)
    return _within(sites, count, relation, batches, capacity)


def dilate_within(
    sites: Tensor,
    count: Tensor | None,
    lower: list[int],
    upper: list[int],
    stride: list[int],
    offsets: list[int],
    batches: int,
    capacity: int,
) -> tuple[Tensor, Tensor]:
    relation = _relation(lower, upper, stride, offsets, upward=True)
    return _within(sites, count, relation, batches, capacity)


def _relation(
    lower: list[int], upper: list[int], stride: list[int], offsets: list[int], upward: bool
) -> Relation:
    return Relation(tuple(lower), tuple(upper), tuple(stride), tuple(offsets), upward)


def _all(sites: Tensor, relation: Relation, batches: int) -> Tensor:
    sites = sites.contiguous()
    there = reached(sites, None, relation, batches)
    return there.rows(int(there.found), None)


def _within(
    sites: Tensor, count: Tensor | None, relation: Relation, batches: int, capacity: int
) -> tuple[Tensor, Tensor]:
    there = reached(sites.contiguous(), count, relation, batches)
    # A copy: what is found is kept, and what it was found with is not.
    number = there.found.clone()
    return there.rows(capacity, number), number
