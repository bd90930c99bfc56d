"""A convolution that keeps channels apart."""

import math

import torch
from torch.nn import Parameter

from gossamer import checks
from gossamer.compat.layers.graphs import outside_graphs
from gossamer.compat.layers.passing import through
from gossamer.compat.minkowski.MinkowskiCommon import MinkowskiModuleBase, StrideType
from gossamer.compat.minkowski.MinkowskiConvolution import (
    Onto,
    check_input,
    said_of,
    stride_after,
    where_to,
)
from gossamer.compat.minkowski.MinkowskiKernelGenerator import KernelGenerator, generator_for
from gossamer.compat.minkowski.MinkowskiSparseTensor import (
    SparseTensor,
    _get_coordinate_map_key,
)
from gossamer.nn.located import located


class MinkowskiChannelwiseConvolution(MinkowskiModuleBase):
    """The sum over taps of the features at a site plus a tap, each channel times its own weight.

    Args:
        in_channels: C.
        kernel_size, stride, dilation: one int or D; with a kernel generator they say nothing.
        bias: whether there is one.
        kernel_generator: the kernel.
        dimension: D.

    Attributes:
        kernel: [K, C].
        bias: [1, C] or None.
    """

    def __init__(
        self,
        in_channels: int,
        kernel_size: StrideType = -1,
        stride: StrideType = 1,
        dilation: StrideType = 1,
        bias: bool = False,
        kernel_generator: KernelGenerator | None = None,
        dimension: int = -1,
    ):
        super().__init__()
        sizes = kernel_size, stride, dilation
        kernel_generator = generator_for(kernel_generator, *sizes, dimension)
        self.kernel_generator, self.dimension = kernel_generator, dimension
        self.in_channels = self.out_channels = in_channels
        self.kernel_shape = (kernel_generator.kernel_volume, in_channels)
        self.kernel = Parameter(torch.empty(self.kernel_shape))
        self.bias = Parameter(torch.empty(1, in_channels)) if bias else None
        self.reset_parameters()

    def forward(self, input: SparseTensor, coords: Onto = None) -> SparseTensor:
        """[N, C] -> [M, C].

        Args:
            input: the features.
            coords: the sites of the output, [M, 1+D] int, or a key, or a tensor on them. Default:
                where the kernel leads.

        Raises:
            TypeError, ValueError: the input is not what the layer was made for.
        """
        return outside_graphs(self._convolved, input, coords)

    @located
    def _convolved(self, x: SparseTensor, coordinates: Onto) -> SparseTensor:
        check_input(x, self.dimension)
        checks.channels("the input", x.shape[1], self.in_channels)
        generator = self.kernel_generator
        key = _get_coordinate_map_key(x, coordinates, stride_after(x, generator, False))
        source = x.coordinate_map_key.name
        target = where_to(x._manager, source, generator, key, upwards=False)
        link = x._manager._atlas.link(source, target, generator._kernel, upwards=False)
        bias = None if self.bias is None else self.bias.view(-1)
        weight = self.kernel.unsqueeze(1)  # [K, 1, C]
        return x._moved(through(x._values, link, weight, bias, self.in_channels), target)

    def reset_parameters(self, is_transpose: bool = False) -> None:
        """Draw kernel and bias anew, uniform within 1 / sqrt(C * K)."""
        bound = 1.0 / math.sqrt(self.in_channels * self.kernel_generator.kernel_volume)
        with torch.no_grad():
            self.kernel.uniform_(-bound, bound)
            if self.bias is not None:
                self.bias.uniform_(-bound, bound)

    def __repr__(self) -> str:
        about = f"(in={self.in_channels}, region_type={self.kernel_generator.region_type}, "
        return type(self).__name__ + about + said_of(self.kernel_generator)
