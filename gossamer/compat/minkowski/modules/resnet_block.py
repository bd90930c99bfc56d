"""The two blocks of ResNet."""

from typing import Any

from torch import nn

from gossamer.compat.minkowski.MinkowskiConvolution import MinkowskiConvolution
from gossamer.compat.minkowski.MinkowskiNonlinearity import MinkowskiReLU
from gossamer.compat.minkowski.MinkowskiNormalization import MinkowskiBatchNorm
from gossamer.compat.minkowski.MinkowskiSparseTensor import SparseTensor


class Residual(nn.Module):
    """What a block computes, added to what came in, and a ReLU."""

    relu: MinkowskiReLU
    downsample: nn.Module | None

    def forward(self, x: SparseTensor) -> SparseTensor:
        """The sites of `x`, or those of a strided block."""
        y = self.inner(x)
        y += x if self.downsample is None else self.downsample(x)
        return self.relu(y)

    def inner(self, x: SparseTensor) -> SparseTensor:
        """What is added to the input."""
        raise NotImplementedError


class BasicBlock(Residual):
    """Two kernels of 3 cells.

    Args:
        inplanes: channels of the input.
        planes: channels of the result.
        stride: of the first convolution.
        dilation: of both.
        downsample: what makes the input fit the result, where it does not.
        bn_momentum: of the batch norms.
        dimension: D.

    Raises:
        AssertionError: `dimension` is missing.
    """

    expansion = 1

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride=1,
        dilation=1,
        downsample: nn.Module | None = None,
        bn_momentum: float = 0.1,
        dimension: int = -1,
    ):
        super().__init__()
        assert dimension > 0, f"dimension is {dimension}; wanted the number of axes"
        common: dict[str, Any] = {"kernel_size": 3, "dilation": dilation, "dimension": dimension}
        self.conv1 = MinkowskiConvolution(inplanes, planes, stride=stride, **common)
        self.norm1 = MinkowskiBatchNorm(planes, momentum=bn_momentum)
        self.conv2 = MinkowskiConvolution(planes, planes, stride=1, **common)
        self.norm2 = MinkowskiBatchNorm(planes, momentum=bn_momentum)
        self.relu = MinkowskiReLU(inplace=True)
        self.downsample = downsample

    def inner(self, x: SparseTensor) -> SparseTensor:
        """Both convolutions, without the last ReLU."""
        y = self.relu(self.norm1(self.conv1(x)))
        return self.norm2(self.conv2(y))


class Bottleneck(Residual):
    """A kernel of 3 cells between two of one cell, the last to four times as many channels.

    Args:
        inplanes: channels of the input.
        planes: channels in the middle.
        stride: of the convolution in the middle.
        dilation: of the convolution in the middle.
        downsample: what makes the input fit the result, where it does not.
        bn_momentum: of the batch norms.
        dimension: D.

    Raises:
        AssertionError: `dimension` is missing.
    """

    expansion = 4

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride=1,
        dilation=1,
        downsample: nn.Module | None = None,
        bn_momentum: float = 0.1,
        dimension: int = -1,
    ):
        super().__init__()
        assert dimension > 0, f"dimension is {dimension}; wanted the number of axes"
        wide = planes * self.expansion
        self.conv1 = MinkowskiConvolution(inplanes, planes, kernel_size=1, dimension=dimension)
        self.norm1 = MinkowskiBatchNorm(planes, momentum=bn_momentum)
        self.conv2 = MinkowskiConvolution(
            planes, planes, kernel_size=3, stride=stride, dilation=dilation, dimension=dimension
        )
        self.norm2 = MinkowskiBatchNorm(planes, momentum=bn_momentum)
        self.conv3 = MinkowskiConvolution(planes, wide, kernel_size=1, dimension=dimension)
        self.norm3 = MinkowskiBatchNorm(wide, momentum=bn_momentum)
        self.relu = MinkowskiReLU(inplace=True)
        self.downsample = downsample

    def inner(self, x: SparseTensor) -> SparseTensor:
        """All three convolutions, without the last ReLU."""
        y = self.relu(self.norm1(self.conv1(x)))
        y = self.relu(self.norm2(self.conv2(y)))
        return self.norm3(self.conv3(y))
