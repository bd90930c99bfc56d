"""Contenders in turns: what disturbs the machine disturbs all of them alike."""

import ctypes
import gc
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

SGEMM = 1024  # rows and columns
# A call shorter than this is run twice and its second run counts, because what it finds in the
# caches, and whether the memory it asks for has to be mapped anew, would otherwise depend on whose
# turn came before.
SHORT = 2.0  # seconds


@dataclass(frozen=True)
class Contender:
    """A call to time.

    Args:
        threads: how many it may use.
        run: the call.
    """

    threads: int
    run: Callable[[], object]


@dataclass(frozen=True)
class Times:
    """What the rounds took, milliseconds."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Of the rounds, milliseconds."""
        return statistics.median(self.rounds)

    @property
    def minimum(self) -> float:
        """Of the rounds, milliseconds."""
        return min(self.rounds)


def in_turns(contenders: Sequence[Contender], rounds: int) -> list[Times]:
    """The times of every contender: each runs once a round, after a round that does not count."""
    runtimes = openmp_runtimes()
    times: list[list[float]] = [[] for _ in contenders]
    with _no_collection():
        for turn in range(rounds + 1):
            for contender, record in zip(contenders, times, strict=True):
                set_threads(contender.threads, runtimes)
                if (elapsed := _seconds(contender.run)) < SHORT:
                    elapsed = _seconds(contender.run)
                if turn:
                    record.append(elapsed * 1e3)
    return [Times(tuple(record)) for record in times]


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def set_threads(count: int, runtimes: Sequence[ctypes.CDLL]) -> None:
    """Let torch, gossamer and `runtimes` use `count` threads from this thread on."""
    torch.set_num_threads(count)
    # A wheel may bring an OpenMP of its own, which hears nothing of torch's setting.
    for runtime in runtimes:
        runtime.omp_set_num_threads(count)


def openmp_runtimes() -> list[ctypes.CDLL]:
    """Every OpenMP runtime that this process has loaded, where the system lists them."""
    maps = Path("/proc/self/maps")
    lines = maps.read_text().splitlines() if maps.exists() else []
    files = sorted({line.split(maxsplit=5)[5] for line in lines if line.count("/")})
    wanted = ("libgomp", "libiomp", "libomp")
    return [ctypes.CDLL(file) for file in files if Path(file).name.startswith(wanted)]


def sgemm() -> Callable[[], object]:
    """A float32 matrix product that the processor's own library does as fast as it can."""
    a, b = torch.randn(SGEMM, SGEMM), torch.randn(SGEMM, SGEMM)
    out = torch.empty(SGEMM, SGEMM)
    return lambda: torch.mm(a, b, out=out)


def gflops(flops: float, milliseconds: float) -> float:
    """Useful operations a second, in 1e9."""
    return flops / milliseconds / 1e6


@contextmanager
def keeping_threads():
    """A block after which torch has as many threads as before."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        set_threads(before, openmp_runtimes())


@contextmanager
def _no_collection():
    """A block in which the garbage collector does not run at a moment of its own choice."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
