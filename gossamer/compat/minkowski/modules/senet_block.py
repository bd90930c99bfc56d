"""Blocks whose channels are weighed by what a sample has as a whole (squeeze and excitation)."""

from torch import nn

from gossamer.compat.minkowski.MinkowskiBroadcast import MinkowskiBroadcastMultiplication
from gossamer.compat.minkowski.MinkowskiNonlinearity import MinkowskiReLU, MinkowskiSigmoid
from gossamer.compat.minkowski.MinkowskiOps import MinkowskiLinear
from gossamer.compat.minkowski.MinkowskiPooling import MinkowskiGlobalPooling
from gossamer.compat.minkowski.MinkowskiSparseTensor import SparseTensor
from gossamer.compat.minkowski.modules.resnet_block import BasicBlock, Bottleneck


class SELayer(nn.Module):
    """Every channel times a number from 0 to 1 that follows from the means of a sample.

    Args:
        channel: C.
        reduction: how many times fewer channels there are between the two linear layers.
        D: not looked at.
    """

    def __init__(self, channel: int, reduction: int = 16, D: int = -1):
        super().__init__()
        self.fc = nn.Sequential(
            MinkowskiLinear(channel, channel // reduction),
            MinkowskiReLU(inplace=True),
            MinkowskiLinear(channel // reduction, channel),
            MinkowskiSigmoid(),
        )
        self.pooling = MinkowskiGlobalPooling()
        self.broadcast_mul = MinkowskiBroadcastMultiplication()

    def forward(self, x: SparseTensor) -> SparseTensor:
        """The same sites."""
        return self.broadcast_mul(x, self.fc(self.pooling(x)))


class SEBasicBlock(BasicBlock):
    """`BasicBlock` with an `SELayer` before the sum.

    Args:
        inplanes, planes, stride, dilation, downsample: as `BasicBlock` takes them.
        reduction: as `SELayer` takes it.
        D: how many axes there are.
    """

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride=1,
        dilation=1,
        downsample: nn.Module | None = None,
        reduction: int = 16,
        D: int = -1,
    ):
        super().__init__(inplanes, planes, stride, dilation, downsample, dimension=D)
        self.se = SELayer(planes, reduction=reduction, D=D)

    def inner(self, x: SparseTensor) -> SparseTensor:
        """Both convolutions, weighed."""
        return self.se(super().inner(x))


class SEBottleneck(Bottleneck):
    """`Bottleneck` with an `SELayer` before the sum.

    Args:
        inplanes, planes, stride, dilation, downsample: as `Bottleneck` takes them.
        D: how many axes there are.
        reduction: as `SELayer` takes it.
    """

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride=1,
        dilation=1,
        downsample: nn.Module | None = None,
        D: int = 3,
        reduction: int = 16,
    ):
        super().__init__(inplanes, planes, stride, dilation, downsample, dimension=D)
        self.se = SELayer(planes * self.expansion, reduction=reduction, D=D)

    def inner(self, x: SparseTensor) -> SparseTensor:
        """All three convolutions, weighed."""
        return self.se(super().inner(x))
