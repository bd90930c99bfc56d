"""Layers."""

from gossamer.compat.torchsparse14.nn.modules.activation import LeakyReLU, ReLU
from gossamer.compat.torchsparse14.nn.modules.bev import (
    ToBEVConvolution,
    ToBEVHeightCompression,
    ToBEVReduction,
    ToDenseBEVConvolution,
)
from gossamer.compat.torchsparse14.nn.modules.conv import Conv3d
from gossamer.compat.torchsparse14.nn.modules.crop import SparseCrop
from gossamer.compat.torchsparse14.nn.modules.norm import BatchNorm, GroupNorm
from gossamer.compat.torchsparse14.nn.modules.pooling import GlobalAvgPool, GlobalMaxPool

__all__ = [
    "BatchNorm",
    "Conv3d",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "GroupNorm",
    "LeakyReLU",
    "ReLU",
    "SparseCrop",
    "ToBEVConvolution",
    "ToBEVHeightCompression",
    "ToBEVReduction",
    "ToDenseBEVConvolution",
]
