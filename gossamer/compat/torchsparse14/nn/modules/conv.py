"""The convolution layer."""

import math
from collections.abc import Sequence

import torch
from torch import nn

from gossamer.compat.torchsparse14.kernels import Kernel
from gossamer.compat.torchsparse14.nn.functional.conv import conv3d
from gossamer.compat.torchsparse14.tensor import SparseTensor
from gossamer.nn.located import located

__all__ = ["Conv3d"]


class Conv3d(nn.Module):
    """A sparse convolution, which keeps the rows where its stride is 1.

    Args:
        in_channels, out_channels: C_in and C_out.
        kernel_size, stride: one int or three.
        dilation: voxels from tap to tap.
        bias: whether there is one.
        transposed: back to the rows of the finer stride, which `cmaps` of the input has.

    Attributes:
        kernel: [K, C_in, C_out], or [C_in, C_out] for one tap; taps in the order of
            `nn.utils.get_kernel_offsets`.
        bias: [C_out], or None.

    Raises:
        AssertionError: sizes that are neither one int nor three.
        ValueError: a size below 1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int] = 3,
        stride: int | Sequence[int] = 1,
        dilation: int = 1,
        bias: bool = False,
        transposed: bool = False,
    ):
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        kernel = Kernel.of(kernel_size, stride, dilation)
        self.kernel_size, self.stride = kernel.size, kernel.stride
        self.dilation = dilation
        self.transposed = transposed
        self.kernel_volume = math.prod(self.kernel_size)
        several = (self.kernel_volume,) if self.kernel_volume > 1 else ()
        self.kernel = nn.Parameter(torch.zeros(*several, in_channels, out_channels))
        if bias:
            self.bias = nn.Parameter(torch.zeros(out_channels))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"]
        parts += [f"stride={self.stride}"] * (self.stride != (1, 1, 1))
        parts += [f"dilation={self.dilation}"] * (self.dilation != 1)
        parts += ["bias=False"] * (self.bias is None) + ["transposed=True"] * self.transposed
        return ", ".join(parts)

    def reset_parameters(self) -> None:
        """Draw weights anew, evenly from -1/sqrt(n) to 1/sqrt(n) for n numbers a result has."""
        channels = self.out_channels if self.transposed else self.in_channels
        reach = 1 / math.sqrt(channels * self.kernel_volume)
        self.kernel.data.uniform_(-reach, reach)
        if self.bias is not None:
            self.bias.data.uniform_(-reach, reach)

    def forward(self, input: SparseTensor) -> SparseTensor:
        """What `nn.functional.conv3d` makes of the input.

        Raises:
            ValueError: as it does, with the path of this layer.
        """
        return self._convolved(input)

    @located
    def _convolved(self, x: SparseTensor) -> SparseTensor:
        return conv3d(
            x,
            self.kernel,
            self.kernel_size,
            self.bias,
            self.stride,
            self.dilation,
            self.transposed,
        )
