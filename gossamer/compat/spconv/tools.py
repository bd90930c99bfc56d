"""`spconv.tools`: a timer of named and nested parts, on the CPU as well as on a GPU."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from gossamer.compat.host.timers import Duration, start
from gossamer.compat.spconv.cppconstants import CPU_ONLY_BUILD as CPU_ONLY_BUILD
from gossamer.compat.spconv.utils import nullcontext as nullcontext


class CUDAKernelTimer:
    """Milliseconds by name, where a name within others reads `outer.inner`.

    Args:
        enable: whether to measure at all.
    """

    def __init__(self, enable: bool = True) -> None:
        self.enable = enable
        self._names: list[str] = []
        self._parts: list[tuple[str, Duration]] = []

    def __setstate__(self, state: dict) -> None:
        """Takes what was pickled here, or by upstream, whose times stay behind."""
        self.__init__(state["enable"])
        self.__dict__.update(state)

    def namespace(self, name: str) -> AbstractContextManager:
        """In its block, names begin with `name`."""
        return self._within(name) if self.enable else nullcontext()

    def record(self, name: str, stream: int = 0) -> AbstractContextManager:
        """Measures its block under `name`; a GPU's time is taken on torch's current stream."""
        return self._measured(name) if self.enable else nullcontext()

    def get_all_pair_time(self) -> dict[str, float]:
        """Milliseconds by full name; those of a name that came often are added."""
        total: dict[str, float] = {}
        for name, duration in self._parts:
            total[name] = total.get(name, 0.0) + duration()
        return total

    @staticmethod
    def collect_by_name(name: str, res: dict[str, float]) -> dict[str, float]:
        """Those entries of `res` whose full names have `name` among their parts."""
        return {full: time for full, time in res.items() if name in full.split(".")}

    @contextmanager
    def _within(self, name: str) -> Iterator[None]:
        self._names.append(name)
        try:
            yield
        finally:
            self._names.pop()

    @contextmanager
    def _measured(self, name: str) -> Iterator[None]:
        with self._within(name):
            full = ".".join(self._names)
            stop = start()
            yield
            self._parts.append((full, stop()))
