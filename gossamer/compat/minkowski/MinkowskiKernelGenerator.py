"""KernelGenerator: which neighbours a layer looks at."""

from collections import namedtuple
from collections.abc import Sequence

import torch
from torch import Tensor

from gossamer.compat.coordmaps.key import CoordinateMapKey
from gossamer.compat.coordmaps.kinds import RegionType
from gossamer.compat.coordmaps.regions import Kernel, ints, taps_of
from gossamer.compat.minkowski.MinkowskiCommon import StrideType
from gossamer.compat.minkowski.MinkowskiCoordinateManager import CoordinateManager


def get_kernel_volume(
    region_type: RegionType,
    kernel_size: StrideType,
    region_offset: Tensor | None,
    axis_types: Sequence[RegionType] | None,
    dimension: int,
) -> int:
    """K, the number of taps; arguments as KernelGenerator has them."""
    size = ints("kernel_size", kernel_size, dimension, -1)
    return len(taps_of(region_type, size, region_offset, axis_types))


def convert_region_type(
    region_type: RegionType,
    tensor_stride: StrideType,
    kernel_size: StrideType,
    up_stride: StrideType,
    dilation: StrideType,
    region_offset: Tensor | None,
    axis_types: Sequence[RegionType] | None,
    dimension: int,
    center: bool = True,
) -> tuple[RegionType, Tensor, int]:
    """A region that `CoordinateManager.kernel_map` takes: its type, its offsets, its volume.

    A HYBRID region becomes a CUSTOM one. Offsets count in tensor strides times dilation, so that
    `tensor_stride`, `up_stride`, `dilation` and `center` have nothing to say.
    """
    size = ints("kernel_size", kernel_size, dimension, -1)
    taps = taps_of(region_type, size, region_offset, axis_types)
    listed = region_type in (RegionType.HYBRID, RegionType.CUSTOM)
    offsets = torch.tensor(taps if listed else [], dtype=torch.int32)
    return RegionType.CUSTOM if listed else region_type, offsets, len(taps)


class KernelGenerator:
    """The shape of a kernel.

    Args:
        kernel_size: one int or D; a CUSTOM region needs none.
        stride, dilation: one int or D.
        is_transpose: taken; a layer knows what it is.
        region_type: HYPER_CUBE, HYPER_CROSS (odd sizes), HYBRID or CUSTOM.
        region_offsets: [K, D] int, the taps of a CUSTOM region, in tensor strides times dilation.
        expand_coordinates: whether outputs are all places that the kernel reaches.
        axis_types: D of HYPER_CUBE and HYPER_CROSS, for HYBRID: a box over the first and a line
            along each of the second.
        dimension: D.

    Raises:
        AssertionError: no dimension, or region_type is no RegionType.
        ValueError: a size, stride or dilation that no kernel has, missing or repeated offsets.
    """

    def __init__(
        self,
        kernel_size: StrideType = -1,
        stride: StrideType = 1,
        dilation: StrideType = 1,
        is_transpose: bool = False,
        region_type: RegionType = RegionType.HYPER_CUBE,
        region_offsets: Tensor | None = None,
        expand_coordinates: bool = False,
        axis_types: Sequence[RegionType] | None = None,
        dimension: int = -1,
    ):
        assert dimension is not None and 1 <= dimension <= 4, (
            f"dimension is {dimension}; wanted the number of spatial axes, 1 to 4, for instance "
            "dimension=3"
        )
        assert isinstance(region_type, RegionType), (
            f"region_type is {region_type!r}; wanted a RegionType"
        )
        self.cache: dict[tuple[int, ...], tuple] = {}
        self.kernel_size = list(ints("kernel_size", kernel_size, dimension, -1))
        self.kernel_stride = list(ints("stride", stride, dimension, 1))
        self.kernel_dilation = list(ints("dilation", dilation, dimension, 1))
        self.region_type, self.axis_types, self.dimension = region_type, axis_types, dimension
        none = torch.empty(0, dtype=torch.int32)
        self.region_offsets = none if region_offsets is None else torch.as_tensor(region_offsets)
        self._kernel = Kernel.of(
            region_type,
            tuple(self.kernel_size),
            tuple(self.kernel_stride),
            tuple(self.kernel_dilation),
            self.region_offsets,
            axis_types,
        )
        self.kernel_volume = len(self._kernel.taps)
        self.requires_strided_coordinates = set(self.kernel_stride) == {1}
        self.expand_coordinates = expand_coordinates

    def get_kernel(
        self, tensor_stride: StrideType, is_transpose: bool
    ) -> tuple[RegionType, Tensor, int]:
        """As `convert_region_type`; both arguments have nothing to say."""
        sizes = self.kernel_size, self.kernel_stride, self.kernel_dilation
        region = self.region_offsets, self.axis_types, self.dimension
        return convert_region_type(self.region_type, tensor_stride, *sizes, *region)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(kernel_size={self.kernel_size}, "
            f"kernel_stride={self.kernel_stride}, kernel_dilation={self.kernel_dilation}, "
            f"region_type={self.region_type}, expand_coordinates={self.expand_coordinates}, "
            f"dimension={self.dimension})"
        )


def generator_for(
    given: KernelGenerator | None,
    kernel_size: StrideType,
    stride: StrideType,
    dilation: StrideType,
    dimension: int | None,
) -> KernelGenerator:
    """A layer's kernel: the one that it was given, or one of these sizes.

    Raises:
        AssertionError: no dimension.
        ValueError: the kernel is for another number of axes, or there is none of such sizes.
    """
    assert dimension is not None and dimension > 0, (
        f"dimension is {dimension}; wanted the number of spatial axes, for instance dimension=3"
    )
    if given is None:
        return KernelGenerator(kernel_size, stride, dilation, dimension=dimension)
    if given.dimension != dimension:
        raise ValueError(
            f"kernel_generator is for dimension={given.dimension} and the layer for "
            f"dimension={dimension}; wanted the same in both"
        )
    return given


class KernelRegion(
    namedtuple(
        "KernelRegion",
        ("kernel_size", "kernel_stride", "kernel_dilation", "region_type", "offset", "D"),
    )
):
    """A kernel as a tuple."""

    __slots__ = ()


def save_ctx(
    ctx,
    kernel_generator: KernelGenerator,
    in_coords_key: CoordinateMapKey,
    out_coords_key: CoordinateMapKey,
    coordinate_manager: CoordinateManager,
):
    """`ctx` with what a layer's backward reads, under the names it has there."""
    ctx.kernel_generator = kernel_generator
    ctx.in_coordinate_map_key = in_coords_key
    ctx.out_coordinate_map_key = out_coords_key
    ctx.coordinate_manager = coordinate_manager
    return ctx
