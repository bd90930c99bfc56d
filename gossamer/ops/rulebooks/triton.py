"""Rulebooks on a GPU: tables, looked up, turned and put in order without a word from the host."""

import torch
from torch import Tensor

from gossamer.ops.dispatch import Problem
from gossamer.ops.launch import MOST_PROGRAMS, unusable
from gossamer.ops.rulebooks import TILE, tiles
from gossamer.ops.rulebooks.gpu.lists import pairs_of, turned
from gossamer.ops.rulebooks.gpu.match import Sites, matched
from gossamer.ops.rulebooks.gpu.order import ordered

LAYOUT = "table"


def refuses(problem: Problem) -> str:
    return unusable(problem.device, problem.index)


def match(
    fine: Tensor,
    coarse: Tensor,
    lower: list[int],
    upper: list[int],
    stride: list[int],
    offsets: list[int],
    batches: int = 0,
    fine_count: Tensor | None = None,
    coarse_count: Tensor | None = None,
) -> list[Tensor]:
    taps = len(offsets) // len(stride)
    if taps > MOST_PROGRAMS:
        raise ValueError(
            f"the kernel has {taps} taps; a GPU takes at most {MOST_PROGRAMS}; use a smaller one, "
            'or gossamer.use_backend("reference")'
        )
    sites = Sites(fine.contiguous(), fine_count), Sites(coarse.contiguous(), coarse_count)
    return [matched(*sites, (lower, upper), stride, offsets, batches)]


def turn(sources: Tensor, rows: int) -> Tensor:
    return turned(sources.contiguous(), rows)


def arrange(
    sources: Tensor, groups: int, significance: list[int], count: Tensor | None = None
) -> list[Tensor]:
    return ordered(sources.contiguous(), groups, tuple(significance), count)


def listed(sources: Tensor) -> list[Tensor]:
    return pairs_of(sources.contiguous())


def transpose(
    inputs: Tensor, outputs: Tensor, starts: Tensor, slots: int, rows: int
) -> tuple[Tensor, Tensor, Tensor]:
    pair = torch.arange(len(inputs), device=inputs.device)
    slot = (torch.searchsorted(starts, pair, right=True) - 1) % slots
    group = inputs.long().div(TILE, rounding_mode="floor") * slots + slot
    order = (group * max(1, rows) + inputs).argsort(stable=True)
    groups = torch.arange(tiles(rows) * slots + 1, device=inputs.device)
    # A search rather than a count: the host would wait for the largest group.
    return outputs[order], inputs[order], torch.searchsorted(group[order], groups)
