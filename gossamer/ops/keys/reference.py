"""Keys in plain PyTorch: the definition."""

import torch
from torch import Tensor

from gossamer.ops.dispatch import Problem
from gossamer.ops.keys.capacity import existing, padded


def refuses(problem: Problem) -> str:
    return ""


def survey(coords: Tensor) -> Tensor:
    rows = coords.long()
    if not len(rows):
        return rows.new_tensor([[0], [-1], [1]]).expand(3, rows.shape[1]).clone()
    steps = rows.diff(dim=0)
    # The first column that changes from one row to the next decides which of them comes first.
    first = (steps != 0).int().argmax(1, keepdim=True)
    ascending = (steps.gather(1, first) > 0).all().long()
    return torch.stack([rows.amin(0), rows.amax(0), ascending.expand(rows.shape[1])])


def pack(coords: Tensor, lower: list[int], upper: list[int]) -> Tensor:
    key = coords[:, 0].long()
    for axis, (low, high) in enumerate(zip(lower, upper, strict=True), start=1):
        key = key * (high - low) + (coords[:, axis].long() - low)
    return key.clone()


def unpack(keys: Tensor, lower: list[int], upper: list[int]) -> Tensor:
    columns = []
    for low, high in zip(reversed(lower), reversed(upper), strict=True):
        columns.append(keys % (high - low) + low)
        keys = keys.div(high - low, rounding_mode="floor")
    return torch.stack([keys, *reversed(columns)], dim=1).int()


def argsort(keys: Tensor) -> Tensor:
    return keys.argsort(stable=True)


def unique(keys: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    distinct, row = torch.unique(keys, return_inverse=True)
    return distinct, row, argsort(keys)


def find(keys: Tensor, wanted: Tensor) -> Tensor:
    if not len(keys):
        return torch.full_like(wanted, -1)
    row = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
    return torch.where(keys[row] == wanted, row, -1)


def coarsen(
    fine: Tensor,
    lower: list[int],
    upper: list[int],
    stride: list[int],
    offsets: list[int],
    batches: int = 0,
) -> Tensor:
    candidates = []
    for offset in _rows(offsets, fine):
        shifted = fine[:, 1:].long() - offset
        steps = fine.new_tensor(stride, dtype=torch.int64)
        coarse = shifted.div(steps, rounding_mode="floor")
        hit = (coarse * steps == shifted).all(1)
        candidates.append(torch.cat([fine[hit, :1].long(), coarse[hit]], dim=1))
    return _unique_inside(torch.cat(candidates), lower, upper)


def dilate(
    coarse: Tensor,
    lower: list[int],
    upper: list[int],
    stride: list[int],
    offsets: list[int],
    batches: int = 0,
) -> Tensor:
    steps = coarse.new_tensor(stride, dtype=torch.int64)
    reached = coarse[:, 1:].long() * steps + _rows(offsets, coarse)[:, None]  # [K, N, D]
    batch = coarse[:, :1].long().expand(*reached.shape[:2], 1)
    return _unique_inside(torch.cat([batch, reached], dim=2).flatten(0, 1), lower, upper)


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
    return padded(coarsen(existing(sites, count), lower, upper, stride, offsets), capacity)


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
    return padded(dilate(existing(sites, count), lower, upper, stride, offsets), capacity)


def _rows(offsets: list[int], like: Tensor) -> Tensor:
    return torch.tensor(offsets, device=like.device).view(-1, like.shape[1] - 1)  # [K, D]


def _unique_inside(coords: Tensor, lower: list[int], upper: list[int]) -> Tensor:
    inside = (coords[:, 1:] >= coords.new_tensor(lower)) & (
        coords[:, 1:] < coords.new_tensor(upper)
    )
    keys = pack(coords[inside.all(1)], lower, upper)
    return unpack(keys.unique(), lower, upper)
