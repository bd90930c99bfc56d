"""Which configuration of convolutions makes a network fastest: measured, and kept in a file.

Convolutions that share their maps form a group. Group by group each configuration is measured by
the time of a whole call, maps and all, with the other groups as they are by default. All this
happens on a copy of the model, whose own parameters and statistics stay as they are. On a CPU there
is one way to compute, so all there is to do is to measure.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from gossamer.compat.torchsparse.nn.functional.conv.conv_config import Dataflow
from gossamer.compat.torchsparse.tuning.configs import configure, tunable
from gossamer.compat.torchsparse.tuning.keeping import Kept, read, write
from gossamer.compat.torchsparse.tuning.measuring import Options, measured

__all__ = ["tune"]


def _the_data_itself(data: Any) -> Any:
    return data


def tune(
    model: nn.Module,
    data_loader: Iterable[Any],
    n_samples: int = 100,
    collect_fn: Callable[[Any], Any] = _the_data_itself,
    enable_fp16: bool = False,
    save_dir: str = ".torchsparse-tune",
    tune_tag: str = "temp",
    force_retune: bool = False,
    dataflow_range: Sequence[Dataflow] = (Dataflow.ImplicitGEMM,),
    dataflow_prune: bool = False,
    tune_with_bwd: bool = False,
    verbose: bool = True,
    skip_warning: bool = False,
) -> None:
    """Give every convolution the configuration with which the whole network was fastest.

    Args:
        model: a network, on the device where it will run; it gets `_config`s and nothing else.
        data_loader: what it is called with, after collect_fn; n_samples of them are measured.
        n_samples: at most so many.
        collect_fn: makes the model's argument of one of them.
        enable_fp16: whether to measure in float16, under autocast.
        save_dir, tune_tag: folder and file where the result is kept, and read from if it is there.
        force_retune: measure also where there is a file.
        dataflow_range: the dataflows to choose among.
        dataflow_prune: choose the dataflow first, then the rest.
        tune_with_bwd: whether the backward pass counts too.
        verbose: whether to say what is going on.
        skip_warning: say nothing of an iterator, which can be read once only.

    Raises:
        ValueError: there is nothing to measure or to choose among, or the file is another's.
    """
    if isinstance(data_loader, Iterator) and not skip_warning:
        _warn_of(data_loader)
    numbers = _at_least_one(n_samples), collect_fn, enable_fp16
    flows = _dataflows(dataflow_range), dataflow_prune, tune_with_bwd
    options = Options(*numbers, *flows, _print if verbose else _keep_silent)
    file = Path(save_dir, tune_tag)
    kept = None if force_retune else _kept(file, model, options.say)
    if kept is None:
        kept = measured(model, data_loader, options)
        _keep(file, model, kept, options.say)
    names, chosen = kept
    configure(model, {name: chosen[group] for name, group in names.items() if group in chosen})


def _warn_of(data_loader: Iterator) -> None:
    warnings.warn(
        f"data_loader is an iterator of type {type(data_loader).__name__}, which can be read once "
        "only; what is measured here is missing elsewhere",
        stacklevel=3,
    )


def _at_least_one(n_samples: int) -> int:
    if n_samples < 1:
        raise ValueError(f"n_samples is {n_samples}; wanted at least 1")
    return n_samples


def _dataflows(wanted: Sequence[Dataflow]) -> Sequence[Dataflow]:
    if not wanted or not all(isinstance(one, Dataflow) for one in wanted):
        raise ValueError(
            f"dataflow_range is {wanted!r}; wanted a list of nn.functional.Dataflow, for instance "
            "[Dataflow.ImplicitGEMM]"
        )
    return tuple(wanted)


def _kept(file: Path, model: nn.Module, say: Callable[[str], None]) -> Kept | None:
    """What a file says, where there is one and it is about this network's convolutions."""
    if not file.exists():
        return None
    kept = read(file)
    if not kept[0] or not set(kept[0]) <= tunable(model):
        say(f"{file} is about another network, so this one is measured")
        return None
    say(f"load tuned group configs from {file}")
    return kept


def _keep(file: Path, model: nn.Module, kept: Kept, say: Callable[[str], None]) -> None:
    """Write the file; of several processes, a device each, the first one does."""
    if next(model.parameters()).device.index in (None, 0):
        write(file, kept)
        say(f"save tuned group configs to {file}")


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def _keep_silent(line: str) -> None:
    pass
