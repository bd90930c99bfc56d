"""Which plan is fastest on this GPU for a network of yours: measured when you ask, and kept.

Nothing is ever measured unasked; until then, and for other sizes, the table of
`gossamer.ops.plans` decides.
"""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gossamer.ops import plans
from gossamer.ops.plans import Choice, store
from gossamer.tuning.keeping import keep
from gossamer.tuning.recording import Problem, record
from gossamer.tuning.search import Search
from gossamer.tuning.timing import Clock

Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Finding:
    """One size of problem, before and after.

    Args:
        problem: what it is called in the file.
        before, after: milliseconds of a call, as it was chosen before and as it will be.
        choice: what it will be.
        tried: how many choices were measured.
    """

    problem: str
    before: float
    after: float
    choice: Choice
    tried: int


@dataclass(frozen=True)
class Tuned:
    """What `tune` found.

    Args:
        file: where it is kept.
        findings: one a size of problem, in the order in which the network meets them.
    """

    file: Path
    findings: tuple[Finding, ...]

    def __str__(self) -> str:
        lines = (
            f"{f.before:9.3f} {f.after:9.3f}  {f.before / f.after:5.2f}x  {f.problem}"
            for f in self.findings
        )
        return "\n".join(("before ms  after ms   gain  problem", *lines, f"kept in {self.file}"))


def tune(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    training: bool = False,
    report: Report = lambda what, done, total: None,
) -> Tuned:
    """Measure how each layer is computed fastest on the device of `model`, and keep it on disk.

    From then on every process with this card, this Triton and this gossamer computes problems of
    these sizes so. Each rank of a distributed run may call this: it measures on its own device, and
    waits for nobody. The model and its statistics stay as they are.

    Args:
        model: a network on a GPU.
        batches: what it is called with; a few typical ones.
        training: whether gradients are measured too.
        report: called with (what comes next, how many are done, how many there are).

    Raises:
        ValueError: the model is where no Triton kernel runs, or uses none.
    """
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    _check(device)
    # A copy, because a forward pass in training moves the statistics of batch norms.
    problems = record(copy.deepcopy(model), list(batches), training)
    if not problems:
        raise ValueError("the model called no convolution that has a choice; nothing to tune")
    search = Search(Clock(device), problems)
    report("dataflows", 0, len(problems))
    search.choose_dataflows()
    findings = []
    for done, problem in enumerate(problems):
        report(problem.name, done, len(problems))
        findings.append(_finding(search, problem))
    report("done", len(problems), len(problems))
    file = store.path(plans.device_name(plans.architecture(device)))
    choices = {found.problem: found.choice for found in findings}
    keep(file, store.Measured(search.dataflows, choices))
    plans.forget()
    return Tuned(file, tuple(findings))


def _finding(search: Search, problem: Problem) -> Finding:
    before = search.time(problem, problem.choice)
    choice, after = search.best(problem)
    return Finding(problem.name, before, after, choice, search.tried(problem))


def _check(device: torch.device) -> None:
    try:
        from gossamer.ops.launch import unusable
    except ImportError as missing:
        reason = f"needs Triton ({missing})"
    else:
        reason = unusable(device.type, device.index)
    if reason:
        raise ValueError(
            f"the model is on {device}, where there is nothing to tune: Triton {reason}; move it "
            "to a GPU with .to()"
        )
