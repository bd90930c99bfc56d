"""CenterPoint's sparse encoder, in gossamer's layers and in those of spconv and its kin.

Yin, Zhou, Krähenbühl: Center-based 3D Object Detection and Tracking, CVPR 2021: 21 convolutions.
Both have parameters of the same names, so that weights carry over.
"""

from types import ModuleType

import torch
from torch import Tensor
from torch import nn as torch_nn

from gossamer import nn
from gossamer.tensor import SparseTensor

PLAN = (16, 32, 64, 128)
BLOCKS = 2  # a level
PADDINGS = (1, 1, (0, 1, 1))
FLAT = {"kernel_size": (3, 1, 1), "stride": (2, 1, 1), "bias": False}


class CenterPointEncoder(torch_nn.Module):
    """A bird's-eye view an eighth as fine as the grid (z, y, x).

    Args:
        inputs: C of the input.
        plan: channels of the levels.
        blocks: of each level.
    """

    def __init__(self, inputs: int, plan: tuple[int, ...] = PLAN, blocks: int = BLOCKS):
        super().__init__()
        self.stem = _then_norm(nn.SubMConv3d(inputs, plan[0], 3, bias=False))
        levels: list[torch_nn.Module] = [_block(plan[0]) for _ in range(blocks)]
        for low, high, padding in zip(plan, plan[1:], PADDINGS, strict=False):
            down = nn.SparseConv3d(low, high, 3, stride=2, padding=padding, bias=False)
            levels += [_then_norm(down), *(_block(high) for _ in range(blocks))]
        self.levels = nn.SparseSequential(*levels)
        self.out = _then_norm(nn.SparseConv3d(plan[-1], plan[-1], **FLAT))
        self.to_view = nn.ToBEV(axis=0)

    def forward(self, x: SparseTensor) -> Tensor:
        return self.to_view(self.out(self.levels(self.stem(x))))


def _then_norm(convolution: torch_nn.Module) -> nn.SparseSequential:
    channels = convolution.out_channels
    return nn.SparseSequential(convolution, nn.BatchNorm(channels, eps=1e-3), nn.ReLU())


def _block(channels: int) -> torch_nn.Module:
    body = nn.SparseSequential(
        *_then_norm(nn.SubMConv3d(channels, channels, 3, bias=False)),
        nn.SubMConv3d(channels, channels, 3, bias=False),
        nn.BatchNorm(channels, eps=1e-3),
    )
    return nn.Residual(body, nn.SparseSequential(), nn.ReLU())


def in_spconv(spconv: ModuleType, inputs: int) -> torch_nn.Module:
    """The same in the layers of `spconv.pytorch`, or of a module that has them too."""

    def then_norm(convolution: torch_nn.Module) -> torch_nn.Module:
        norm = torch_nn.BatchNorm1d(convolution.out_channels, eps=1e-3)
        return spconv.SparseSequential(convolution, norm, torch_nn.ReLU())

    def same(low: int, high: int, key: str) -> torch_nn.Module:
        return spconv.SubMConv3d(low, high, 3, bias=False, indice_key=key)

    class Block(torch_nn.Module):
        def __init__(self, channels: int, key: str):
            super().__init__()
            self.body = spconv.SparseSequential(
                *then_norm(same(channels, channels, key)),
                same(channels, channels, key),
                torch_nn.BatchNorm1d(channels, eps=1e-3),
            )

        def forward(self, x):
            y = self.body(x)
            return y.replace_feature(torch.relu(y.features + x.features))

    class Encoder(torch_nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = then_norm(same(inputs, PLAN[0], "0"))
            levels = [Block(PLAN[0], "0"), Block(PLAN[0], "0")]
            pairs = zip(PLAN, PLAN[1:], PADDINGS, strict=False)
            for level, (low, high, padding) in enumerate(pairs, start=1):
                down = spconv.SparseConv3d(low, high, 3, stride=2, padding=padding, bias=False)
                levels += [then_norm(down), Block(high, str(level)), Block(high, str(level))]
            self.levels = torch_nn.Sequential(*levels)
            self.out = then_norm(spconv.SparseConv3d(PLAN[-1], PLAN[-1], **FLAT))

        def forward(self, x) -> Tensor:
            return self.out(self.levels(self.stem(x))).dense().flatten(1, 2)

    return Encoder()
