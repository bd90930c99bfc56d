"""Convolutions one at a time: every width, precision, scene and order of rows.

Figures of a layer are of its product alone, the rulebook being there; strided ones are measured
with the rulebook made anew too.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial

import torch
from torch import Tensor

from gossamer.bench.cases import KINDS
from gossamer.coords import Coords, Steps
from gossamer.ops import plans
from gossamer.ops.conv import conv, conv_weight_grad, swap_channels
from gossamer.ops.plans import DATAFLOWS, Choice, Demand, store, work
from gossamer.ops.plans.chips import architecture, chip
from gossamer.rulebook import Rulebook
from gossamer.tuning.search import neighbours
from on_gpu.clock import Clock, Figures
from on_gpu.precisions import BF16, FP16, FP32, TF32, Precision
from on_gpu.tasks import Setting, Task

CHANNELS = (64, 128, 32, 256)  # the most telling first
TINY = 4


@dataclass(frozen=True)
class Layer:
    """A convolution, as many channels in as out."""

    setting: Setting
    scene: str
    kind: str
    channels: int
    precision: Precision

    def __str__(self) -> str:
        return f"{self.scene} {self.kind} C={self.channels} {self.precision}"

    @property
    def dtype(self) -> torch.dtype:
        return self.precision.dtype

    def sites(self) -> Coords:
        where = self.setting.scenes[self.scene]
        return Coords.of(where.coords, where.spatial_shape, 1)[0]

    def drawn(self, *shape: int) -> Tensor:
        dice = torch.Generator(self.setting.device).manual_seed(len(shape) + shape[0])
        return torch.randn(*shape, generator=dice, device=self.setting.device).to(self.dtype)

    def weight(self) -> Tensor:
        return self.drawn(27, self.channels, self.channels) * (27 * self.channels) ** -0.5

    def demand(self, op: str) -> Demand:
        arch, c = architecture(self.setting.device), self.channels
        return Demand(op, arch, self.dtype, c, c, 27)


def layers(setting: Setting) -> list[Layer]:
    """All of them; if time runs out, the last ones matter least."""
    if setting.tiny:
        return [Layer(setting, "street", "submanifold", TINY, FP32)]
    return [
        Layer(setting, scene, kind, channels, precision)
        for scene in setting.host_scenes
        for precision in (FP16, FP32, TF32, BF16)
        for kind in KINDS
        for channels in CHANNELS
    ]


def tasks(setting: Setting) -> list[Task]:
    """Every layer in every order of rows."""
    return [Task(str(layer), partial(_measured, layer)) for layer in layers(setting)]


def choices(setting: Setting) -> list[Task]:
    """For the first scene, what the plan's tiles might be instead."""
    wanted = [each for each in layers(setting) if each.scene == "street"]
    # Tiles of both half types are the same, and of both kinds of layer.
    wanted = [each for each in wanted if each.precision != BF16 and each.kind == "submanifold"]
    return [
        Task(f"{layer} {op}", partial(_alternatives, layer, op))
        for layer in wanted
        for op in ("conv", "weight_grad")
    ]


def _measured(layer: Layer, clock: Clock) -> dict:
    with layer.setting.on_kernels(), layer.precision.chosen():
        sites = layer.sites()
        rulebook = sites.rulebook(KINDS[layer.kind])
        pairs, rows = rulebook.pair_count(), (rulebook.inputs, rulebook.outputs)
        flops = 2.0 * pairs * layer.channels**2
        size = torch.finfo(layer.dtype).bits // 8
        least = (sum(rows) + 27 * layer.channels) * layer.channels * size + 4 * pairs
        plan = plans.choose(layer.demand("conv"), rows[1])
        found = {"voxels": rows[0], "outputs": rows[1], "pairs": pairs, "flops": flops}
        found |= {"least_bytes": least, "plan": asdict(plan), **_through_the_layer(layer, clock)}
        flows = DATAFLOWS[-1:] if layer.setting.tiny else DATAFLOWS
        by_flow = {flow: _in_order(layer, rulebook, flow, clock) for flow in flows}
    return {**found, "flows": by_flow}


