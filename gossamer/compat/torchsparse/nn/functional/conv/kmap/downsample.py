"""The sites that a strided kernel leads to."""

from collections.abc import Sequence

from torch import Tensor

from gossamer.compat.torchsparse.tensor import get_allow_negative_coordinates
from gossamer.compat.torchsparse.utils.utils import make_ntuple
from gossamer.compat.voxelnets import maps
from gossamer.compat.voxelnets.kernel import Kernel
from gossamer.compat.voxelnets.places import Place
from gossamer.geometry import DOWNSAMPLES

__all__ = ["spdownsample"]


def spdownsample(
    _coords: Tensor,
    stride: int | Sequence[int] = 2,
    kernel_size: int | Sequence[int] = 2,
    padding: int | Sequence[int] = 0,
    spatial_range: Sequence[int] | None = None,
    downsample_mode: str = "spconv",
) -> Tensor:
    """[M, 4] int32: the sites of a strided layer in kmap_mode "hashmap", sorted.

    Args:
        _coords: [N, 4] int32, (batch, x, y, z).
        stride, kernel_size, padding: one int or 3.
        spatial_range: (B, X, Y, Z) of the output. Default: as the extent of the data has it.
        downsample_mode: as `set_downsample_mode` takes it.

    Raises:
        AssertionError: there is no such downsample_mode.
        ValueError: nothing would be left.
    """
    assert downsample_mode in DOWNSAMPLES, (
        f"downsample_mode is {downsample_mode!r}; wanted one of {', '.join(DOWNSAMPLES)}"
    )
    size, step, pad = (make_ntuple(value, 3) for value in (kernel_size, stride, padding))
    kernel = Kernel(size, step, pad, (1, 1, 1), "hashmap", downsample_mode)
    end = None if spatial_range is None else make_ntuple(spatial_range, 4)[1:]
    return maps.coarser(Place.of(_coords, 3), kernel, end, get_allow_negative_coordinates())
