"""The laws of convolution at full size: every kind, precision, width, order of rows and limit.

What is wanted is a loop over the raw table, tap by tap, in float64.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from gossamer.bench.scenes import Scene
from gossamer.coords import Coords
from gossamer.geometry import Geometry
from gossamer.ops import plans
from gossamer.ops.conv import Epilogue, conv, conv_fused, conv_weight_grad, swap_channels
from gossamer.ops.plans import DATAFLOWS, Choice, Demand
from gossamer.ops.rulebooks.walk import tap_of_line
from gossamer.rulebook import Rulebook
from gossamer.rulebook.table import Table
from on_gpu.clock import Clock
from on_gpu.judge import close, right, same_bits
from on_gpu.precisions import BF16, FP16, FP32, PRECISIONS, Precision
from on_gpu.tasks import Setting, Task

KINDS = {
    "submanifold": Geometry.of("submanifold", 3, 3),
    "submanifold 125": Geometry.of("submanifold", 3, 5),
    "strided": Geometry.of("regular", 3, 3, stride=2, padding=1),
    "halved": Geometry.of("regular", 3, 2, stride=2),
    "flattened": Geometry.of("regular", 3, (3, 1, 1), stride=(2, 1, 1)),
    "transposed": Geometry.of("transposed", 3, 2, stride=2),
    "one tap": Geometry.of("submanifold", 3, 1),
}


@dataclass(frozen=True)
class Width:
    """Input and output channels in all, and the groups they fall into."""

    inputs: int
    outputs: int
    groups: int = 1

    def __str__(self) -> str:
        return f"{self.inputs}->{self.outputs}" + f" in {self.groups}" * (self.groups > 1)


COMMON = Width(64, 96)
WIDTHS = (
    Width(4, 16),
    Width(5, 7),
    Width(32, 32),
    COMMON,
    Width(128, 128),
    Width(256, 256),
    Width(64, 64, 4),
    Width(32, 64, 32),
)
SMALL_WIDTHS = (Width(5, 7), Width(32, 48), Width(16, 16, 4), Width(8, 8, 8))
TINY_WIDTHS = (Width(5, 7), Width(4, 4, 4))


def tasks(setting: Setting) -> list[Task]:
    """A law of convolution for each kind, precision and width that is worth it."""
    cases = list(_cases(setting.size))
    # One of a kind first, in case that not all find time.
    return [
        Task(f"conv {kind} {precision} {width}", partial(_law, setting, kind, precision, width))
        for kind, precision, width in cases
    ]


def _cases(size: str) -> Iterator[tuple[str, Precision, Width]]:
    if size == "tiny":
        yield from (("submanifold", FP32, width) for width in TINY_WIDTHS)
        return
    if size == "small":
        yield from ((kind, p, SMALL_WIDTHS[1]) for kind in KINDS for p in (FP16, FP32))
        yield from (("submanifold", p, w) for w in SMALL_WIDTHS for p in (BF16, FP32))
        return
    yield from (("submanifold", p, COMMON) for p in PRECISIONS)
    yield from ((kind, p, COMMON) for kind in list(KINDS)[1:] for p in (FP16, FP32))
    yield from (("submanifold", p, w) for w in WIDTHS if w != COMMON for p in PRECISIONS)


def rulebook_of(scene: Scene, kind: str) -> Rulebook:
    """Of a kind of KINDS, on a scene or, for one that goes back up, on its coarser level."""
    sites, _ = Coords.of(scene.coords, scene.spatial_shape, 1)
    geometry = KINDS[kind]
    if geometry.is_upward:
        sites = sites.output(KINDS["halved"])
    return sites.rulebook(geometry)


def _law(setting: Setting, kind: str, precision: Precision, width: Width, clock: Clock) -> dict:
    with setting.on_kernels(), precision.chosen():
        rulebook = rulebook_of(setting.scenes["street"], kind)
        numbers = _Numbers(rulebook, width, precision, setting.device)
        worst = {}
        for flow, limit in _ways(rulebook, setting.tiny):
            with plans.use(partial(_asked, flow, limit)):
                worst[f"{flow} {limit}"] = _check(numbers, flow)
        worst["epilogue"] = _check_epilogue(numbers)
    return {"share_of_allowed_error": worst, "pairs": rulebook.pair_count()}


def _ways(rulebook: Rulebook, tiny: bool) -> list[tuple[str, int]]:
    limited = [("sorted", 9)] if rulebook.taps > 9 else []
    flows = DATAFLOWS[-1:] if tiny else DATAFLOWS
    return [(flow, 0) for flow in flows] + limited


def _asked(flow: str, limit: int, demand: Demand, choice: Choice) -> Choice:
    return replace(choice, dataflow=flow, limit=limit)


class _Numbers:
    """Factors of a convolution, and what it and its gradients are in float64."""

    def __init__(
        self, rulebook: Rulebook, width: Width, precision: Precision, device: torch.device
    ):
        self.rulebook, self.groups, self.precision = rulebook, width.groups, precision
        shape = rulebook.taps, width.inputs // width.groups, width.outputs
        dice = torch.Generator(device).manual_seed(0)

        def drawn(*shape: int) -> Tensor:
            numbers = torch.randn(*shape, generator=dice, device=device)
            return numbers.to(precision.dtype)

        self.x = drawn(rulebook.inputs, width.inputs)
        self.weight = drawn(*shape)
        self.grad = drawn(rulebook.outputs, width.outputs)
        self.y = self._both(_product, self.x, self.weight)
        self.back = self._both(_product_back, self.grad, self.weight)
        self.weight_grad = self._both(_weight_grad, self.x, self.grad)

    def _both(self, compute, *factors: Tensor) -> tuple[Tensor, Tensor]:
        """In float64: of the factors, and of their sizes."""
        wide = [factor.double() for factor in factors]
        sizes = [factor.abs() for factor in wide]
        return tuple(compute(self.rulebook, *each, self.groups) for each in (wide, sizes))


def _lines(rulebook: Rulebook) -> Iterator[tuple[int, Tensor, Tensor]]:
    """(tap, input rows, output rows) of each line of the raw table."""
    table = rulebook.layout
    assert isinstance(table, Table)
    taps = tap_of_line(table.taps, table.lines).tolist()
    for line, tap in enumerate(taps):
        target = (table.sources[line] >= 0).nonzero()[:, 0]
        yield tap, table.sources[line, target].long(), target


def _product(rulebook: Rulebook, x: Tensor, weight: Tensor, groups: int) -> Tensor:
    y = x.new_zeros(rulebook.outputs, groups, weight.shape[2] // groups)
    x, weight = x.unflatten(1, (groups, -1)), weight.unflatten(2, (groups, -1))
    for tap, source, target in _lines(rulebook):
        y.index_add_(0, target, torch.einsum("pgi,igo->pgo", x[source], weight[tap]))
    return y.flatten(1)


def _product_back(rulebook: Rulebook, grad: Tensor, weight: Tensor, groups: int) -> Tensor:
    x = grad.new_zeros(rulebook.inputs, groups, weight.shape[1])
    grad, weight = grad.unflatten(1, (groups, -1)), weight.unflatten(2, (groups, -1))
    for tap, source, target in _lines(rulebook):
        x.index_add_(0, source, torch.einsum("pgo,igo->pgi", grad[target], weight[tap]))
    return x.flatten(1)


def _weight_grad(rulebook: Rulebook, x: Tensor, grad: Tensor, groups: int) -> Tensor:
    total = x.new_zeros(rulebook.taps, x.shape[1] // groups, grad.shape[1])
    x, grad = x.unflatten(1, (groups, -1)), grad.unflatten(1, (groups, -1))
    for tap, source, target in _lines(rulebook):
        total[tap] = torch.einsum("pgi,pgo->igo", x[source], grad[target]).flatten(1)
    return total


def _check(of: _Numbers, flow: str) -> float:
    """The worst share of the allowed error, of a convolution and both gradients."""
    there, again = of.rulebook.lists(flow, True), of.rulebook.T.lists(flow, True)
    back = swap_channels(of.weight, of.groups)
    rows = of.rulebook.outputs, of.rulebook.inputs

    def run() -> tuple[Tensor, ...]:
        return (
            conv(of.x, of.weight, there, [], rows[0], of.groups),
            conv(of.grad, back, again, [], rows[1], of.groups),
            conv_weight_grad(of.x, of.grad, there, [], of.groups),
        )

    found = same_bits(run, flow)
    named = zip(("y", "gradient of x", "gradient of weight"), found, strict=True)
    wanted = (of.y, of.back, of.weight_grad)
    shares = [
        close(value, *truth, of.precision, f"{name}, {flow}")
        for (name, value), truth in zip(named, wanted, strict=True)
    ]
    return max(shares)


def _check_epilogue(of: _Numbers) -> float:
    """A convolution with every step behind it: scale, shift, residual, leaky ReLU."""
    wanted, sizes = of.y
    scale, shift = of.grad[:2] if len(of.grad) > 1 else (of.grad[0], of.grad[0])
    steps = Epilogue(scale, shift, of.grad, "leaky_relu", 0.125)
    lists, rows = of.rulebook.lists(), of.rulebook.outputs
    rest = (steps.scale, steps.shift, steps.residual, steps.activation, steps.slope)
    found = conv_fused(of.x, of.weight, lists, rows, of.groups, *rest)
    wide = [t.double() for t in (scale, shift, of.grad)]
    wanted = wanted * wide[0] + wide[1] + wide[2]
    sizes = sizes * wide[0].abs() + wide[1].abs() + wide[2].abs()
    wanted = torch.where(wanted < 0, wanted * steps.slope, wanted)
    right(bool(found.isfinite().all()), "numbers behind an epilogue")
    return close(found, wanted, sizes, of.precision, "epilogue")
