"""The voxels inside a box, as a layer."""

from collections.abc import Sequence

from torch import nn

from gossamer.compat.torchsparse14.nn.functional.crop import spcrop
from gossamer.compat.torchsparse14.tensor import SparseTensor

__all__ = ["SparseCrop"]


class SparseCrop(nn.Module):
    """What `spcrop` does, with the same bounds each time."""

    def __init__(
        self, coords_min: Sequence[int] | None = None, coords_max: Sequence[int] | None = None
    ):
        super().__init__()
        self.coords_min = coords_min
        self.coords_max = coords_max

    def forward(self, input: SparseTensor) -> SparseTensor:
        return spcrop(input, self.coords_min, self.coords_max)
