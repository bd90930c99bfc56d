"""Fixtures every test may use."""

import os

# Tests run side by side, one a core. Threads that spin while they wait would take turns at
# slowing each other down, so there is one a process, and it sleeps. Before torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from hypothesis import HealthCheck, settings

import gossamer.ops.conv.numba
import gossamer.ops.rows.columns
import gossamer.ops.rows.numba
from gossamer.ops.dispatch import use_backend

# The same examples in every run: a failure is a change of the code and never of the dice.
settings.register_profile(
    "laws",
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("laws")

# Triton decides when it is loaded whether its interpreter runs the kernels. So what needs it runs
# in a process of its own: TRITON_INTERPRET=1 pytest -m "interpreter or any_backend".
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
BACKENDS = ["triton"] if INTERPRETED else ["reference", "numba"]

ALLOCATORS = [
    (torch.Tensor, "new_empty"),
    (torch, "empty"),
    (torch, "empty_like"),
    (gossamer.ops.conv.numba, "fresh"),
    (gossamer.ops.rows.columns, "fresh"),
    (gossamer.ops.rows.numba, "fresh"),
]


def poisoned(allocate):
    """`allocate`, whose memory is NaN, or a number that no index may be."""

    def allocate_garbage(*args, **kwargs):
        out = allocate(*args, **kwargs)
        if out.is_floating_point():
            return out.fill_(torch.nan)
        return out if out.dtype == torch.bool else out.fill_(torch.iinfo(out.dtype).min // 2)

    return allocate_garbage


@pytest.fixture
def garbage(monkeypatch):
    """Memory that nobody wrote is made of garbage."""
    for owner, name in ALLOCATORS:
        monkeypatch.setattr(owner, name, poisoned(getattr(owner, name)))


@pytest.fixture(params=["reference", "numba"])
def cpu_backend(request, garbage):
    """The same on the backends of a CPU: for lists of pairs, and for products of float64."""
    with use_backend(request.param):
        yield request.param


@pytest.fixture(params=BACKENDS)
def backend(request, garbage):
    """Runs the test once on each backend, with memory that nobody wrote made of garbage."""
    with use_backend(request.param):
        yield request.param
