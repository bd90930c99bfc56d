"""The convolutions of spconv 1.2, by kind and number of axes."""

from collections.abc import Sequence
from math import prod, sqrt
from typing import ClassVar

import torch
from torch import Tensor, nn

from gossamer.compat.arrays.building import conv_size
from gossamer.compat.layers import convolution, routing, weights
from gossamer.compat.layers.routing import Route
from gossamer.compat.older import kernels, sharing
from gossamer.compat.older.tensor import SparseConvTensor
from gossamer.compat.rows.sites import Link
from gossamer.compat.spconv.pytorch.modules import SparseModule
from gossamer.compat.spconv1.ops import ConvAlgo

PerAxis = int | Sequence[int]


class SparseConvolution(convolution.SparseConvolution):
    """A sparse convolution of any kind.

    Args:
        ndim: D.
        in_channels, out_channels: C_in and C_out.
        kernel_size, stride, padding, dilation, output_padding: one int or D.
        groups: how many parts the channels fall into; upstream has none.
        bias: whether there is one.
        subm: whether outputs are the input's sites; then stride and padding have nothing to say.
        transposed: whether outputs are the sites that taps reach.
        inverse: whether to go back through the rulebook under `indice_key`.
        indice_key: under which the rulebook is kept and found again.
        fused_bn: kept as it is.
        use_hash, algo: kept as they are; they choose among upstream's kernels.

    Attributes:
        weight: [*kernel_size, C_in/groups, C_out].
        bias: [C_out], or None.
        shares_keys: whether a layer may use a rulebook that it finds under its key and that was
            made for another kernel, with as many of its taps, from the first on, as that has.

    Raises:
        AssertionError: another number of axes.
        ValueError: channels that `groups` does not divide.
    """

    __constants__ = [*convolution.SparseConvolution.__constants__, "fused_bn"]  # noqa: RUF012

    # Published networks share keys among kernels without knowing it (Cylinder3D is one), and their
    # checkpoints are right only so. An error would stop programs that have always run; that the
    # surprise is not silent, a warning sees to.
    shares_keys: bool = True

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        kernel_size: PerAxis = 3,
        stride: PerAxis = 1,
        padding: PerAxis = 0,
        dilation: PerAxis = 1,
        groups: int = 1,
        bias: bool = True,
        subm: bool = False,
        output_padding: PerAxis = 0,
        transposed: bool = False,
        inverse: bool = False,
        indice_key: str | None = None,
        fused_bn: bool = False,
        use_hash: bool = False,
        algo: ConvAlgo = ConvAlgo.Native,
    ):
        SparseModule.__init__(self)
        convolution.SparseConvolutionBase.__init__(
            self,
            ndim,
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            subm=subm,
            output_padding=output_padding,
            transposed=transposed,
            inverse=inverse,
            indice_key=indice_key,
            algo=algo,  # type: ignore[arg-type]
        )
        self.fused_bn, self.use_hash = fused_bn, use_hash
        self.weight_shape = [*self.kernel_size, in_channels // groups, out_channels]
        self.weight = nn.Parameter(torch.empty(*self.weight_shape))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.reset_parameters()

    def _multiplies_rows(self, taps: int) -> bool:
        # Also with a stride: then too the rows stay what they are, and the grid.
        return taps == 1 and self.groups == 1

    def reset_parameters(self) -> None:
        """Draw weight and bias anew, with the random numbers that upstream would draw."""
        # torch takes the second axis for input channels, whatever it is here; so did upstream.
        nn.init.kaiming_uniform_(self.weight, a=sqrt(5))
        if self.bias is not None:
            bound = 1 / sqrt(prod(self.weight_shape[:-1]))
            nn.init.uniform_(self.bias, -bound, bound)

    def _laid_out(self, weight: Tensor, metadata: dict, errors: list) -> Tensor:
        said = "KRSC" if metadata.get("version") == 2 else None
        *kernel_size, in_channels, out_channels = self.weight_shape
        shape = weights.WeightShape(out_channels, tuple(kernel_size), in_channels, self.conv1x1)
        return weights.LOAD.take(self, weight, shape, errors, said, "RSCK")

    def _native_weight(self, link: Link) -> Tensor:
        return self.weight.reshape(-1, *self.weight_shape[-2:])[: link.rulebook.taps]

    def _rows_multiplied(self, x: SparseConvTensor) -> SparseConvTensor:
        new = super()._rows_multiplied(x)
        new.spatial_shape = list(x.spatial_shape)
        return new  # type: ignore[return-value]

    def _route(self, x: SparseConvTensor) -> Route:
        data = x.find_indice_pair(self.indice_key)
        if self.inverse:
            return sharing.back(x, self, data)  # type: ignore[arg-type]
        shape = self._output_shape(x.spatial_shape)
        if data is not None:
            return sharing.again(x, self, data, shape)  # type: ignore[arg-type]
        if self.subm:
            kernel = kernels.submanifold(tuple(self.kernel_size), tuple(self.dilation))
            return sharing.new(x, self, kernel)
        if self.transposed:
            kernel = routing.geometry_of(self, "generative")
            return sharing.new(x, self, kernel, tuple(shape))
        return sharing.new(x, self, routing.geometry_of(self, "regular"))

    def _output_shape(self, shape: list[int]) -> list[int]:
        if self.subm:
            return shape
        if self.transposed:
            return self._grown(shape)
        return conv_size(shape, self.kernel_size, self.stride, self.padding, self.dilation)


class _Regular(SparseConvolution):
    """A convolution onto every site that a tap sees."""

    axes: ClassVar[int]
    keeps: ClassVar[bool] = False
    reaches: ClassVar[bool] = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: PerAxis,
        stride: PerAxis = 1,
        padding: PerAxis = 0,
        dilation: PerAxis = 1,
        groups: int = 1,
        bias: bool = True,
        indice_key: str | None = None,
        use_hash: bool = False,
        algo: ConvAlgo = ConvAlgo.Native,
    ):
        super().__init__(
            self.axes,
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            self.keeps,
            transposed=self.reaches,
            indice_key=indice_key,
            use_hash=use_hash,
            algo=algo,
        )


