"""A residual network whose last stage halves one axis."""

from collections.abc import Sequence

from torch import nn

from gossamer.compat.torchsparse.backbones.modules import SparseConvBlock, SparseResBlock
from gossamer.compat.torchsparse.tensor import SparseTensor

__all__ = ["SparseResNet21D"]

Block = tuple[int, int, int | tuple[int, ...], int | tuple[int, ...]]


class SparseResNet(nn.ModuleList):
    """Stages of a strided block and residual ones.

    Args:
        blocks: for each stage how many blocks it has, channels, kernel size and stride.
        in_channels: of the input.
        width_multiplier: what channels are multiplied by.
    """

    def __init__(
        self, blocks: Sequence[Block], *, in_channels: int = 4, width_multiplier: float = 1.0
    ):
        super().__init__()
        self.blocks = blocks
        self.in_channels = in_channels
        self.width_multiplier = width_multiplier
        for count, channels, kernel_size, stride in blocks:
            wide = int(channels * width_multiplier)
            first = SparseConvBlock(in_channels, wide, kernel_size, stride=stride)
            others = (SparseResBlock(wide, wide, kernel_size) for _ in range(count - 1))
            self.append(nn.Sequential(first, *others))
            in_channels = wide

    def forward(self, x: SparseTensor) -> list[SparseTensor]:
        """What each stage gives."""
        outputs = []
        for stage in self:
            x = stage(x)
            outputs.append(x)
        return outputs


class SparseResNet21D(SparseResNet):
    """Five stages of 16 to 128 channels.

    Args:
        kwargs: in_channels and width_multiplier, as in `SparseResNet`.
    """

    def __init__(self, **kwargs):
        super().__init__(
            blocks=[
                (3, 16, 3, 1),
                (3, 32, 3, 2),
                (3, 64, 3, 2),
                (3, 128, 3, 2),
                (1, 128, (1, 3, 1), (1, 2, 1)),
            ],
            **kwargs,
        )
