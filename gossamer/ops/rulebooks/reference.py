"""Rulebooks in plain PyTorch: look every tap of every site up among sorted keys."""

import torch
from torch import Tensor

from gossamer.ops.dispatch import Problem
from gossamer.ops.keys.capacity import existing
from gossamer.ops.keys.reference import find, pack
from gossamer.ops.rulebooks import TILE, line_group, slots_of, tiles
from gossamer.ops.rulebooks.walk import slot_of_pair

LAYOUT = "pairs"


def refuses(problem: Problem) -> str:
    return ""


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
) -> tuple[Tensor, Tensor, Tensor]:
    fine, coarse = existing(fine, fine_count), existing(coarse, coarse_count)
    ndim = len(stride)
    steps = torch.tensor([1, *stride], device=fine.device)
    shifts = torch.tensor(offsets, device=fine.device).view(-1, 1, ndim)  # [K, 1, D]
    wanted = (coarse.long() * steps).repeat(len(shifts), 1, 1)  # [K, M, 1+D]
    wanted[..., 1:] += shifts
    keys = pack(wanted.flatten(0, 1), lower, upper)
    source = find(pack(fine, lower, upper), keys).view(len(shifts), -1)  # [K, M], -1 is no site
    tap, output = (source >= 0).nonzero(as_tuple=True)
    return tiled(source[tap, output], output, tap, len(shifts), len(coarse))


def transpose(
    inputs: Tensor, outputs: Tensor, starts: Tensor, slots: int, rows: int
) -> tuple[Tensor, Tensor, Tensor]:
    return tiled(outputs, inputs, slot_of_pair(starts, slots), slots, rows)


def tiled(
    inputs: Tensor, outputs: Tensor, slot: Tensor, slots: int, rows: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs in any order, sorted by tile of output row, then slot, then output row."""
    group = outputs.long().div(TILE, rounding_mode="floor") * slots + slot
    order = (group * max(1, rows) + outputs).argsort(stable=True)
    counts = torch.bincount(group, minlength=tiles(rows) * slots)
    starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return inputs[order].int(), outputs[order].int(), starts


def turn(sources: Tensor, rows: int) -> Tensor:
    turned = sources.new_full((sources.shape[0], rows), -1)
    line, output = (sources >= 0).nonzero(as_tuple=True)
    turned[line, sources[line, output].long()] = output.int()
    return turned


def arrange(
    sources: Tensor, groups: int, significance: list[int], count: Tensor | None
) -> list[Tensor]:
    lines, rows = sources.shape
    each, slots = lines // groups, slots_of(rows)
    known = rows if count is None else min(rows, int(count))
    arranged = sources.new_full((lines, slots), -1)
    slot_rows, places = sources.new_full((groups, slots), -1), sources.new_full((groups, rows), -1)
    for order in range(groups):
        first = line_group(order, groups) * each
        mine = sources[first : first + each, :known]
        here = _order(mine, significance[first : first + each])
        if order < groups - 1:
            here = here[(mine >= 0).any(0)[here]]
        arranged[first : first + each, : len(here)] = mine[:, here]
        slot_rows[order, : len(here)] = here.int()
        places[order, here] = torch.arange(len(here), device=here.device).int()
    return [arranged, slot_rows, _masks(arranged, groups), places]


def listed(sources: Tensor) -> list[Tensor]:
    line, output = (sources >= 0).nonzero(as_tuple=True)
    lists = [sources.new_empty(sources.numel()) for _ in range(2)]
    lists[0][: len(line)] = sources[line, output]
    lists[1][: len(line)] = output.int()
    edges = torch.arange(len(sources) + 1, device=sources.device)
    return [*lists, torch.searchsorted(line, edges)]


def _order(mine: Tensor, significance: list[int]) -> Tensor:
    """[M] int64: the rows by their lines, read as a Gray code with the most significant first."""
    order = torch.arange(mine.shape[1], device=mine.device)
    if not significance:
        return order
    ranked = sorted(range(len(significance)), key=significance.__getitem__)  # least first
    bits = (mine[ranked] >= 0).long()
    # A bit of the number is the parity of the bits of its Gray code from there up.
    number = bits.flip(0).cumsum(0).flip(0) % 2
    for bit in number:  # sorted by the least significant first, so the last sort decides
        order = order[bit[order].argsort(stable=True, descending=True)]
    return order


def _masks(arranged: Tensor, groups: int) -> Tensor:
    """[G, W, S/32] int32: the lines that any of 32 slots has."""
    lines, slots = arranged.shape
    each = lines // groups
    met = (arranged >= 0).view(lines, slots // 32, 32).any(2).long()
    masks = met.new_zeros(groups, -(-each // 32), slots // 32)
    for order in range(groups):
        first = line_group(order, groups) * each
        for line in range(each):
            masks[order, line // 32] |= met[first + line] << line % 32
    return torch.where(masks < 1 << 31, masks, masks - (1 << 32)).int()