class _Submanifold(_Regular):
    """A convolution onto the sites of the input; stride and padding have nothing to say."""

    keeps = True


class _Transposed(_Regular):
    """A convolution onto every site that a tap reaches."""

    reaches = True


class _Inverse(SparseConvolution):
    """A convolution back onto the rows from which the layer with the same key came."""

    axes: ClassVar[int]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: PerAxis,
        indice_key: str | None,
        bias: bool = True,
        algo: ConvAlgo = ConvAlgo.Native,
    ):
        super().__init__(
            self.axes,
            in_channels,
            out_channels,
            kernel_size,
            bias=bias,
            inverse=True,
            indice_key=indice_key,
            algo=algo,
        )


class SparseConv2d(_Regular):
    """SparseConv over 2 axes."""

    axes = 2


class SparseConv3d(_Regular):
    """SparseConv over 3 axes."""

    axes = 3


class SparseConv4d(_Regular):
    """SparseConv over 4 axes."""

    axes = 4


class SubMConv2d(_Submanifold):
    """SubMConv over 2 axes."""

    axes = 2


class SubMConv3d(_Submanifold):
    """SubMConv over 3 axes."""

    axes = 3


class SubMConv4d(_Submanifold):
    """SubMConv over 4 axes."""

    axes = 4


class SparseConvTranspose2d(_Transposed):
    """SparseConvTranspose over 2 axes."""

    axes = 2


class SparseConvTranspose3d(_Transposed):
    """SparseConvTranspose over 3 axes."""

    axes = 3


class SparseInverseConv2d(_Inverse):
    """SparseInverseConv over 2 axes."""

    axes = 2


class SparseInverseConv3d(_Inverse):
    """SparseInverseConv over 3 axes."""

    axes = 3
