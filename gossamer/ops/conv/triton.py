"""Convolution on a GPU: output-stationary tiles over the table layout of a rulebook."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gossamer.ops.conv import Epilogue
from gossamer.ops.conv.gpu.depthwise import conv_depthwise
from gossamer.ops.conv.gpu.product import product
from gossamer.ops.conv.gpu.weight_grad import weight_grad
from gossamer.ops.dispatch import Problem
from gossamer.ops.launch import interpreted, unusable
from gossamer.ops.plans import Demand, architecture, choose
from gossamer.ops.plans.chips import chip
from gossamer.ops.rulebooks import PAIRS

DTYPES = (torch.float16, torch.bfloat16, torch.float32)


def refuses(problem: Problem) -> str:
    reason = unusable(problem.device, problem.index)
    if reason:
        return reason
    if problem.lists == PAIRS:
        return "takes a table, not pairs"
    if problem.dtype not in DTYPES:
        return f"no {problem.dtype} kernel"
    return "" if interpreted() else _refuses_chip(problem)


def _refuses_chip(problem: Problem) -> str:
    arch = architecture(torch.device(problem.device, problem.index or 0))
    try:
        chip(arch)
    except ValueError:
        return f"no tiles for {arch}, whose matrix instructions are others or none"
    return ""


def conv(
    x: Tensor,
    weight: Tensor,
    lists: Sequence[Tensor],
    rows: int,
    groups: int,
    epilogue: Epilogue,
) -> Tensor:
    taps, c_in, c_out = weight.shape
    if groups > 1 and c_in == 1:
        return conv_depthwise(x, weight, lists, rows, groups, epilogue)
    demand = Demand("conv", architecture(x.device), x.dtype, c_in, c_out // groups, taps)
    return product(x, weight, lists, rows, groups, epilogue, choose(demand, rows))


def conv_weight_grad(x: Tensor, grad: Tensor, lists: Sequence[Tensor], groups: int) -> Tensor:
    return weight_grad(x, grad, lists, groups)
