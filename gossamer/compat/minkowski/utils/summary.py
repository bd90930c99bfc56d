"""A table of a network's layers, with the shapes that they return and their parameters."""

from dataclasses import dataclass
from math import prod
from typing import Any

from torch import nn

MEGABYTE = 1024**2


@dataclass(frozen=True)
class Call:
    """One call of a layer, and the shapes of what it returned."""

    module: nn.Module
    shapes: list[list[int]]

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Those of the layer itself."""
        return list(self.module.parameters(recurse=False))

    def line(self, number: int) -> str:
        """A row of the table."""
        name = f"{type(self.module).__name__}-{number}"
        shape = self.shapes[0] if len(self.shapes) == 1 else self.shapes
        return f"{name:>20}  {shape!s:>25} {_count(self.parameters):>15,}"


def summary(model: nn.Module, summary_input: Any) -> tuple[int, int]:
    """Print a table of the layers that `model` runs through.

    Args:
        model: the network.
        summary_input: what it is called with.

    Returns:
        How many parameters there are, and how many of them are learned.
    """
    text, parameters = minkowski_summary_string(model, summary_input)
    print(text)  # noqa: T201
    return parameters


def minkowski_summary_string(model: nn.Module, summary_input: Any) -> tuple[str, tuple[int, int]]:
    """The table that `summary` prints, and what it returns."""
    calls = _run(model, summary_input)
    # A layer that is called twice learns once.
    learned = list({id(p): p for call in calls for p in call.parameters}.values())
    total, trainable = _count(learned), _count([p for p in learned if p.requires_grad])
    # Numbers of 4 bytes; twice what layers return, for gradients.
    returned = sum(prod(shape) for call in calls for shape in call.shapes)
    sizes = [
        summary_input.F.numel() + summary_input.C.numel(),
        2 * returned,
        total,
    ]
    inputs, passes, weights = (4 * size / MEGABYTE for size in sizes)
    lines = [
        "-" * 64,
        f"{'Layer (type)':>20}  {'Output Shape':>25} {'Param #':>15}",
        "=" * 64,
        *(call.line(number) for number, call in enumerate(calls, 1)),
        "=" * 64,
        f"Total params: {total:,}",
        f"Trainable params: {trainable:,}",
        f"Non-trainable params: {total - trainable:,}",
        "-" * 64,
        f"Input size (MB): {inputs:0.2f}",
        f"Forward/backward pass size (MB): {passes:0.2f}",
        f"Params size (MB): {weights:0.2f}",
        f"Estimated Total Size (MB): {inputs + passes + weights:0.2f}",
        "-" * 64,
    ]
    return "\n".join(lines) + "\n", (total, trainable)


def _run(model: nn.Module, summary_input: Any) -> list[Call]:
    """Every call of a module that is no container, in the order in which they end."""
    calls: list[Call] = []

    def note(module: nn.Module, inputs: Any, output: Any) -> None:
        outputs = output if isinstance(output, (list, tuple)) else [output]
        calls.append(Call(module, [list(x.shape) for x in outputs if hasattr(x, "shape")]))

    containers = (nn.Sequential, nn.ModuleList)
    hooks = [
        module.register_forward_hook(note)
        for module in model.modules()
        if not isinstance(module, containers)
    ]
    try:
        model(summary_input)
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def _count(parameters: list[nn.Parameter]) -> int:
    return sum(p.numel() for p in parameters)
