"""Chooses who runs an op.

A backend is a file: gossamer/ops/conv/numba.py is the Numba backend of `conv`. It has the functions
of gossamer/ops/conv/reference.py, with the same signatures, and `refuses`, which says what it
cannot take.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor

from gossamer.checks import one_of
from gossamer.errors import NoBackendError

FAMILIES = ("keys", "rulebooks", "conv", "pool", "points", "rows")
PREFERENCE = {"cuda": ("triton", "reference"), "cpu": ("numba", "reference")}
BACKENDS = ("reference", "numba", "triton")
_forced: ContextVar[str | None] = ContextVar("forced_backend", default=None)


@dataclass(frozen=True)
class Problem:
    """What a backend is asked to take: one call of one op, without its values.

    Args:
        family: the op family, one of FAMILIES.
        device: device type, "cpu" or "cuda".
        dtype: of the features, or of the coordinates where there are no features.
        lists: how many tensors the rulebook has, which tells its layout; 0 without one.
        index: which of the devices; None for the one that there is.
    """

    family: str
    device: str
    dtype: torch.dtype
    lists: int = 0
    index: int | None = None

    def __str__(self) -> str:
        return f"{self.family} of {self.dtype} on {self.device}"


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Run every op inside the block on `name`, or raise NoBackendError.

    Args:
        name: "reference" (plain PyTorch), "numba" or "triton".

    Raises:
        ValueError: there is no such backend.
    """
    token = _forced.set(one_of("backend", name, BACKENDS))
    try:
        yield
    finally:
        _forced.reset(token)


def select(family: str, x: Tensor, lists: Sequence[Tensor] = ()) -> ModuleType:
    """The first backend of `family`, in order of preference, that takes `x` and a rulebook."""
    problem = Problem(family, x.device.type, x.dtype, len(lists), x.device.index)
    forced = _forced.get()
    refusals = {}
    for name in (forced,) if forced else PREFERENCE.get(problem.device, ("reference",)):
        backend, reason = _load(family, name)
        if backend is not None:
            reason = backend.refuses(problem)
            if not reason:
                return backend
        refusals[name] = reason
    raise NoBackendError(str(problem), refusals)


def explain_backends() -> dict[str, dict[str, str]]:
    """For every family and backend, why float32 on this machine is refused; "" where it is not."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    answers: dict[str, dict[str, str]] = {}
    for family in FAMILIES:
        answers[family] = {}
        for name in BACKENDS:
            backend, reason = _load(family, name)
            if backend is not None:
                reason = backend.refuses(Problem(family, device, torch.float32))
            answers[family][name] = reason
    return answers


@cache
def _load(family: str, name: str) -> tuple[ModuleType | None, str]:
    try:
        return import_module(f"gossamer.ops.{family}.{name}"), ""
    except ImportError as missing:
        return None, f"not available ({missing})"
