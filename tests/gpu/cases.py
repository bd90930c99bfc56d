"""Calls of the Triton backends that together start every kernel, in every line of the table."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

import gossamer.ops.conv.triton as conv
from gossamer.ops.conv import NOTHING, Epilogue
from gossamer.ops.plans import Choice, Demand, use
from gossamer.ops.plans import table as plan_table
from gossamer.ops.plans.chips import chip
from gossamer.ops.plans.dataflow import cost_of, dataflow
from gossamer.ops.plans.precision import precision
from gossamer.ops.plans.tiles import ANY, Line
from tests.gpu import other
from tests.gpu.launches import Launch, recorded
from tests.gpu.tables import LISTED, MIRRORED, NATURAL, ROWS, TAPS, table

PLANES = {27: 3, 125: 5}
LARGE = 20  # scale of rows beyond all bounds
WIDEST = 256


def launches(case: str, arch: str) -> list[Launch]:
    """What a case starts on `arch`, each kind of launch once.

    Args:
        case: one of CASES.
        arch: "sm_90", ….
    """
    before = torch.get_float32_matmul_precision()
    with recorded(arch) as recorder:
        try:
            CASES[case](arch)
        finally:
            torch.set_float32_matmul_precision(before)
    return list(recorder.launches.values())


@contextmanager
def planned(scale: int, wanted: str = "") -> Iterator[None]:
    """Inside the block, problems are as large as `scale` says, and as precise as `wanted`."""

    def change(demand: Demand, choice: Choice) -> Choice:
        return plan_table.choice(demand, scale, wanted or choice.precision)

    with use(change):
        yield


def lines(op: str, arch: str, dtype: torch.dtype, wanted: str) -> Iterator[tuple[int, int]]:
    """Channels and the least and the largest scale for every line that a dtype looks into."""
    family = chip(arch).family
    found: Sequence[Line] = plan_table.lines(op, family, cost_of(dtype, wanted))
    least: dict[int, int] = {}
    for line in found:
        channels = min(line.channels, WIDEST)
        scale = LARGE if line.rows == ANY else line.rows.bit_length() - 1
        # An empty problem is as small as one can be.
        yield from ((channels, each) for each in sorted({least.get(channels, 0), scale}))
        least[channels] = scale + 1


def convolve(arch: str, dtype: torch.dtype, channels: tuple[int, int], **how) -> None:
    """One convolution with everything that an epilogue can be; `how` as its last parameters."""
    inputs, outputs = channels
    taps, names = how.get("taps", TAPS), how.get("names", NATURAL)
    wanted = precision(chip(arch).family, dtype, torch.get_float32_matmul_precision())
    demand = Demand("conv", arch, dtype, inputs, outputs, taps)
    flow, _ = dataflow(demand, cost_of(dtype, wanted))
    x, weight = (
        torch.zeros(ROWS, inputs, dtype=dtype),
        torch.zeros(taps, inputs, outputs, dtype=dtype),
    )
    if how.get("turned"):
        weight = weight.mT.contiguous().mT
    ones = torch.ones(outputs, dtype=dtype)
    all_of_it = Epilogue(ones, ones, torch.zeros(ROWS, outputs, dtype=dtype), "leaky_relu", 0.1)
    lists = table(PLANES[taps] if flow == "planes" else 1, names, taps)
    conv.conv(x, weight, lists, ROWS, 1, how.get("epilogue", all_of_it))


def weigh(dtype: torch.dtype, inputs: int, outputs: int, names: int = NATURAL) -> None:
    """One gradient of a weight."""
    x, grad = torch.zeros(ROWS, inputs, dtype=dtype), torch.zeros(ROWS, outputs, dtype=dtype)
    conv.conv_weight_grad(x, grad, table(1, names), 1)


def conv_half(arch: str) -> None:
    for channels, scale in lines("conv", arch, torch.float16, "ieee"):
        with planned(scale):
            convolve(arch, torch.float16, (channels, channels))
    with planned(LARGE):
        convolve(arch, torch.bfloat16, (64, 64))
        convolve(arch, torch.bfloat16, (WIDEST, WIDEST))


def conv_odd(arch: str) -> None:
    """Channels that fill no tile, kernels that fill no word, taps by other names."""
    for dtype in (torch.float16, torch.float32):
        with planned(LARGE):
            convolve(arch, dtype, (24, 40), names=MIRRORED)
            convolve(arch, dtype, (96, 96), names=LISTED)
            convolve(arch, dtype, (128, 64), turned=True)
    with planned(LARGE):
        convolve(arch, torch.float16, (4, 16))
        convolve(arch, torch.float16, (16, 64), taps=125, names=MIRRORED)
        convolve(arch, torch.float16, (32, 64), taps=1, epilogue=NOTHING)
    with planned(12):
        convolve(arch, torch.float16, (24, 100), taps=9)


def conv_float(arch: str) -> None:
    wanted = precision(chip(arch).family, torch.float32, "highest")
    for channels, scale in lines("conv", arch, torch.float32, wanted):
        with planned(scale):
            convolve(arch, torch.float32, (channels, channels))


def conv_other_float(arch: str) -> None:
    """The precisions that float32 does not have unless asked for, where most is computed."""
    for asked in _asked_for(arch):
        with planned(LARGE, asked):
            convolve(arch, torch.float32, (WIDEST, WIDEST))


def weight_grad_half(arch: str) -> None:
    for channels, scale in lines("weight_grad", arch, torch.float16, "ieee"):
        with planned(scale):
            weigh(torch.float16, channels, channels)
    with planned(LARGE):
        weigh(torch.bfloat16, 128, 128, MIRRORED)
        weigh(torch.float16, 4, 40, LISTED)
        weigh(torch.float16, 264, 136)


def weight_grad_float(arch: str) -> None:
    wanted = precision(chip(arch).family, torch.float32, "highest")
    for channels, scale in lines("weight_grad", arch, torch.float32, wanted):
        with planned(scale):
            weigh(torch.float32, channels, channels)
    with planned(LARGE):
        weigh(torch.float32, 4, 40)
    for asked in _asked_for(arch):
        with planned(LARGE, asked):
            weigh(torch.float32, 128, 128)


def _asked_for(arch: str) -> list[str]:
    family = chip(arch).family
    usual = precision(family, torch.float32, "highest")
    others = {precision(family, torch.float32, "high"), "ieee"}
    return sorted(others - {usual})


def depthwise(_arch: str) -> None:
    for dtype, channels, multiplier, orders in (
        (torch.float16, 64, 1, 1),
        (torch.bfloat16, 16, 2, 3),
        (torch.float32, 24, 1, 3),
    ):
        x = torch.zeros(ROWS, channels, dtype=dtype)
        y = torch.zeros(ROWS, channels * multiplier, dtype=dtype)
        weight = torch.zeros(TAPS, 1, channels * multiplier, dtype=dtype)
        lists = table(orders, MIRRORED)
        conv.conv(x, weight, lists, ROWS, channels, NOTHING)
        conv.conv_weight_grad(x, y, lists, channels)


CASES: dict[str, Callable[[str], None]] = {
    "conv_half": conv_half,
    "conv_float": conv_float,
    "conv_odd": conv_odd,
    "conv_other_float": conv_other_float,
    "weight_grad_half": weight_grad_half,
    "weight_grad_float": weight_grad_float,
    "depthwise": depthwise,
    **other.CASES,
}
