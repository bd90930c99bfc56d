"""Which kernels a backend would start, with which types and constants: it runs, they do not."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

import gossamer.ops.launch
import gossamer.ops.plans


@dataclass(frozen=True, eq=False)
class Launch:
    """One start of a kernel, as far as its machine code depends on it.

    Args:
        kernel: a function decorated with triton.jit.
        arguments: dtypes for tensors, and numbers.
        constants: by name.
        warps, stages: num_warps and num_stages.
    """

    kernel: Any
    arguments: tuple
    constants: dict[str, Any]
    warps: int
    stages: int

    @property
    def key(self) -> tuple:
        """Alike for launches of the same machine code."""
        kinds = tuple(
            value if isinstance(value, torch.dtype) else self._kind(position, value)
            for position, value in enumerate(self.arguments)
        )
        constants = tuple(sorted(self.constants.items()))
        return self.name, kinds, constants, self.warps, self.stages

    @property
    def name(self) -> str:
        """Family and function."""
        return f"{self.kernel.fn.__module__.split('.')[2]}.{self.kernel.fn.__name__}"

    def _kind(self, position: int, value: int | float) -> str:
        if type(value) is int and not self.kernel.params[position].do_not_specialize:
            return f"int {value == 1} {value % 16 == 0}"
        return type(value).__name__


class Recorder:
    """Stands for `gossamer.ops.launch.launch`, and remembers each kind of call once."""

    def __init__(self):
        self.launches: dict[tuple, Launch] = {}

    def __call__(self, kernel, grid, arguments, *, warps=4, stages=2, **constants) -> None:
        kinds = tuple(a.dtype if isinstance(a, Tensor) else a for a in arguments)
        launch = Launch(kernel, kinds, constants, warps, stages)
        self.launches.setdefault(launch.key, launch)


@contextmanager
def recorded(arch: str) -> Iterator[Recorder]:
    """Inside the block, the Triton backends take tensors on the CPU to be on a GPU of `arch`."""
    recorder, real = Recorder(), gossamer.ops.launch.launch
    with ExitStack() as stack:
        for name, module in list(sys.modules.items()):
            if name.startswith("gossamer.ops.") and getattr(module, "launch", None) is real:
                stack.enter_context(patch.object(module, "launch", recorder))
        # Rows that no kernel wrote must be rows that there are.
        stack.enter_context(patch.object(torch, "empty", torch.zeros))
        stack.enter_context(patch.object(torch, "empty_like", torch.zeros_like))
        stack.enter_context(patch.object(Tensor, "new_empty", Tensor.new_zeros))
        # The package has a function of this name.
        chips = sys.modules["gossamer.ops.plans.chips"]
        stack.enter_context(patch.object(chips, "INTERPRETER", arch))
        yield recorder
