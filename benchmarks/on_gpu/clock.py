"""How long a call takes: three ways to ask a GPU, and a wall clock where there is none."""

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import torch

from gossamer.tuning.timing import Clock as GraphClock

ROUNDS, FEW_ROUNDS = 11, 3
LONG = 1.0  # seconds; a call that takes longer is timed in FEW_ROUNDS rounds
AHEAD = 2_000_000  # cycles that the device sleeps while the host gets ahead of it, about 1 ms
FLUSHED = 4  # times the size of the last-level cache
CALLS = 50

Run = Callable[[], object]
Figures = dict[str, float]


class Clock:
    """Times calls that have run before; every figure is in milliseconds.

    Args:
        device: a GPU, or a CPU with Triton's interpreter, where everything is a wall clock.
        warm: to run each call once and time nothing, so that its kernels are compiled.
    """

    def __init__(self, device: torch.device, warm: bool = False):
        self.device, self.warm = device, warm
        self._flush: torch.Tensor | None = None

    def device_time(self, run: Run) -> Figures:
        """By events, the cache flushed before each run and the host ahead of the device.

        What is left is what the kernels take, and waiting where `run` itself makes the host wait.
        """
        if self._quick(run):
            return self._wall(run)
        return self._figures(run, self._behind_a_flush)

    def latency(self, run: Run) -> Figures:
        """By the wall, from an idle device to the end of the work; the cache is not flushed."""
        if self._quick(run):
            return self._wall(run)
        return self._figures(run, self._from_idle)

    def a_call(self, run: Run) -> Figures:
        """By the wall, of many calls in a row: what the host or the device needs, if longer."""
        if self._quick(run):
            return self._wall(run)
        return self._figures(run, self._in_a_row)

    def replayed(self, run: Run) -> Figures:
        """In a CUDA graph of several calls, so without the host; the cache is not flushed."""
        if self._quick(run):
            return self._wall(run)
        return {"ms": GraphClock(self.device)(run)}

    def _quick(self, run: Run) -> bool:
        """Whether one run is enough; if not, the first one has been."""
        if self.device.type == "cuda" and not self.warm:
            run()
            self._wait()
            return False
        return True

    def _wall(self, run: Run) -> Figures:
        if self.warm:
            run()
            self._wait()
            return {}
        start = time.perf_counter()
        run()
        return {"ms": (time.perf_counter() - start) * 1e3}

    def _figures(self, run: Run, once: Callable[[Run], float]) -> Figures:
        start = time.perf_counter()
        once(run)
        rounds = ROUNDS if time.perf_counter() - start < LONG else FEW_ROUNDS
        times = [once(run) for _ in range(rounds)]
        return {"ms": statistics.median(times), "min_ms": min(times), "rounds": rounds}

    def _behind_a_flush(self, run: Run) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda._sleep(AHEAD)
        self._memory().zero_()
        start.record()
        run()
        end.record()
        end.synchronize()
        return start.elapsed_time(end)

    def _from_idle(self, run: Run) -> float:
        self._wait()
        start = time.perf_counter()
        run()
        self._wait()
        return (time.perf_counter() - start) * 1e3

    def _in_a_row(self, run: Run) -> float:
        self._wait()
        start = time.perf_counter()
        for _ in range(CALLS):
            run()
        self._wait()
        return (time.perf_counter() - start) * 1e3 / CALLS

    def _memory(self) -> torch.Tensor:
        if self._flush is None:
            cache = getattr(torch.cuda.get_device_properties(self.device), "L2_cache_size", 0)
            size = FLUSHED * max(cache, 1 << 24)
            self._flush = torch.empty(size, dtype=torch.int8, device=self.device)
        return self._flush

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def peak_memory(run: Run, device: torch.device) -> int | None:
    """Bytes that torch holds at most during `run`, beyond what it held before."""
    if device.type != "cuda":
        run()
        return None
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def synchronisations(run: Run, device: torch.device) -> int | None:
    """How often torch makes the host wait for the device during `run`."""
    import warnings

    if device.type != "cuda":
        return None
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing" in str(each.message) for each in caught)


def profiled(run: Run, device: torch.device, longest: int = 12) -> dict[str, object]:
    """Launches, what the kernels take together, and the kernels that take most of it."""
    from torch.profiler import ProfilerActivity, profile

    if device.type != "cuda":
        return {}
    activities = [ProfilerActivity.CPU, ProfilerActivity.CUDA]
    with profile(activities=activities) as seen:
        run()
        torch.cuda.synchronize(device)
    events = seen.key_averages()
    kernels = [(e.key[:80], e.count, _busy(e) / 1e3) for e in events if _on_device(e)]
    kernels.sort(key=lambda kernel: -kernel[2])
    return {
        "launches": _count(events, graphs=False),
        "graph_launches": _count(events, graphs=True),
        "kernels": sum(count for _, count, _ in kernels),
        "busy_ms": sum(busy for _, _, busy in kernels),
        "longest_kernels": [
            {"kernel": key, "count": count, "ms": busy} for key, count, busy in kernels[:longest]
        ],
    }


def _count(events: Sequence, graphs: bool) -> int:
    started = ("cuda", "cu", "hip")
    launches = (e for e in events if e.key.startswith(started) and "Launch" in e.key)
    return sum(e.count for e in launches if ("Graph" in e.key) == graphs)


def _on_device(event) -> bool:
    with suppress(AttributeError):
        return event.device_type == torch.autograd.DeviceType.CUDA
    return False


def _busy(event) -> float:
    # Older versions of torch have another name for it.
    return getattr(event, "self_device_time_total", getattr(event, "self_cuda_time_total", 0.0))
