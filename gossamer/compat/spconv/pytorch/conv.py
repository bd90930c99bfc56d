"""The convolutions of spconv, by kind and number of axes."""

from collections.abc import Sequence
from typing import ClassVar

from gossamer.compat.cumm import tensorview as tv  # noqa: F401, programs write conv.tv
from gossamer.compat.layers.convolution import (
    _MAX_NUM_VOXELS_DURING_TRAINING as _MAX_NUM_VOXELS_DURING_TRAINING,
)
from gossamer.compat.layers.convolution import SparseConvolution as SparseConvolution
from gossamer.compat.layers.convolution import SparseConvolutionBase as SparseConvolutionBase
from gossamer.compat.spconv import SPCONV_VERSION_NUMBERS as SPCONV_VERSION_NUMBERS
from gossamer.compat.spconv.constants import ALL_WEIGHT_IS_KRSC as ALL_WEIGHT_IS_KRSC
from gossamer.compat.spconv.constants import FILTER_HWIO as FILTER_HWIO
from gossamer.compat.spconv.constants import SAVED_WEIGHT_LAYOUT as SAVED_WEIGHT_LAYOUT
from gossamer.compat.spconv.constants import SPCONV_DEBUG_WEIGHT as SPCONV_DEBUG_WEIGHT
from gossamer.compat.spconv.core import ConvAlgo as ConvAlgo
from gossamer.compat.spconv.cppconstants import CPU_ONLY_BUILD as CPU_ONLY_BUILD
from gossamer.compat.spconv.debug_utils import spconv_save_debug_data as spconv_save_debug_data
from gossamer.compat.spconv.pytorch.core import ImplicitGemmIndiceData as ImplicitGemmIndiceData
from gossamer.compat.spconv.pytorch.core import IndiceData as IndiceData
from gossamer.compat.spconv.pytorch.core import SparseConvTensor as SparseConvTensor
from gossamer.compat.spconv.pytorch.core import expand_nd as expand_nd
from gossamer.compat.spconv.pytorch.modules import SparseModule as SparseModule
from gossamer.compat.spconv.utils import nullcontext as nullcontext

PerAxis = int | Sequence[int]


class _Regular(SparseConvolution):
    """A convolution onto every site that a tap sees."""

    axes: ClassVar[int]
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
        algo: ConvAlgo | None = None,
        fp32_accum: bool | None = None,
        record_voxel_count: bool = False,
        large_kernel_fast_algo: bool = False,
        name: str | None = None,
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
            transposed=self.reaches,
            indice_key=indice_key,
            algo=algo,
            fp32_accum=fp32_accum,
            record_voxel_count=record_voxel_count,
            large_kernel_fast_algo=large_kernel_fast_algo,
            name=name,
        )


class _Transposed(_Regular):
    """A convolution onto every site that a tap reaches."""

    reaches = True


class _Submanifold(SparseConvolution):
    """A convolution onto the sites of the input; stride and padding have nothing to say."""

    axes: ClassVar[int]

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
        algo: ConvAlgo | None = None,
        fp32_accum: bool | None = None,
        large_kernel_fast_algo: bool = False,
        name: str | None = None,
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
            True,
            indice_key=indice_key,
            algo=algo,
            fp32_accum=fp32_accum,
            large_kernel_fast_algo=large_kernel_fast_algo,
            name=name,
        )


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
        algo: ConvAlgo | None = None,
        fp32_accum: bool | None = None,
        large_kernel_fast_algo: bool = False,
        name: str | None = None,
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
            fp32_accum=fp32_accum,
            large_kernel_fast_algo=large_kernel_fast_algo,
            name=name,
        )


class SparseConv1d(_Regular):
    """SparseConv over 1 axis."""

    axes = 1


class SparseConv2d(_Regular):
    """SparseConv over 2 axes."""

    axes = 2


class SparseConv3d(_Regular):
    """SparseConv over 3 axes."""

    axes = 3


class SparseConv4d(_Regular):
    """SparseConv over 4 axes."""

    axes = 4


class SubMConv1d(_Submanifold):
    """SubMConv over 1 axis."""

    axes = 1


class SubMConv2d(_Submanifold):
    """SubMConv over 2 axes."""

    axes = 2


class SubMConv3d(_Submanifold):
    """SubMConv over 3 axes."""

    axes = 3


class SubMConv4d(_Submanifold):
    """SubMConv over 4 axes."""

    axes = 4


class SparseConvTranspose1d(_Transposed):
    """SparseConvTranspose over 1 axis."""

    axes = 1


class SparseConvTranspose2d(_Transposed):
    """SparseConvTranspose over 2 axes."""

    axes = 2


class SparseConvTranspose3d(_Transposed):
    """SparseConvTranspose over 3 axes."""

    axes = 3


class SparseConvTranspose4d(_Transposed):
    """SparseConvTranspose over 4 axes."""

    axes = 4


class SparseInverseConv1d(_Inverse):
    """SparseInverseConv over 1 axis."""

    axes = 1


class SparseInverseConv2d(_Inverse):
    """SparseInverseConv over 2 axes."""

    axes = 2


class SparseInverseConv3d(_Inverse):
    """SparseInverseConv over 3 axes."""

    axes = 3


class SparseInverseConv4d(_Inverse):
    """SparseInverseConv over 4 axes."""

    axes = 4


DEFAULT_SPARSE_CONV_TYPES = {
    SparseConv1d,
    SparseConv2d,
    SparseConv3d,
    SparseConv4d,
    SubMConv1d,
    SubMConv2d,
    SubMConv3d,
    SubMConv4d,
    SparseConvTranspose1d,
    SparseConvTranspose2d,
    SparseConvTranspose3d,
    SparseConvTranspose4d,
    SparseInverseConv1d,
    SparseInverseConv2d,
    SparseInverseConv3d,
    SparseInverseConv4d,
}
