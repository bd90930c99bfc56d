"""The voxels of a coarser grid."""

from collections.abc import Sequence

from torch import Tensor

from gossamer.compat.torchsparse14.kernels import Kernel
from gossamer.compat.torchsparse14.places import Place
from gossamer.compat.torchsparse14.utils.utils import make_ntuple

__all__ = ["spdownsample"]


def spdownsample(
    coords: Tensor,
    stride: int | Sequence[int] = 2,
    kernel_size: int | Sequence[int] = 2,
    tensor_stride: int | Sequence[int] = 1,
) -> Tensor:
    """[M, 4] int: where a strided convolution leads, sorted by batch, then x, y, z.

    Where the stride is 1 or the kernel's size on every axis: the cells the voxels lie in.
    Elsewhere: each multiple of the new stride that a tap leads to from a voxel, unless it lies
    before the first voxel on some axis.

    Args:
        coords: [N, 4] int, (x, y, z, batch), in voxels of the input.
        stride: of the convolution.
        kernel_size: its size.
        tensor_stride: edge of a voxel of coords.

    Raises:
        AssertionError: there are not three of some size.
        ValueError: a size is below 1, or coords are not (x, y, z, batch).
    """
    return (
        Place.of(coords)
        .coarser(make_ntuple(tensor_stride, 3), Kernel.of(kernel_size, stride))
        .coords
    )
