"""What layers note down while they run: their times, and how many rows they saw."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from gossamer.compat.spconv.pytorch.core import SparseConvTensor


def recorded(
    x: SparseConvTensor,
    name: str | None,
    about: dict[str, Any],
    route: Callable,
    through: Callable,
) -> SparseConvTensor:
    """What a layer makes of `x`, with its times in `x.benchmark_record`.

    Args:
        x: a tensor whose `benchmark` is set.
        name: of the layer.
        about: "type" and "params" of the layer, noted when it runs for the first time.
        route: takes `x` and builds or finds the rulebook.
        through: takes `x` and what `route` returned.

    Raises:
        ValueError: the layer has no name.
    """
    if name is None:
        raise ValueError(
            "the input has benchmark set and this layer has no name to record its times under; "
            "give it one: layer.name = ..."
        )
    lists = {key: [] for key in ("indice_gen_time", "time", "num_points", "num_out_points")}
    record = x.benchmark_record.setdefault(name, {**about, **lists})
    start = _now()
    found = route(x)
    built = _now()
    result = through(x, found)
    record["indice_gen_time"].append(built - start)
    record["time"].append(_now() - built)
    record["num_points"].append(len(x.indices))
    record["num_out_points"].append(len(result.indices))
    return result


def _now() -> float:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()


def timed(x: SparseConvTensor, name: str) -> AbstractContextManager:
    """The context in which a layer called `name` is timed, if `x` asks for it."""
    return x._timer.record(name) if x._timer is not None and name else nullcontext()


def keep_maximum(most: Tensor | None, rows: int) -> None:
    """Raise `most` [1] int32, where there is one, to `rows` in place."""
    if most is not None:
        with torch.no_grad():
            most.clamp_(min=rows)
