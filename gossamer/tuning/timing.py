"""How long a call takes on a device."""

import statistics
import time
from collections.abc import Callable

import torch

ROUNDS = 7
A_ROUND = 0.4  # milliseconds of calls, at least
MOST_REPEATS = 100


class Clock:
    """Measures calls on one device.

    Args:
        device: a GPU, or a CPU with the interpreter.
    """

    def __init__(self, device: torch.device):
        self.device = device

    def __call__(self, run: Callable[[], object]) -> float:
        """Milliseconds of one call, the median of some rounds; it has run before."""
        if self.device.type != "cuda":
            start = time.perf_counter()
            run()
            return (time.perf_counter() - start) * 1e3
        with torch.cuda.device(self.device):
            once = self._elapsed(run)
            repeats = max(1, min(MOST_REPEATS, round(A_ROUND / max(once, 1e-3))))
            replay = _recorded(run, repeats)
            rounds = [self._elapsed(replay) for _ in range(ROUNDS)]
        return statistics.median(rounds) / repeats

    def _elapsed(self, run: Callable[[], object]) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        end.synchronize()
        return start.elapsed_time(end)


def _recorded(run: Callable[[], object], repeats: int) -> Callable[[], None]:
    """`repeats` calls as one graph, in which the host's part of a call does not count."""
    graph = torch.cuda.CUDAGraph()
    # A stream of its own, or torch takes one of the device on which it first recorded.
    with torch.cuda.graph(graph, stream=torch.cuda.Stream()):
        for _ in range(repeats):
            run()
    graph.replay()
    return graph.replay
