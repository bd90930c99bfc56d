"""Rulebooks in plain PyTorch: look every tap of every site up among sorted keys."""

import torch
from torch import Tensor

from gossamer.ops.dispatch import Problem
from gossamer.ops.keys.reference import find, pack
from gossamer.ops.rulebooks import TILE, tiles


def refuses(problem: Problem) -> str:
    return ""


def match(
    fine: Tensor,
    coarse: Tensor,
    lower: list[int],
    upper: list[int],
    stride: list[int],
    offsets: list[int],
) -> tuple[Tensor, Tensor, Tensor]:
    ndim = len(stride)
    steps = torch.tensor([1, *stride], device=fine.device)
    shifts = torch.tensor(offsets, device=fine.device).view(-1, 1, ndim)  # [K, 1, D]
    wanted = (coarse.long() * steps).repeat(len(shifts), 1, 1)  # [K, M, 1+D]
    wanted[..., 1:] += shifts
    keys = pack(wanted.flatten(0, 1), lower, upper)
    source = find(pack(fine, lower, upper), keys).view(len(shifts), -1)  # [K, M], -1 is no site
    tap, output = (source >= 0).nonzero(as_tuple=True)
    return arrange(source[tap, output], output, tap, len(shifts), len(coarse))


def transpose(
    inputs: Tensor, outputs: Tensor, starts: Tensor, slots: int, rows: int
) -> tuple[Tensor, Tensor, Tensor]:
    return arrange(outputs, inputs, slot_of_pair(starts, slots), slots, rows)


def arrange(
    inputs: Tensor, outputs: Tensor, slot: Tensor, slots: int, rows: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs in any order, sorted by tile of output row, then slot, then output row."""
    group = outputs.long().div(TILE, rounding_mode="floor") * slots + slot
    order = (group * max(1, rows) + outputs).argsort(stable=True)
    counts = torch.bincount(group, minlength=tiles(rows) * slots)
    starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return inputs[order].int(), outputs[order].int(), starts


def slot_of_pair(starts: Tensor, slots: int) -> Tensor:
    """[P] int64: the slot that each pair stands in."""
    groups = torch.arange(len(starts) - 1, device=starts.device)
    return groups.repeat_interleave(starts.diff()) % slots
