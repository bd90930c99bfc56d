"""The sites that a generative kernel leads to."""

from collections.abc import Sequence

from torch import Tensor

from gossamer.compat.torchsparse.tensor import get_allow_negative_coordinates
from gossamer.compat.torchsparse.utils.utils import make_ntuple
from gossamer.compat.voxelnets import maps
from gossamer.compat.voxelnets.kernel import Kernel
from gossamer.compat.voxelnets.places import Place

__all__ = ["spupsample_generative"]


def spupsample_generative(
    _coords: Tensor,
    stride: int | Sequence[int] = 2,
    kernel_size: int | Sequence[int] = 2,
    padding: int | Sequence[int] = 0,
    spatial_range: Sequence[int] | None = None,
) -> Tensor:
    """[M, 4] int32: all children of every site in kmap_mode "hashmap", sorted.

    Args:
        _coords: [N, 4] int32, (batch, x, y, z).
        stride, kernel_size: one int or 3.
        padding: without meaning in this mode.
        spatial_range: (B, X, Y, Z) of the output; children outside are left out. Default: no bound
            but 0.
    """
    size, step, pad = (make_ntuple(value, 3) for value in (kernel_size, stride, padding))
    kernel = Kernel(size, step, pad, (1, 1, 1), "hashmap")
    end = None if spatial_range is None else make_ntuple(spatial_range, 4)[1:]
    return maps.finer(Place.of(_coords, 3), kernel, end, get_allow_negative_coordinates())
