"""What to measure: the options of the command as a value, and the problems they stand for."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gossamer.bench.cases import (
    CASES,
    KINDS,
    LAYER_CASES,
    NETWORK_CASES,
    NETWORK_CHANNELS,
    NETWORKS,
    ORDERS,
    SECOND_GRID,
    Problem,
)
from gossamer.bench.scenes import Scene
from gossamer.checks import one_of
from gossamer.doctor import processor

FEWEST_ROUNDS = 7


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Args:
        scan: a file that gossamer.io reads. Default: a simulated scan.
        voxel_size: metres along x, y and z.
        channels: C of the layers.
        threads: how many threads gossamer may use, each measured. Default: 1, and 2 where there are
            two cores.
        cases: which of CASES.
        rounds: how often each contender runs.

    Raises:
        ValueError: one of them makes no sense; the message says which.
        FileNotFoundError: there is no such scan.
    """

    scan: Path | None = None
    voxel_size: tuple[float, float, float] = (0.05, 0.05, 0.1)
    channels: tuple[int, ...] = (16, 32, 64, 128)
    threads: tuple[int, ...] = field(
        default_factory=lambda: tuple(range(1, 1 + min(2, processor().cores)))
    )
    cases: tuple[str, ...] = CASES
    rounds: int = 9

    def __post_init__(self):
        if self.scan is not None and not self.scan.is_file():
            raise FileNotFoundError(f"scan is {self.scan}, and there is no such file")
        if not all(0 < edge < float("inf") for edge in self.voxel_size):
            raise ValueError(f"voxel_size is {self.voxel_size}; wanted three lengths, metres")
        for name in ("channels", "threads", "cases"):
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise ValueError(f"{name} is {values}; wanted at least one value, each once")
        for name, least in (("channels", 1), ("threads", 1), ("rounds", FEWEST_ROUNDS)):
            value = getattr(self, name)
            if min(value if isinstance(value, tuple) else (value,)) < least:
                raise ValueError(f"{name} is {value}; wanted {least} or more")
        if max(self.threads) > (cores := processor().cores):
            raise ValueError(
                f"threads is {self.threads}; this process may use {cores} cores, and more threads "
                "than cores only wait for one another; wanted no more than that"
            )
        for case in self.cases:
            one_of("cases", case, CASES)

    def problems(self, scene: Scene) -> Iterator[Problem]:
        """Everything to measure on a scene, case by case."""
        window = scene.window(SECOND_GRID)
        scenes = {"sorted": (scene, window), "shuffled": (scene.shuffled(), window.shuffled())}
        for case in self.cases:
            for kind in NETWORKS if case in NETWORK_CASES else KINDS:
                for channels in self._widths(case):
                    for order in ORDERS:
                        whole, part = scenes[order]
                        on = part if kind == "second" else whole
                        yield Problem(case, kind, channels, order, on)

    def _widths(self, case: str) -> tuple[int, ...]:
        if case in LAYER_CASES:
            return self.channels
        return (NETWORK_CHANNELS,) if case in NETWORK_CASES else (0,)
