"""The networks as spconv's users write them, with names like gossamer's, so weights carry over."""

from math import prod
from typing import Any

import spconv.pytorch as spconv
import torch
from torch import Tensor, nn

from gossamer.bench.cases import CLASSES, NETWORK_INPUTS, Problem
from gossamer.bench.networks import WIDTH, Network, build
from gossamer.models.minkunet import PLAN as MINKUNET_PLAN
from gossamer.models.second import PLAN as SECOND_PLAN


def network(problem: Problem) -> Network:
    """A network of spconv's layers with the weights of gossamer's own."""
    minkunet = problem.kind == "minkunet"
    module, scene = MinkUNet() if minkunet else SECONDEncoder(), problem.scene
    module.to(problem.dtype)
    state = module.state_dict()
    ours = build(problem).state_dict()
    module.load_state_dict({name: to_spconv(ours[name], state[name].shape) for name in state})

    def call(features: Tensor) -> Tensor:
        x = spconv.SparseConvTensor(features, scene.coords, list(scene.spatial_shape), 1)
        y = module(x)
        return y.features if minkunet else y

    return Network(module, call, from_spconv)


def to_spconv(tensor: Tensor, shape: torch.Size) -> Tensor:
    """A convolution's weight [K, C_in, C_out] as [C_out, *kernel, C_in]; anything else as it is."""
    return tensor.permute(2, 0, 1).reshape(shape) if len(shape) == 5 else tensor


def from_spconv(tensor: Tensor) -> Tensor:
    """A convolution's weight [C_out, *kernel, C_in] as [K, C_in, C_out]; anything else as it is."""
    if tensor.ndim != 5:
        return tensor
    return tensor.reshape(len(tensor), prod(tensor.shape[1:4]), -1).permute(1, 2, 0)


class MinkUNet(nn.Module):
    """gossamer.models.MinkUNet in spconv."""

    def __init__(self):
        super().__init__()
        plan = [int(WIDTH * channels) for channels in MINKUNET_PLAN]
        self.stem = spconv.SparseSequential(
            *_normalised(_submanifold(NETWORK_INPUTS, plan[0], "sites0")),
            *_normalised(_submanifold(plan[0], plan[0], "sites0")),
        )
        self.down = nn.ModuleList(Down(plan[i], plan[i + 1], i) for i in range(4))
        self.up = nn.ModuleList(Up(plan[4 + i], plan[3 - i], plan[5 + i], 3 - i) for i in range(4))
        self.head = nn.Linear(plan[8], CLASSES)

    def forward(self, x: spconv.SparseConvTensor) -> spconv.SparseConvTensor:
        x = self.stem(x)
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(x)
        for up in self.up:
            x = up(x, skips.pop())
        return x.replace_feature(self.head(x.features))


class Down(nn.Module):
    """Onto a grid half as fine, then two residual blocks."""

    def __init__(self, in_channels: int, out_channels: int, level: int):
        super().__init__()
        coarsen = spconv.SparseConv3d(
            in_channels, in_channels, 2, stride=2, bias=False, indice_key=f"down{level}"
        )
        self.coarsen = spconv.SparseSequential(*_normalised(coarsen))
        self.blocks = nn.Sequential(
            Residual(in_channels, out_channels, f"sites{level + 1}"),
            Residual(out_channels, out_channels, f"sites{level + 1}"),
        )

    def forward(self, x: spconv.SparseConvTensor) -> spconv.SparseConvTensor:
        return self.blocks(self.coarsen(x))


class Up(nn.Module):
    """Back onto the sites of `level`, joined by what was there, then two residual blocks."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int, level: int):
        super().__init__()
        refine = spconv.SparseInverseConv3d(
            in_channels, out_channels, 2, indice_key=f"down{level}", bias=False
        )
        self.refine = spconv.SparseSequential(*_normalised(refine))
        self.blocks = nn.Sequential(
            Residual(out_channels + skip_channels, out_channels, f"sites{level}"),
            Residual(out_channels, out_channels, f"sites{level}"),
        )

    def forward(
        self, x: spconv.SparseConvTensor, skip: spconv.SparseConvTensor
    ) -> spconv.SparseConvTensor:
        x = self.refine(x)
        x = x.replace_feature(torch.cat([x.features, skip.features], dim=1))
        return self.blocks(x)


class Residual(nn.Module):
    """Two submanifold convolutions, and a way around them."""

    def __init__(self, in_channels: int, out_channels: int, key: str):
        super().__init__()
        self.body = spconv.SparseSequential(
            *_normalised(_submanifold(in_channels, out_channels, key)),
            _submanifold(out_channels, out_channels, key),
            nn.BatchNorm1d(out_channels),
        )
        self.around = nn.Sequential()
        if in_channels != out_channels:
            linear = nn.Linear(in_channels, out_channels, bias=False)
            self.around = nn.Sequential(linear, nn.BatchNorm1d(out_channels))

    def forward(self, x: spconv.SparseConvTensor) -> spconv.SparseConvTensor:
        y = self.body(x)
        return y.replace_feature(torch.relu(y.features + self.around(x.features)))


class SECONDEncoder(nn.Module):
    """gossamer.models.SECONDEncoder in spconv."""

    def __init__(self):
        super().__init__()
        stem, one, two, three, four, out = SECOND_PLAN
        self.stem = _second(_submanifold(NETWORK_INPUTS, stem, "sites1"))
        self.stages = nn.Sequential(
            _second(_submanifold(stem, one, "sites1")),
            _stage(one, two, (1, 1, 1), "sites2"),
            _stage(two, three, (1, 1, 1), "sites3"),
            _stage(three, four, (0, 1, 1), "sites4"),
        )
        flatten = spconv.SparseConv3d(four, out, (3, 1, 1), stride=(2, 1, 1), bias=False)
        self.out = _second(flatten)

    def forward(self, x: spconv.SparseConvTensor) -> Tensor:
        return self.out(self.stages(self.stem(x))).dense().flatten(1, 2)


def _stage(in_channels: int, out_channels: int, padding: tuple[int, ...], key: str) -> nn.Module:
    down = spconv.SparseConv3d(in_channels, out_channels, 3, stride=2, padding=padding, bias=False)
    return nn.Sequential(
        _second(down),
        _second(_submanifold(out_channels, out_channels, key)),
        _second(_submanifold(out_channels, out_channels, key)),
    )


def _submanifold(in_channels: int, out_channels: int, key: str) -> nn.Module:
    return spconv.SubMConv3d(in_channels, out_channels, 3, bias=False, indice_key=key)


def _normalised(convolution: Any) -> list[nn.Module]:
    return [convolution, nn.BatchNorm1d(convolution.out_channels), nn.ReLU()]


def _second(convolution: Any) -> nn.Module:
    norm = nn.BatchNorm1d(convolution.out_channels, eps=1e-3, momentum=0.01)
    return spconv.SparseSequential(convolution, norm, nn.ReLU())
