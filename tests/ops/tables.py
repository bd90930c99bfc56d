"""Tables of a rulebook for tests, written out row by row and in no clever order."""

import torch
from torch import Tensor

from gossamer.ops.rulebooks import line_group, slots_of

POISON = torch.iinfo(torch.int32).min // 2


def random_sources(lines: int, rows: int, inputs: int, density: float, seed: int = 0) -> Tensor:
    """[K, M] int32: in each line no input row twice, -1 where there is none."""
    dice = torch.Generator().manual_seed(seed)
    sources = torch.full((lines, rows), -1, dtype=torch.int32)
    for line in sources:
        here = (torch.rand(rows, generator=dice) < density).nonzero()[:inputs, 0]
        line[here] = torch.randperm(inputs, generator=dice)[: len(here)].int()
    return sources


def table(
    sources: Tensor,
    orders: int = 1,
    taps: list[int] | None = None,
    *,
    count: int | None = None,
    seed: int = 0,
) -> list[Tensor]:
    """The eight tensors.

    Args:
        sources: [K, M] int32.
        orders: G.
        taps: as the contract has them.
        count: how many of the rows exist.
        seed: of the order of slots.
    """
    lines, rows = sources.shape
    if count is not None:
        sources = sources.clone()
        sources[:, count:] = -1
    slots, each = slots_of(rows), lines // orders
    arranged = torch.full((lines, slots), -1, dtype=torch.int32)
    slot_rows = torch.full((orders, slots), -1, dtype=torch.int32)
    places = torch.full((orders, rows), -1, dtype=torch.int32)
    masks = torch.zeros(orders, -(-each // 32), slots // 32, dtype=torch.int64)
    dice = torch.Generator().manual_seed(seed)
    for order in range(orders):
        first = line_group(order, orders) * each
        mine = sources[first : first + each]
        known = torch.arange(rows if count is None else count)
        if order < orders - 1:
            known = (mine >= 0).any(0).nonzero()[:, 0]
        known = known[torch.randperm(len(known), generator=dice)]
        slot_rows[order, : len(known)] = known.int()
        places[order, known] = torch.arange(len(known)).int()
        arranged[first : first + each, : len(known)] = mine[:, known]
        for line, slot in (arranged[first : first + each] >= 0).nonzero().tolist():
            masks[order, line // 32, slot // 32] |= 1 << line % 32
    words = torch.where(masks < 1 << 31, masks, masks - (1 << 32)).int()
    named = torch.tensor(taps or [], dtype=torch.int64)
    return [arranged, slot_rows, words, places, named, *pairs(sources)]


def pairs(sources: Tensor) -> list[Tensor]:
    """Inputs, outputs and starts of a table; what lies behind the last pair is poison."""
    found = [line.ge(0).nonzero()[:, 0] for line in sources]
    lengths = torch.tensor([0, *map(len, found)])
    inputs = torch.full((sources.numel(),), POISON, dtype=torch.int32)
    outputs = inputs.clone()
    if found:
        inputs[: lengths.sum()] = torch.cat(
            [row[at] for row, at in zip(sources, found, strict=True)]
        )
        outputs[: lengths.sum()] = torch.cat(found).int()
    return [inputs, outputs, lengths.cumsum(0)]


def tap(taps: list[int] | None, line: int) -> int:
    """The tap of a line."""
    if not taps:
        return line
    return taps[0] - line if len(taps) == 1 else taps[line]
