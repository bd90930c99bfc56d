"""Modules that leave the sparse world, or what is left of a grid in it."""

from torch import Tensor

from gossamer.compat.spconv.pytorch.core import SparseConvTensor
from gossamer.compat.spconv.pytorch.modules import SparseModule


class ToDense(SparseModule):
    """From a SparseConvTensor to its dense form, [B, C, *spatial_shape]."""

    def forward(self, x: SparseConvTensor) -> Tensor:
        return x.dense()


class RemoveGrid(SparseModule):
    """Forgets the grid that a tensor was given; returns the tensor itself."""

    def forward(self, x: SparseConvTensor) -> SparseConvTensor:
        x.grid = None  # type: ignore[assignment]
        return x
