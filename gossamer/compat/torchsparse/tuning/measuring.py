"""Measuring every configuration of every group on samples, and which one was fastest."""

import copy
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from gossamer.compat.torchsparse.nn.functional.conv.conv_config import Dataflow
from gossamer.compat.torchsparse.tuning import configs
from gossamer.compat.torchsparse.tuning.configs import Choice, Group
from gossamer.compat.torchsparse.tuning.keeping import Kept
from gossamer.compat.torchsparse.tuning.timing import Stopwatch, groups_of, moved


@dataclass(frozen=True)
class Options:
    """What was asked for, as `tune` has it.

    Args:
        say: takes what is going on, a line at a time.
    """

    n_samples: int
    collect_fn: Callable[[Any], Any]
    enable_fp16: bool
    dataflows: Sequence[Dataflow]
    prune: bool
    backward: bool
    say: Callable[[str], None]


class Trial:
    """The configurations of each group, and how long whole calls took with each.

    Args:
        watch: times calls of a copy of the network.
        sample: the first of the data, to find the groups.
        options: what was asked for.
    """

    def __init__(self, watch: Stopwatch, sample: Any, options: Options):
        self.watch = watch
        self.names = groups_of(watch, sample)
        several = configs.choices(watch.device, options.dataflows)
        self.choices = {group: several for group in self.names.values()}
        self._seconds: dict[tuple[Group, int], list[float]] = {}

    def measure(self, sample: Any) -> None:
        """One call with each configuration of each group, the other groups as by default."""
        default = {name: configs.default() for name in self.names}
        for group, several in self.choices.items():
            members = [name for name, its in self.names.items() if its == group]
            for number, choice in enumerate(several):
                configs.configure(self.watch.model, {**default, **dict.fromkeys(members, choice)})
                self._seconds.setdefault((group, number), []).append(self.watch(sample))

    def best(self, group: Group, prune: bool) -> Choice:
        """The fastest by the median; where pruned, of the dataflow that is fast on the whole."""
        several = self.choices[group]
        # A mean would count a call that something else on the machine held up.
        times = [statistics.median(self._seconds[group, n]) for n in range(len(several))]
        candidates = range(len(several))
        if prune:
            flows: dict[Dataflow, list[int]] = {}
            for number in candidates:
                flows.setdefault(several[number]["dataflow"], []).append(number)
            candidates = min(
                flows.values(), key=lambda its: statistics.fmean(times[n] for n in its)
            )
        return several[min(candidates, key=times.__getitem__)]


def measured(model: nn.Module, data_loader: Iterable[Any], options: Options) -> Kept:
    """The group of each convolution and the choice for each group; the model stays as it is.

    Raises:
        ValueError: the loader gives nothing, or the model has nothing to choose for.
    """
    watch = Stopwatch(copy.deepcopy(model), options.enable_fp16, options.backward)
    trial = None
    for number, data in enumerate(data_loader, 1):
        sample = moved(options.collect_fn(data), watch.device, options.enable_fp16)
        trial = trial or _begun(watch, sample, options)
        trial.measure(sample)
        options.say(f"sample {number} of {options.n_samples}")
        if number == options.n_samples:
            break
    if trial is None:
        raise ValueError("data_loader gave nothing; wanted at least one sample to measure")
    return trial.names, {group: trial.best(group, options.prune) for group in trial.choices}


def _begun(watch: Stopwatch, sample: Any, options: Options) -> Trial:
    trial = Trial(watch, sample, options)
    several = len(next(iter(trial.choices.values())))
    options.say(
        f"{len(trial.names)} convolutions in {len(trial.choices)} groups, {several} "
        f"configuration{'s' * (several > 1)} each, up to {options.n_samples} samples, on "
        f"{watch.device}"
    )
    if watch.device.type == "cpu":
        options.say("on a CPU there is one way to compute, so this measures and changes nothing")
    return trial
