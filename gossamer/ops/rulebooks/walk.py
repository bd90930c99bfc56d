"""Either layout of a rulebook read tap by tap, in plain PyTorch."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from gossamer.ops.rulebooks import is_table, line_group


def by_tap(lists: Sequence[Tensor]) -> Iterator[tuple[int, Tensor, Tensor]]:
    """(tap, input rows [P] int64, output rows [P] int64) of every slot or line.

    Output rows ascend; those of a table come by tap.
    """
    yield from _lines(lists) if is_table(lists) else _slots(lists)


def slot_of_pair(starts: Tensor, slots: int) -> Tensor:
    """[P] int64: the slot that each pair stands in."""
    groups = torch.arange(len(starts) - 1, device=starts.device)
    return groups.repeat_interleave(starts.diff()) % slots


def tap_of_line(taps: Tensor, lines: int) -> Tensor:
    """[K] int64: the tap of each line of a table, which `taps` tells in one of three ways."""
    if len(taps) == lines > 1:
        return taps
    line = torch.arange(lines, device=taps.device)
    return taps - line if len(taps) else line


def _slots(lists: Sequence[Tensor]) -> Iterator[tuple[int, Tensor, Tensor]]:
    inputs, outputs, starts, taps = lists
    slot = slot_of_pair(starts, len(taps))
    for j, tap in enumerate(taps.tolist()):
        mine = slot == j
        yield tap, inputs[mine].long(), outputs[mine].long()


def _lines(lists: Sequence[Tensor]) -> Iterator[tuple[int, Tensor, Tensor]]:
    sources, rows, _, _, taps, *_ = lists
    lines, groups = len(sources), len(rows)
    order_of = {line_group(g, groups): g for g in range(groups)}
    tap = tap_of_line(taps, lines)
    for line in tap.argsort().tolist():
        target = rows[order_of[line * groups // max(1, lines)]]
        met = sources[line] >= 0
        source, target = sources[line][met].long(), target[met].long()
        order = target.argsort()
        yield int(tap[line]), source[order], target[order]
