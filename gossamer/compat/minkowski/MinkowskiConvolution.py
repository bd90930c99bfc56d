"""Convolutions, and their transposes: back to known sites, or onto new ones."""

import copy
import math

import torch
from torch import Tensor
from torch.nn import Parameter, functional

from gossamer import checks
from gossamer.compat.coordmaps.key import CoordinateMapKey, Name
from gossamer.compat.coordmaps.kinds import ConvolutionMode, RegionType
from gossamer.compat.layers.graphs import outside_graphs
from gossamer.compat.layers.passing import through
from gossamer.compat.minkowski.MinkowskiCommon import MinkowskiModuleBase, StrideType
from gossamer.compat.minkowski.MinkowskiCoordinateManager import CoordinateManager
from gossamer.compat.minkowski.MinkowskiKernelGenerator import KernelGenerator, generator_for
from gossamer.compat.minkowski.MinkowskiSparseTensor import (
    SparseTensor,
    _get_coordinate_map_key,
)
from gossamer.compat.rows.values import Values
from gossamer.nn.located import located

Onto = Tensor | CoordinateMapKey | SparseTensor | None


def where_to(
    manager: CoordinateManager,
    source: Name,
    generator: KernelGenerator,
    key: CoordinateMapKey,
    *,
    upwards: bool,
) -> Name:
    """The map of a layer's outputs; a key without a name gets it.

    Args:
        source: the map of its inputs.
        generator: its kernel.
        key: where the outputs go, or without a name for where the kernel leads.
        upwards: whether the layer is transposed.
    """
    if not key.is_key_set():
        atlas, kernel = manager._atlas, generator._kernel
        if upwards:
            name = atlas.upwards(source, kernel, new=bool(generator.expand_coordinates))
        elif generator.expand_coordinates:
            name = atlas.expand(source, kernel)
        else:
            name = atlas.stride(source, kernel.stride)
        key.set_key(*name)
    return key.name


