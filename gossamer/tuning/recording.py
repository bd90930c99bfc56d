"""Which problems a network poses: the convolutions it calls while it runs, by their size."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from gossamer.ops.plans import DATAFLOWS, Choice, Demand, architecture, choose, store, use
from gossamer.ops.rulebooks import is_table

SAMPLES = 3  # calls of a problem that are measured, because layers of one size differ
TUNED = (torch.float16, torch.bfloat16, torch.float32)


@dataclass(frozen=True, eq=False)
class Call:
    """One call of an op, without its features, which take no part in how long it takes.

    Args:
        rows: of the features that are read.
        outputs: rows that are written; of a weight gradient, those of the other factor.
        groups: how many parts the channels fall into.
        lists: the rulebook.
    """

    rows: int
    outputs: int
    groups: int
    lists: Sequence[Tensor]


@dataclass(frozen=True, eq=False)
class Problem:
    """What a choice is made for.

    Args:
        demand: what is computed.
        scale: of its rows.
        choice: what is chosen now.
        calls: by the dataflow of their lists, some of those that posed it.
        count: how many posed it.
    """

    demand: Demand
    scale: int
    choice: Choice
    calls: dict[str, list[Call]]
    count: int

    @property
    def name(self) -> str:
        """What it is called in the file of measured choices."""
        return store.name(self.demand, self.choice.precision, self.scale)

    @property
    def flow_name(self) -> str:
        """What its dataflow is called there."""
        return store.flow_name(self.demand, self.choice.precision)


class Recorder(TorchDispatchMode):
    """Inside its block, notes every call of a convolution over a table."""

    def __init__(self):
        super().__init__()
        self.calls: dict[tuple[Demand, int], list[Call]] = {}
        ops = torch.ops.gossamer
        self.kinds = {
            ops.conv.default: _conv,
            ops.conv_fused.default: _conv_fused,
            ops.conv_weight_grad.default: _weight_grad,
        }

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kind = self.kinds.get(func)
        if kind is not None:
            demand, call = kind(*args)
            alone = call.groups > 1 and demand.inputs == 1
            if is_table(call.lists) and demand.dtype in TUNED and not alone:
                self.calls.setdefault((demand, store.scale(call.outputs)), []).append(call)
        return func(*args, **(kwargs or {}))


def _conv(x: Tensor, weight: Tensor, lists, _back, rows: int, groups: int) -> tuple[Demand, Call]:
    taps, inputs, outputs = weight.shape
    demand = Demand("conv", architecture(x.device), x.dtype, inputs, outputs // groups, taps)
    return demand, Call(x.shape[0], rows, groups, lists)


def _conv_fused(x: Tensor, weight: Tensor, lists, rows: int, groups: int, *_epilogue):
    return _conv(x, weight, lists, (), rows, groups)


def _weight_grad(x: Tensor, grad: Tensor, lists, _back, groups: int) -> tuple[Demand, Call]:
    widths = x.shape[1] // groups, grad.shape[1] // groups
    demand = Demand("weight_grad", architecture(x.device), x.dtype, *widths, lists[0].shape[0])
    return demand, Call(x.shape[0], grad.shape[0], groups, lists)


def record(model: nn.Module, batches: Sequence[Any], training: bool) -> list[Problem]:
    """The problems of a model, once with the rulebooks of each dataflow.

    Args:
        model: may be changed.
        batches: what it is called with.
        training: whether it runs backwards too.
    """
    runs = {flow: _run(model, batches, training, flow) for flow in DATAFLOWS}
    problems = []
    for (demand, scale), calls in runs["sorted"].items():
        of_flow = {flow: run[demand, scale][:SAMPLES] for flow, run in runs.items()}
        choice = choose(demand, 1 << scale >> 1)
        problems.append(Problem(demand, scale, choice, of_flow, len(calls)))
    return problems


def _run(model: nn.Module, batches: Sequence[Any], training: bool, flow: str):
    def change(_demand: Demand, choice: Choice) -> Choice:
        return replace(choice, dataflow=flow)

    recorder = Recorder()
    with use(change), torch.set_grad_enabled(training):
        for batch in batches:
            with recorder:
                out = model(batch)
                if training:
                    _total(out).backward()
            model.zero_grad(set_to_none=True)
    return recorder.calls


def _total(out: Any) -> Tensor:
    """A number that depends on all that a model gave."""
    leaves = [leaf for leaf in pytree.tree_leaves(out) if isinstance(leaf, Tensor)]
    return sum((leaf.float().sum() for leaf in leaves if leaf.requires_grad), torch.zeros(()))
