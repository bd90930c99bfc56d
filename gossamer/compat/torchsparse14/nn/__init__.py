"""Layers."""

from gossamer.compat.torchsparse14.nn.modules import BatchNorm as BatchNorm
from gossamer.compat.torchsparse14.nn.modules import Conv3d as Conv3d
from gossamer.compat.torchsparse14.nn.modules import GlobalAvgPool as GlobalAvgPool
from gossamer.compat.torchsparse14.nn.modules import GlobalMaxPool as GlobalMaxPool
from gossamer.compat.torchsparse14.nn.modules import GroupNorm as GroupNorm
from gossamer.compat.torchsparse14.nn.modules import LeakyReLU as LeakyReLU
from gossamer.compat.torchsparse14.nn.modules import ReLU as ReLU
from gossamer.compat.torchsparse14.nn.modules import SparseCrop as SparseCrop
from gossamer.compat.torchsparse14.nn.modules import ToBEVConvolution as ToBEVConvolution
from gossamer.compat.torchsparse14.nn.modules import (
    ToBEVHeightCompression as ToBEVHeightCompression,
)
from gossamer.compat.torchsparse14.nn.modules import ToBEVReduction as ToBEVReduction
from gossamer.compat.torchsparse14.nn.modules import ToDenseBEVConvolution as ToDenseBEVConvolution
