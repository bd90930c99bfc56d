"""One vector a sample, as layers."""

from torch import Tensor, nn

from gossamer.compat.torchsparse14.nn.functional.pooling import global_avg_pool, global_max_pool
from gossamer.compat.torchsparse14.tensor import SparseTensor

__all__ = ["GlobalAvgPool", "GlobalMaxPool"]


class GlobalAvgPool(nn.Module):
    """[B, C]: the mean over the voxels of each sample."""

    def forward(self, input: SparseTensor) -> Tensor:
        return global_avg_pool(input)


class GlobalMaxPool(nn.Module):
    """[B, C]: the maximum over the voxels of each sample."""

    def forward(self, input: SparseTensor) -> Tensor:
        return global_max_pool(input)
