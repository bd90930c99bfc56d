"""How a GPU would compute a network's layers: the plan of each size of layer, and its reason."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from rich.console import Console
from torch import nn

from gossamer.explain.terminal import heading, say, show, table, title
from gossamer.models.minkunet import MinkUNet
from gossamer.models.second import SECONDEncoder
from gossamer.nn.conv import SparseConvolution
from gossamer.ops.plans import Choice, Demand, Tile, choose
from gossamer.ops.plans.chips import chip, device_name
from gossamer.ops.plans.dataflow import cost_of, dataflow
from gossamer.ops.plans.precision import torch_setting, why

FEW, MANY = 4_000, 100_000  # rows: deep in a network, and of a scan
INPUTS, CLASSES = 4, 19


@dataclass(frozen=True)
class Layer:
    """A size of layer.

    Args:
        inputs, outputs: channels a group.
        taps: K.
    """

    inputs: int
    outputs: int
    taps: int


@dataclass(frozen=True)
class LayerPlan:
    """How a size of layer is computed.

    Args:
        layer: the size.
        few, many: for FEW and for MANY output rows.
        gradient: of the weight, for MANY output rows.
        reason: for the dataflow.
    """

    layer: Layer
    few: Choice
    many: Choice
    gradient: Choice
    reason: str


def layers_of(models: Iterable[nn.Module]) -> list[Layer]:
    """Every size of convolution in some networks, narrow ones first."""
    convolutions = (
        each for model in models for each in model.modules() if isinstance(each, SparseConvolution)
    )
    sizes = {(c.weight.shape[1], c.out_channels // c.groups, len(c.weight)) for c in convolutions}
    return [Layer(*size) for size in sorted(sizes)]


def built_in_layers() -> list[Layer]:
    """Those of the networks that gossamer brings."""
    return layers_of([MinkUNet(INPUTS, CLASSES), SECONDEncoder(INPUTS)])


def plans_of(arch: str, dtype: torch.dtype, layers: Sequence[Layer]) -> list[LayerPlan]:
    """The plan of every layer.

    Args:
        arch: "sm_90", "gfx942" ….
        dtype: of the features.
        layers: sizes.

    Raises:
        ValueError: `arch` is unknown, and no newer kind of one that is known.
    """
    chip(arch)
    plans = []
    for layer in layers:
        sizes = layer.inputs, layer.outputs, layer.taps
        demand = Demand("conv", arch, dtype, *sizes)
        gradient = Demand("weight_grad", arch, dtype, *sizes)
        few, many = choose(demand, FEW), choose(demand, MANY)
        _, reason = dataflow(demand, cost_of(dtype, many.precision))
        plans.append(LayerPlan(layer, few, many, choose(gradient, MANY), reason))
    return plans


def show_plans(console: Console, arch: str, dtype: torch.dtype, plans: Sequence[LayerPlan]) -> None:
    """Print the plans as tables, and the reasons below them."""
    name = str(dtype).removeprefix("torch.")
    machine = device_name(arch)
    where = f"{arch}, this machine's {machine}" if machine else arch
    title(console, f"Plans for {name} on {where}", _about(dtype, plans))
    _convolutions(console, plans)
    _gradients(console, plans)
    _reasons(console, plans)


def _about(dtype: torch.dtype, plans: Sequence[LayerPlan]) -> str:
    if dtype != torch.float32:
        return "Products of two 16-bit numbers are summed in float32."
    setting, found = torch_setting(), plans[0].many.precision
    return f"Products are {found}: {why(found, setting)}."


def _convolutions(console: Console, plans: Sequence[LayerPlan]) -> None:
    heading(console, "Convolutions, and their gradients of x")
    heads = ("channels", "taps", "dataflow", f"{FEW:,} rows", f"{MANY:,} rows")
    shown = table(console, *heads, right=("channels", "taps"))
    for plan in plans:
        cells = plan.many.dataflow, _tile(plan.few), _tile(plan.many)
        shown.add_row(*_names(plan.layer), *cells)
    show(console, shown)
    say(
        console,
        "64x128/32 w4 s5 L7: a tile of 64 rows and 128 output channels, by 32 input channels a "
        "step, in 4 warps and 5 stages. A program walks at most 7 taps and leaves the rest to "
        "another; without L it walks all, because there are tiles enough.",
    )


def _gradients(console: Console, plans: Sequence[LayerPlan]) -> None:
    heading(console, f"Gradients of a weight, {MANY:,} rows")
    shown = table(console, "channels", "taps", "tile", "parts", right=("channels", "taps", "parts"))
    for plan in plans:
        tile = _gradient_tile(plan.gradient.tile)
        shown.add_row(*_names(plan.layer), tile, str(plan.gradient.parts))
    show(console, shown)
    say(
        console,
        "A tile is input x output channels, by so many pairs a step. All pairs are divided "
        "into parts, whose sums are added in a fixed order.",
    )


def _reasons(console: Console, plans: Sequence[LayerPlan]) -> None:
    heading(console, "Why these dataflows")
    reasons = dict.fromkeys((plan.many.dataflow, plan.reason) for plan in plans)
    shown = table(console, "dataflow", "because")
    for flow, reason in reasons:
        shown.add_row(flow, reason)
    show(console, shown)


def _names(layer: Layer) -> tuple[str, str]:
    return f"{layer.inputs}->{layer.outputs}", str(layer.taps)


def _tile(choice: Choice) -> str:
    tile, limit = choice.tile, f" L{choice.limit}" if choice.limit else ""
    return f"{tile.rows}x{tile.columns}/{tile.channels} w{tile.warps} s{tile.stages}{limit}"


def _gradient_tile(tile: Tile) -> str:
    return f"{tile.channels}x{tile.columns}/{tile.rows} w{tile.warps} s{tile.stages}"
