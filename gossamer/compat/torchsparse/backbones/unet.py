"""A residual U-Net with four stages down and four up."""

from collections.abc import Sequence

from torch import nn

from gossamer.compat.torchsparse import nn as spnn
from gossamer.compat.torchsparse.backbones.modules import (
    SparseConvBlock,
    SparseConvTransposeBlock,
    SparseResBlock,
)
from gossamer.compat.torchsparse.operators import cat
from gossamer.compat.torchsparse.tensor import SparseTensor

__all__ = ["SparseResUNet42"]

STAGES = 4


class SparseResUNet(nn.Module):
    """A stem, four stages down, four stages up.

    Args:
        stem_channels: of the stem.
        encoder_channels: of the stages down.
        decoder_channels: of the stages up.
        in_channels: of the input.
        width_multiplier: what channels are multiplied by.
    """

    def __init__(
        self,
        stem_channels: int,
        encoder_channels: Sequence[int],
        decoder_channels: Sequence[int],
        *,
        in_channels: int = 4,
        width_multiplier: float = 1.0,
    ):
        super().__init__()
        self.stem_channels = stem_channels
        self.encoder_channels = encoder_channels
        self.decoder_channels = decoder_channels
        self.in_channels = in_channels
        self.width_multiplier = width_multiplier
        every = [stem_channels, *encoder_channels, *decoder_channels]
        wide = [int(width_multiplier * channels) for channels in every]
        self.stem = nn.Sequential(
            spnn.Conv3d(in_channels, wide[0], 3),
            spnn.BatchNorm(wide[0]),
            spnn.ReLU(True),
            spnn.Conv3d(wide[0], wide[0], 3),
            spnn.BatchNorm(wide[0]),
            spnn.ReLU(True),
        )
        self.encoders = nn.ModuleList(_down(wide[k], wide[k + 1]) for k in range(STAGES))
        self.decoders = nn.ModuleList(
            _up(wide[STAGES + k], wide[STAGES + k + 1], wide[STAGES - 1 - k]) for k in range(STAGES)
        )

    def forward(self, x: SparseTensor) -> list[SparseTensor]:
        """The stem's output, what each stage down gives, then what each stage up gives."""
        outputs = [self.stem(x)]
        for encoder in self.encoders:
            outputs.append(encoder(outputs[-1]))
        beside = outputs[:-1]
        for decoder in self.decoders:
            up = decoder["upsample"](outputs[-1])  # type: ignore[index]
            outputs.append(decoder["fuse"](cat([up, beside.pop()])))  # type: ignore[index]
        return outputs


def _down(narrow: int, wide: int) -> nn.Sequential:
    return nn.Sequential(
        SparseConvBlock(narrow, narrow, 2, stride=2),
        SparseResBlock(narrow, wide, 3),
        SparseResBlock(wide, wide, 3),
    )


def _up(wide: int, narrow: int, beside: int) -> nn.ModuleDict:
    return nn.ModuleDict(
        {
            "upsample": SparseConvTransposeBlock(wide, narrow, 2, stride=2),
            "fuse": nn.Sequential(
                SparseResBlock(narrow + beside, narrow, 3), SparseResBlock(narrow, narrow, 3)
            ),
        }
    )


class SparseResUNet42(SparseResUNet):
    """Stages of 32 to 256 channels down, and 256 to 96 up.

    Args:
        kwargs: in_channels and width_multiplier, as in `SparseResUNet`.
    """

    def __init__(self, **kwargs):
        super().__init__(
            stem_channels=32,
            encoder_channels=[32, 64, 128, 256],
            decoder_channels=[256, 128, 96, 96],
            **kwargs,
        )
