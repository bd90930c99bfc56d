"""The search for the fastest choice: from the present one, always to its best neighbour."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from gossamer.ops.plans import DATAFLOWS, Choice, Demand, Tile, use
from gossamer.tuning.recording import Call, Problem
from gossamer.tuning.timing import Clock

STEPS = 3  # to a better neighbour, at most
GAIN = 0.98  # of the time; what is less than this better may be noise
IMPOSSIBLE = float("inf")
LIMITS = (1, 2, 4)  # work items that all taps of a kernel make
WIDTHS, ROWS, CHANNELS, WARPS = (16, 256), (16, 256), (16, 128), (4, 8)
STAGES = (2, 3, 4, 5, 7)
PARTS = (8, 2048)


class Search:
    """Finds the fastest choices for the problems of a network.

    Args:
        clock: measures a call.
        problems: what the network poses.
    """

    def __init__(self, clock: Clock, problems: Sequence[Problem]):
        self.clock, self.problems = clock, problems
        self.dataflows = {each.flow_name: each.choice.dataflow for each in problems}
        self._times: dict[tuple[str, Choice], float] = {}

    def choose_dataflows(self) -> None:
        """Settle the dataflow of each kind of layer, for all its problems together."""
        totals: dict[str, dict[str, float]] = defaultdict(lambda: dict.fromkeys(DATAFLOWS, 0.0))
        for problem in self.problems:
            if problem.demand.op != "conv":
                continue
            for flow in DATAFLOWS:
                time = self.time(problem, replace(problem.choice, dataflow=flow))
                totals[problem.flow_name][flow] += problem.count * time
        for name, times in totals.items():
            best = min(times, key=lambda flow: times[flow])
            if times[best] < GAIN * times[self.dataflows[name]]:
                self.dataflows[name] = best

    def best(self, problem: Problem) -> tuple[Choice, float]:
        """The best choice that was found in the dataflow that was settled, and its milliseconds."""
        choice = replace(problem.choice, dataflow=self.dataflows[problem.flow_name])
        least = self.time(problem, choice)
        for _ in range(STEPS):
            times = {each: self.time(problem, each) for each in neighbours(problem.demand, choice)}
            found = min(times, key=lambda each: times[each], default=choice)
            if times.get(found, IMPOSSIBLE) >= GAIN * least:
                break
            choice, least = found, times[found]
        return choice, least

    def time(self, problem: Problem, choice: Choice) -> float:
        """Milliseconds of the calls that posed a problem, on average; measured once."""
        key = problem.name, choice
        if key not in self._times:
            calls = problem.calls[choice.dataflow]
            self._times[key] = sum(self._call(problem, c, choice) for c in calls) / len(calls)
        return self._times[key]

    def tried(self, problem: Problem) -> int:
        """How many choices were measured for a problem."""
        return sum(name == problem.name for name, _ in self._times)

    def _call(self, problem: Problem, call: Call, choice: Choice) -> float:
        from triton import TritonError

        demand = problem.demand
        x = _values(demand, call.rows, call.groups * demand.inputs, self.clock.device)
        if demand.op == "conv":
            shape = demand.taps, demand.inputs, call.groups * demand.outputs
            weight = x.new_zeros(shape)
            op = torch.ops.gossamer.conv.default
            run = partial(op, x, weight, call.lists, [], call.outputs, call.groups)
        else:
            grad = _values(demand, call.outputs, call.groups * demand.outputs, x.device)
            op = torch.ops.gossamer.conv_weight_grad.default
            run = partial(op, x, grad, call.lists, [], call.groups)
        with torch.no_grad(), use(lambda _demand, _choice: choice):
            try:
                # Compiles, where it was not; a choice may not fit this GPU.
                run()
                return self.clock(run)
            except (TritonError, RuntimeError):
                # What is chosen now has run before, so then something else is wrong.
                if choice == problem.choice:
                    raise
                return IMPOSSIBLE


def _values(demand: Demand, rows: int, channels: int, device: torch.device) -> Tensor:
    # Zeros take less power to multiply than numbers, and a GPU that is cool is faster.
    generator = torch.Generator(device).manual_seed(0)
    shape = rows, channels
    return torch.randn(shape, dtype=demand.dtype, device=device, generator=generator)


def neighbours(demand: Demand, choice: Choice) -> Iterator[Choice]:
    """Choices that differ in one thing.

    Args:
        demand: what is computed.
        choice: where to start from.
    """
    tile = choice.tile
    for changed in _tiles(demand, tile):
        yield replace(choice, tile=changed)
    if demand.op == "weight_grad":
        for parts in (choice.parts // 2, choice.parts * 2):
            if PARTS[0] <= parts <= PARTS[1]:
                yield replace(choice, parts=parts)
    elif choice.dataflow != "planes":
        limits = {0 if pieces == 1 else -(-demand.taps // pieces) for pieces in LIMITS}
        for limit in sorted(limits - {choice.limit}):
            yield replace(choice, limit=limit)


def _tiles(demand: Demand, tile: Tile) -> Iterator[Tile]:
    for name, (least, most), there in (
        ("rows", ROWS, None),
        ("columns", WIDTHS, demand.outputs),
        ("channels", CHANNELS, demand.inputs),
    ):
        size = getattr(tile, name)
        for other in (size // 2, size * 2):
            # A tile of twice the channels that there are would be half empty.
            if least <= other <= most and (there is None or other < 2 * max(least, there)):
                yield replace(tile, **{name: other})
    for warps in WARPS:
        if warps != tile.warps:
            yield replace(tile, warps=warps)
    at = STAGES.index(tile.stages) if tile.stages in STAGES else 0
    for other in (at - 1, at + 1):
        if 0 <= other < len(STAGES):
            yield replace(tile, stages=STAGES[other])