def stride_after(x: SparseTensor, generator: KernelGenerator, upwards: bool) -> list[int]:
    """The tensor stride of outputs whose coordinates the caller gives."""
    pairs = list(zip(x.tensor_stride, generator.kernel_stride, strict=True))
    return [t // s if t % s == 0 else 1 for t, s in pairs] if upwards else [t * s for t, s in pairs]


def check_input(x: SparseTensor, dimension: int) -> None:
    """Refuse what is no SparseTensor of so many axes.

    Raises:
        TypeError, ValueError: it is something else.
    """
    if not isinstance(x, SparseTensor):
        raise TypeError(
            f"input is a {type(x).__name__}; wanted a SparseTensor; a TensorField becomes one by "
            "sparse()"
        )
    if x.D != dimension:
        raise ValueError(
            f"the input has {x.D} axes; this layer was made with dimension={dimension}"
        )


class MinkowskiConvolutionFunction:
    """A convolution of a matrix of features, by keys."""

    _upwards = False

    @classmethod
    def apply(
        cls,
        input_features: Tensor,
        kernel_weights: Tensor,
        kernel_generator: KernelGenerator,
        convolution_mode: ConvolutionMode,
        in_coordinate_map_key: CoordinateMapKey,
        out_coordinate_map_key: CoordinateMapKey | None = None,
        coordinate_manager: CoordinateManager | None = None,
    ) -> Tensor:
        """[M, C_out], on the rows of the output's key.

        Args:
            input_features: [N, C_in], on the rows of the input's key.
            kernel_weights: [K, C_in, C_out].
            kernel_generator: the kernel.
            convolution_mode: taken and not needed.
            in_coordinate_map_key: the input's.
            out_coordinate_map_key: the output's; one without a name gets it.
            coordinate_manager: of both.
        """
        assert coordinate_manager is not None, "wanted the coordinate_manager of the keys"
        source = in_coordinate_map_key.name
        key = out_coordinate_map_key
        key = CoordinateMapKey(in_coordinate_map_key.get_coordinate_size()) if key is None else key
        target = where_to(coordinate_manager, source, kernel_generator, key, upwards=cls._upwards)
        kernel = kernel_generator._kernel
        link = coordinate_manager._atlas.link(source, target, kernel, upwards=cls._upwards)
        return through(Values(input_features), link, kernel_weights).on_rows


class MinkowskiConvolutionTransposeFunction(MinkowskiConvolutionFunction):
    """The same for a transposed convolution."""

    _upwards = True


class MinkowskiConvolutionBase(MinkowskiModuleBase):
    """What the convolutions share.

    Args:
        in_channels, out_channels: C_in and C_out.
        kernel_size, stride, dilation: one int or D; with a kernel generator they say nothing.
        bias: whether there is one.
        kernel_generator: the kernel.
        is_transpose: whether outputs are the fine side.
        expand_coordinates: whether outputs are all places that the kernel reaches.
        convolution_mode: kept as it is; the backend decides.
        dimension: D.

    Attributes:
        kernel: [K, C_in, C_out]; [C_in, C_out] for one tap of stride 1.
        bias: [1, C_out] or None.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: StrideType = -1,
        stride: StrideType = 1,
        dilation: StrideType = 1,
        bias: bool = False,
        kernel_generator: KernelGenerator | None = None,
        is_transpose: bool = False,
        expand_coordinates: bool = False,
        convolution_mode: ConvolutionMode = ConvolutionMode.DEFAULT,
        dimension: int = -1,
    ):
        super().__init__()
        sizes = kernel_size, stride, dilation
        kernel_generator = generator_for(kernel_generator, *sizes, dimension)
        # A copy, because one generator may serve layers that differ in this.
        kernel_generator = copy.copy(kernel_generator)
        kernel_generator.expand_coordinates = expand_coordinates
        self.is_transpose = is_transpose
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_generator, self.dimension = kernel_generator, dimension
        volume = kernel_generator.kernel_volume
        self.use_mm = volume == 1 and kernel_generator.requires_strided_coordinates
        shape = (in_channels, out_channels) if self.use_mm else (volume, in_channels, out_channels)
        self.kernel = Parameter(torch.empty(shape))
        self.bias = Parameter(torch.empty(1, out_channels)) if bias else None
        self.convolution_mode = convolution_mode
        kind = (MinkowskiConvolutionFunction, MinkowskiConvolutionTransposeFunction)[is_transpose]
        self.conv = kind()

    def forward(self, input: SparseTensor, coordinates: Onto = None) -> SparseTensor:
        """[N, C_in] -> [M, C_out].

        Args:
            input: the features.
            coordinates: the sites of the output, [M, 1+D] int, or a key, or a tensor on them.
                Default: where the kernel leads.

        Raises:
            TypeError, ValueError: the input is not what the layer was made for.
        """
        return outside_graphs(self._convolved, input, coordinates)

    @located
    def _convolved(self, x: SparseTensor, coordinates: Onto) -> SparseTensor:
        check_input(x, self.dimension)
        checks.channels("the input", x.shape[1], self.in_channels)
        bias = None if self.bias is None else self.bias.view(-1)
        if self.use_mm and coordinates is None and x.device.type != "cpu":
            weight = self.kernel.t()
            return x._with(_linear(x._values, weight, bias))
        stride = stride_after(x, self.kernel_generator, self.is_transpose)
        key = _get_coordinate_map_key(x, coordinates, stride)
        if self.use_mm and coordinates is None:
            key = x.coordinate_map_key
        source, generator = x.coordinate_map_key.name, self.kernel_generator
        target = where_to(x._manager, source, generator, key, upwards=self.is_transpose)
        atlas, kernel = x._manager._atlas, generator._kernel
        link = atlas.link(source, target, kernel, upwards=self.is_transpose)
        weight = self.kernel.unsqueeze(0) if self.use_mm else self.kernel
        return x._moved(through(x._values, link, weight, bias), target)

    def reset_parameters(self, is_transpose: bool = False) -> None:
        """Draw kernel and bias anew, uniform within one over the root of what a sum has of terms.

        Args:
            is_transpose: whether terms are counted by C_out in place of C_in.
        """
        channels = self.out_channels if is_transpose else self.in_channels
        bound = 1.0 / math.sqrt(channels * self.kernel_generator.kernel_volume)
        with torch.no_grad():
            self.kernel.uniform_(-bound, bound)
            if self.bias is not None:
                self.bias.uniform_(-bound, bound)

    def __repr__(self) -> str:
        channels = f"(in={self.in_channels}, out={self.out_channels}, "
        return type(self).__name__ + channels + said_of(self.kernel_generator)


def said_of(generator: KernelGenerator) -> str:
    """What a layer's repr says of its kernel."""
    shape = f"kernel_size={generator.kernel_size}, "
    if generator.region_type is RegionType.CUSTOM:
        volume = generator.kernel_volume
        shape = f"region_type={generator.region_type}, kernel_volume={volume}, "
    return f"{shape}stride={generator.kernel_stride}, dilation={generator.kernel_dilation})"


def _linear(values: Values, weight: Tensor, bias: Tensor | None) -> Values:
    return Values(functional.linear(values.at_hand, weight, bias), values.rows)


class MinkowskiConvolution(MinkowskiConvolutionBase):
    """The sum over taps of the features at a site plus a tap times the tap's weight.

    Arguments as in MinkowskiConvolutionBase. Outputs are the input's coordinates rounded down to
    multiples of the tensor stride times `stride`; with stride 1, the input's own.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: StrideType = -1,
        stride: StrideType = 1,
        dilation: StrideType = 1,
        bias: bool = False,
        kernel_generator: KernelGenerator | None = None,
        expand_coordinates: bool = False,
        convolution_mode: ConvolutionMode = ConvolutionMode.DEFAULT,
        dimension: int | None = None,
    ):
        shape = (kernel_size, stride, dilation, bias, kernel_generator)
        kind = (False, expand_coordinates, convolution_mode, dimension)
        super().__init__(in_channels, out_channels, *shape, *kind)  # type: ignore[arg-type]
        self.reset_parameters()


class MinkowskiConvolutionTranspose(MinkowskiConvolutionBase):
    """A convolution read backwards: each site adds to all places that its taps reach.

    Arguments as in MinkowskiConvolutionBase. Outputs are the sites that the input was made from
    at the tensor stride divided by `stride`; else the first map of that tensor stride; else all
    places that taps reach.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: StrideType = -1,
        stride: StrideType = 1,
        dilation: StrideType = 1,
        bias: bool = False,
        kernel_generator: KernelGenerator | None = None,
        expand_coordinates: bool = False,
        convolution_mode: ConvolutionMode = ConvolutionMode.DEFAULT,
        dimension: int | None = None,
    ):
        shape = (kernel_size, stride, dilation, bias, kernel_generator)
        kind = (True, expand_coordinates, convolution_mode, dimension)
        super().__init__(in_channels, out_channels, *shape, *kind)  # type: ignore[arg-type]
        self.reset_parameters(True)


class MinkowskiGenerativeConvolutionTranspose(MinkowskiConvolutionBase):
    """A transposed convolution onto all places that its taps reach, always new sites.

    Arguments as in MinkowskiConvolutionBase.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: StrideType = -1,
        stride: StrideType = 1,
        dilation: StrideType = 1,
        bias: bool = False,
        kernel_generator: KernelGenerator | None = None,
        convolution_mode: ConvolutionMode = ConvolutionMode.DEFAULT,
        dimension: int | None = None,
    ):
        shape = (kernel_size, stride, dilation, bias, kernel_generator)
        kind = (True, True, convolution_mode, dimension)
        super().__init__(in_channels, out_channels, *shape, *kind)  # type: ignore[arg-type]
        self.reset_parameters(True)