def _in_order(layer: Layer, rulebook: Rulebook, flow: str, clock: Clock) -> dict[str, Figures]:
    """The product and its gradients, by themselves, in one order of rows."""
    x = layer.drawn(rulebook.inputs, layer.channels)
    grad = layer.drawn(rulebook.outputs, layer.channels)
    weight, rows = layer.weight(), (rulebook.inputs, rulebook.outputs)
    back = swap_channels(weight, 1)
    there, again = rulebook.lists(flow, True), rulebook.T.lists(flow, True)
    with plans.use(partial(_in_flow, flow, rows[1])), torch.no_grad():
        forward = partial(conv, x, weight, there, [], rows[1], 1)
        gradient = partial(conv, grad, back, again, [], rows[0], 1)
        return {
            "forward": clock.device_time(forward),
            "forward_replayed": clock.replayed(forward),
            "gradient_of_x": clock.device_time(gradient),
        }


def _in_flow(flow: str, rows: int, demand: Demand, choice: Choice) -> Choice:
    """The choice in another order of rows, its work divided as the table would."""
    if demand.op != "conv" or choice.dataflow == flow:
        return choice
    processors = chip(demand.arch).processors
    bound = work.limit(demand, store.scale(rows), choice.tile, processors)
    return replace(choice, dataflow=flow, limit=0 if flow == "planes" else bound)


def _through_the_layer(layer: Layer, clock: Clock) -> dict[str, Figures]:
    """As a network calls it: forward; forward and backward; both with the rulebook made anew."""
    sites, geometry = layer.sites(), KINDS[layer.kind]
    rulebook = sites.rulebook(geometry)
    x = layer.drawn(rulebook.inputs, layer.channels).requires_grad_()
    weight = layer.weight().requires_grad_()
    grad = layer.drawn(rulebook.outputs, layer.channels)
    plain = x.detach(), weight.detach()
    lists = rulebook.lists(plans.choose(layer.demand("conv"), rulebook.outputs).dataflow, True)

    def cold() -> Rulebook:
        return replace(sites, steps=Steps()).rulebook(geometry)

    def step(of: Callable[[], Rulebook]) -> tuple[Tensor, ...]:
        return torch.autograd.grad(of().convolve(x, weight), [x, weight], grad)

    return {
        "forward": clock.device_time(lambda: rulebook.convolve(*plain)),
        "forward_call": clock.a_call(lambda: rulebook.convolve(*plain)),
        "step": clock.device_time(lambda: step(lambda: rulebook)),
        "weight_grad": clock.device_time(lambda: conv_weight_grad(plain[0], grad, lists, [], 1)),
        "cold_forward": clock.device_time(lambda: cold().convolve(*plain)),
        "cold_step": clock.device_time(lambda: step(cold)),
    }


def _alternatives(layer: Layer, op: str, clock: Clock) -> dict:
    """What the plan chooses and every choice that differs in one thing, in a graph each."""
    with layer.setting.on_kernels(), layer.precision.chosen(), torch.no_grad():
        rulebook = layer.sites().rulebook(KINDS[layer.kind])
        demand = layer.demand(op)
        chosen = plans.choose(demand, rulebook.outputs)
        lists = rulebook.lists(chosen.dataflow, True)
        x = layer.drawn(rulebook.inputs, layer.channels)
        if op == "conv":
            run = partial(conv, x, layer.weight(), lists, [], rulebook.outputs, 1)
        else:
            grad = layer.drawn(rulebook.outputs, layer.channels)
            run = partial(conv_weight_grad, x, grad, lists, [], 1)
        others = list(neighbours(demand, chosen))
        if layer.setting.tiny:
            others = others[:1]
        rows = [_with(choice, run, clock) for choice in (chosen, *others)]
    return {"voxels": rulebook.inputs, "dataflow": chosen.dataflow, "choices": rows}


def _with(choice: Choice, run: Callable[[], Tensor], clock: Clock) -> dict:
    from triton import TritonError

    row = {**asdict(choice.tile), "limit": choice.limit, "parts": choice.parts}
    try:
        with plans.use(lambda _demand, _choice: choice):
            return {**row, **clock.replayed(run)}
    except TritonError as error:
        return {**row, "refused": f"{type(error).__name__}: {error}"[:200]}
