"""What a library computed, in a few numbers that change with any row, any place and any gradient.

The numbers of the real libraries lie beside this file, as these made them on a CPU:
`python -m tests.compat.upstream.minkowski FILE` writes them anew where the library is installed.
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

HERE = Path(__file__).resolve().parent
Case = tuple[str, Callable[[], list[float]]]


def random(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def sites(seed: int, ndim: int, low: int, high: int, batch: int, count: int = 60) -> Tensor:
    """[N, 1+D] int32, (batch, axes), unique and in no order."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.randint(low, high, (count, ndim), generator=generator)
    samples = torch.randint(0, batch, (count, 1), generator=generator)
    rows = torch.unique(torch.cat([samples, places], 1), dim=0).int()
    return rows[torch.randperm(len(rows), generator=generator)]


def print_of(coords: Tensor | None, features: Tensor, *leaves: Tensor) -> list[float]:
    """Rows, projections of the features onto waves over places and channels, and of gradients.

    Args:
        coords: [N, any] numbers that tell rows apart; None where rows have an order.
        features: [N, C] or of any shape.
        leaves: what a gradient is asked of; their rows and channels have an order.
    """
    flat = features.reshape(len(features), -1)
    where = torch.arange(len(flat)).unsqueeze(1) if coords is None else coords
    spread = torch.linspace(0.7, 2.9, where.shape[1], dtype=torch.float64)
    phase = (where.double() * spread).sum(1, keepdim=True)
    phase = phase + torch.arange(flat.shape[1]) * 1.3
    projections = (flat.double() * phase.sin()).sum(), (flat.double() * phase.cos()).sum()
    numbers = [float(len(flat)), *(float(p.detach()) for p in projections)]
    if leaves:
        grads = torch.autograd.grad(sum(projections), leaves, allow_unused=True)
        for leaf, grad in zip(leaves, grads, strict=True):
            grad = torch.zeros_like(leaf) if grad is None else grad
            wave = torch.arange(grad.numel(), dtype=torch.float64).view_as(grad).sin()
            numbers.append(float((grad * wave).sum()))
    return numbers


def write(cases: Callable[[], Iterator[Case]]) -> None:
    """Compute every case and write the numbers to the file that the command line names."""
    numbers = {name: [float(f"{n:.10g}") for n in compute()] for name, compute in cases()}
    lines = (f"{json.dumps(name)}: {json.dumps(value)}" for name, value in numbers.items())
    Path(sys.argv[1]).write_text("{\n" + ",\n".join(lines) + "\n}\n")


def expected(name: str) -> dict[str, list[float]]:
    return json.loads((HERE / f"{name}.json").read_text())
