"""The blocks of the backbones."""

from gossamer.compat.torchsparse.backbones.modules.blocks import (
    SparseConvBlock,
    SparseConvTransposeBlock,
    SparseResBlock,
)

__all__ = ["SparseConvBlock", "SparseConvTransposeBlock", "SparseResBlock"]
