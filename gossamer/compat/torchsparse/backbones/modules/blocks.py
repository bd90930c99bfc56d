"""A convolution, a transposed one, and two with a way around them; each with norm and ReLU."""

import math
from collections.abc import Sequence

from torch import nn

from gossamer.compat.torchsparse import nn as spnn
from gossamer.compat.torchsparse.tensor import SparseTensor

__all__ = ["SparseConvBlock", "SparseConvTransposeBlock", "SparseResBlock"]

PerAxis = int | Sequence[int]


class SparseConvBlock(nn.Sequential):
    """Convolution, norm, ReLU."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: PerAxis,
        stride: PerAxis = 1,
        dilation: int = 1,
    ):
        super().__init__(
            spnn.Conv3d(in_channels, out_channels, kernel_size, stride=stride, dilation=dilation),
            spnn.BatchNorm(out_channels),
            spnn.ReLU(True),
        )


class SparseConvTransposeBlock(nn.Sequential):
    """Transposed convolution, norm, ReLU."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: PerAxis,
        stride: PerAxis = 1,
        dilation: int = 1,
    ):
        convolution = spnn.Conv3d(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            dilation=dilation,
            transposed=True,
        )
        super().__init__(convolution, spnn.BatchNorm(out_channels), spnn.ReLU(True))


class SparseResBlock(nn.Module):
    """Two convolutions, and beside them the input, through a 1x1x1 one where shapes differ."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: PerAxis,
        stride: PerAxis = 1,
        dilation: int = 1,
    ):
        super().__init__()
        self.main = nn.Sequential(
            spnn.Conv3d(in_channels, out_channels, kernel_size, stride=stride, dilation=dilation),
            spnn.BatchNorm(out_channels),
            spnn.ReLU(True),
            spnn.Conv3d(out_channels, out_channels, kernel_size, dilation=dilation),
            spnn.BatchNorm(out_channels),
        )
        self.shortcut = nn.Identity()
        if in_channels != out_channels or _strides(stride):
            self.shortcut = nn.Sequential(
                spnn.Conv3d(in_channels, out_channels, 1, stride=stride),
                spnn.BatchNorm(out_channels),
            )
        self.relu = spnn.ReLU(True)

    def forward(self, x: SparseTensor) -> SparseTensor:
        return self.relu(self.main(x) + self.shortcut(x))


def _strides(stride: PerAxis) -> bool:
    return stride != 1 if isinstance(stride, int) else math.prod(stride) != 1
