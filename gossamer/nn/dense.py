"""From sites to a dense grid."""

import torch
from torch import Tensor, nn

from gossamer.tensor import SparseTensor


class ToDense(nn.Module):
    """The features on the whole grid, [B, C, *spatial_shape], zero where there is no site."""

    def forward(self, x: SparseTensor) -> Tensor:
        """[N, C] -> [B, C, *spatial_shape]."""
        return x.dense()


class ToBEV(nn.Module):
    """A bird's-eye view: the dense grid with one axis folded into the channels.

    Args:
        axis: the spatial axis that is folded, 0 for the z of a (z, y, x) grid, -1 for the z of an
            (x, y, z) grid.

    Shape:
        [N, C] -> [B, C * n, *the other axes] with n the extent of `axis`; channel c at height h is
        c * n + h, as a dense view of [B, C, n, ...] has it.
    """

    def __init__(self, axis: int = 0):
        super().__init__()
        self.axis = axis

    def forward(self, x: SparseTensor) -> Tensor:
        """[N, C] -> [B, C * n, *the other axes]."""
        if not -x.ndim <= self.axis < x.ndim:
            raise ValueError(f"axis is {self.axis}; the input has {x.ndim} spatial axes")
        dense = x.dense()
        return torch.movedim(dense, 2 + self.axis % x.ndim, 2).flatten(1, 2)

    def extra_repr(self) -> str:
        return f"axis={self.axis}"
