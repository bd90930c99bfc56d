"""The convolution layer."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from gossamer.compat.torchsparse.nn.functional.conv.conv import conv3d
from gossamer.compat.torchsparse.tensor import SparseTensor
from gossamer.compat.torchsparse.utils.utils import make_ntuple
from gossamer.compat.voxelnets.kernel import Kernel
from gossamer.nn.located import located

__all__ = ["Conv3d"]


class Conv3d(nn.Module):
    """A convolution that keeps the sites (stride 1), makes coarser ones, or leads back to finer.

    Args:
        in_channels, out_channels: C_in and C_out.
        kernel_size, stride: one int or 3.
        padding: one int or 3. Along axes of an odd kernel and stride 1, half the kernel, whatever
            is said.
        dilation: one int or 3.
        bias: whether to learn one.
        transposed: whether to lead back to the sites that a strided layer came from.
        generative: with `transposed`, whether to make all children of every site.
        config: as `torchsparse.nn.functional.conv_config` has it, for this layer alone.

    Attributes:
        kernel: [K, C_in, C_out], axis 0 fastest where K is odd and the last where it is even;
            [C_in, C_out] for one tap and stride 1.
        bias: [C_out], or None.

    Raises:
        AssertionError: generative without transposed, or sizes that are neither one int nor 3.
        TypeError: a dilation that was meant for a bias.
        ValueError: a size out of range.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int] = 3,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        bias: bool = False,
        transposed: bool = False,
        generative: bool = False,
        config: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        assert transposed or not generative, (
            "generative is True and transposed False; new sites are made on a finer grid, so write "
            "transposed=True too"
        )
        self.in_channels, self.out_channels = in_channels, out_channels
        if isinstance(dilation, bool):
            raise TypeError(
                f"dilation is {dilation}; wanted one int or 3; TorchSparse 1.4 has no padding "
                "before it, so name the arguments from padding on, or let the whole program see "
                '1.4 by install("torchsparse", api="1.4")'
            )
        given = {"kernel_size": kernel_size, "stride": stride, "padding": padding}
        given["dilation"] = dilation
        sizes = [make_ntuple(value, 3, name) for name, value in given.items()]
        Kernel.of(*sizes)
        self.kernel_size, self.stride = sizes[:2]
        self.dilation = dilation
        self.padding = tuple(
            (k - 1) // 2 * d if k % 2 == 1 and s == 1 else p
            for k, s, p, d in zip(*sizes, strict=True)
        )
        self.transposed, self.generative = transposed, generative
        self._config = config
        self.kernel_volume = math.prod(self.kernel_size)
        alone = self.kernel_volume == 1 and self.stride == (1, 1, 1)
        taps = () if alone else (self.kernel_volume,)
        self.kernel = nn.Parameter(torch.zeros(*taps, in_channels, out_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw kernel and bias evenly from within one over the root of the inputs of an output."""
        fan = (self.out_channels if self.transposed else self.in_channels) * self.kernel_volume
        std = 1 / math.sqrt(fan) if fan else 0.0
        for parameter in self.parameters(recurse=False):
            nn.init.uniform_(parameter, -std, std)

    @located
    def forward(self, input: SparseTensor) -> SparseTensor:
        return conv3d(
            input,
            self.kernel,
            self.kernel_size,
            self.bias,
            self.stride,
            self.padding,
            self.dilation,
            self._config,
            self.transposed,
            self.generative,
            self.training,
        )

    def extra_repr(self) -> str:
        told = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"]
        told += [f"stride={self.stride}"] * (self.stride != (1, 1, 1))
        told += [f"dilation={self.dilation}"] * (self.dilation != 1)
        told += ["bias=False"] * (self.bias is None)
        told += ["transposed=True"] * self.transposed + ["generative=True"] * self.generative
        return ", ".join(told)
