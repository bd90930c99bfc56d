"""What a section consists of: tasks that give figures, one after the other, none fatal."""

import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from gossamer.bench.scenes import Scene
from gossamer.ops.dispatch import use_backend
from on_gpu.clock import Clock

Outcome = dict[str, Any]
OK, FAILED, LEFT_OUT, MISSING = "ok", "failed", "left out", "missing"
LAST_LINES = 12  # of what is said of a failure


class MissingError(Exception):
    """Something that a task needs is not on this machine."""


@dataclass(frozen=True)
class Task:
    """One thing to find out.

    Args:
        name: unique in its section.
        run: gives figures, takes the clock that measures them.
    """

    name: str
    run: Callable[[Clock], Mapping[str, Any] | None]


@dataclass(frozen=True)
class Setting:
    """What every task knows.

    Args:
        size: "full"; "small", where nothing is large, for slow checkers; or "tiny", for an
            interpreter.
        host_scenes: by name, on the CPU.
    """

    size: str
    host_scenes: dict[str, Scene]

    @cached_property
    def device(self) -> torch.device:
        """The GPU, or a CPU for Triton's interpreter."""
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    @property
    def tiny(self) -> bool:
        return self.size == "tiny"

    def count(self, full: int) -> int:
        """How many of something, where a full size has `full`."""
        return {"full": full, "small": full // 50, "tiny": 64}[self.size]

    @cached_property
    def scenes(self) -> dict[str, Scene]:
        """By name, on the device."""
        return {name: self.moved(scene) for name, scene in self.host_scenes.items()}

    def moved(self, scene: Scene) -> Scene:
        return Scene(scene.coords.to(self.device), scene.spatial_shape)

    def on_kernels(self) -> AbstractContextManager:
        """A block in which Triton's kernels run; on a GPU they do so anyway."""
        return nullcontext() if self.device.type == "cuda" else use_backend("triton")


def run_here(tasks: Sequence[Task], clock: Clock, until: float) -> Iterator[Outcome]:
    """What became of each task, in this process.

    Args:
        tasks: in the order of their worth.
        clock: measures.
        until: seconds since the epoch; what does not begin before is left out.
    """
    for task in tasks:
        if time.time() > until:
            yield {"name": task.name, "status": LEFT_OUT, "message": "no time was left"}
            continue
        start = time.time()
        outcome = _outcome(task, clock)
        outcome["seconds"] = round(time.time() - start, 3)
        yield outcome


def _outcome(task: Task, clock: Clock) -> Outcome:
    try:
        return {"name": task.name, "status": OK, **(task.run(clock) or {})}
    except MissingError as missing:
        return {"name": task.name, "status": MISSING, "message": str(missing)}
    # Whatever goes wrong is what this run was to find out.
    except Exception as error:  # noqa: BLE001
        said = traceback.format_exc().splitlines()[-LAST_LINES:]
        message = f"{type(error).__name__}: {error}"[:2000]
        return {"name": task.name, "status": FAILED, "message": message, "traceback": said}


def is_dead(device: torch.device) -> bool:
    """Whether the device refuses to work for this process, as it does after a wrong address."""
    if device.type != "cuda":
        return False
    try:
        torch.cuda.synchronize(device)
        torch.zeros(1, device=device).add(1).item()
    except RuntimeError:
        return True
    torch.cuda.empty_cache()
    return False


@dataclass(frozen=True)
class Order:
    """What a process of its own is asked to do; travels as JSON.

    Args:
        section: whose tasks.
        names: which of them.
        size: of the setting.
        scenes: the file they are in.
        until: seconds since the epoch.
        warm: whether to compile only.
        patience: seconds that a task may take.
    """

    section: str
    names: list[str]
    size: str
    scenes: str
    until: float
    warm: bool
    patience: float

    @property
    def path(self) -> Path:
        return Path(self.scenes)
