"""How long a block takes: by CUDA events where there is a GPU, by the clock where there is none."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch

Duration = Callable[[], float]


def start() -> Callable[[], Duration]:
    """Starts to measure. What it returns stops, and returns what then tells the milliseconds.

    On a GPU nothing waits until the milliseconds are asked for.
    """
    if not torch.cuda.is_available():
        began = time.perf_counter()
        return lambda: partial(float, 1e3 * (time.perf_counter() - began))
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    first.record()

    def stop() -> Duration:
        last.record()
        return partial(_between, first, last)

    return stop


def _between(first: torch.cuda.Event, last: torch.cuda.Event) -> float:
    last.synchronize()
    return first.elapsed_time(last)


class Measured:
    """`duration`: the milliseconds that a block took, -1 before its end or where not measured."""

    def __init__(self) -> None:
        self.told: Duration = partial(float, -1)

    @property
    def duration(self) -> float:
        """Milliseconds."""
        return self.told()


@contextmanager
def measure_duration(
    name: str = "CUDATimer", *, stream: int = 0, enable: bool = True
) -> Iterator[Measured]:
    """Measures a block; the milliseconds are in the `duration` of what it yields."""
    out = Measured()
    if not enable:
        yield out
        return
    stop = start()
    yield out
    out.told = stop()


@contextmanager
def measure_and_print(
    name: str = "CUDATimer",
    *,
    stream: int = 0,
    out: list[float] | None = None,
    enable: bool = True,
) -> Iterator[Measured]:
    """Measures a block, prints its name and milliseconds, and appends them to `out`."""
    with measure_duration(name, stream=stream, enable=enable) as measured:
        yield measured
    if enable:
        sys.stdout.write(f"{name} duration: {measured.duration:.3f} ms\n")
        if out is not None:
            out.append(measured.duration)
