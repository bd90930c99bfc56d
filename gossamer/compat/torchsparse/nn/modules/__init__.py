"""Layers."""

from gossamer.compat.torchsparse.nn.modules.activation import LeakyReLU, ReLU, SiLU
from gossamer.compat.torchsparse.nn.modules.bev import (
    ToBEVConvolution,
    ToBEVHeightCompression,
    ToBEVReduction,
    ToDenseBEVConvolution,
)
from gossamer.compat.torchsparse.nn.modules.conv import Conv3d
from gossamer.compat.torchsparse.nn.modules.crop import SparseCrop
from gossamer.compat.torchsparse.nn.modules.norm import BatchNorm, GroupNorm, InstanceNorm
from gossamer.compat.torchsparse.nn.modules.pooling import GlobalAvgPool, GlobalMaxPool

__all__ = [
    "BatchNorm",
    "Conv3d",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "GroupNorm",
    "InstanceNorm",
    "LeakyReLU",
    "ReLU",
    "SiLU",
    "SparseCrop",
    "ToBEVConvolution",
    "ToBEVHeightCompression",
    "ToBEVReduction",
    "ToDenseBEVConvolution",
]
