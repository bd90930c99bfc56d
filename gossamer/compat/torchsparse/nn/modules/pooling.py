"""One vector a sample, as layers."""

from torch import Tensor, nn

from gossamer.compat.torchsparse.nn.functional.pooling import global_avg_pool, global_max_pool
from gossamer.compat.torchsparse.tensor import SparseTensor
from gossamer.nn.located import located

__all__ = ["GlobalAvgPool", "GlobalMaxPool"]


class GlobalAvgPool(nn.Module):
    """[B, C]: the mean over the voxels of each sample."""

    @located
    def forward(self, input: SparseTensor) -> Tensor:
        return global_avg_pool(input)


class GlobalMaxPool(nn.Module):
    """[B, C]: the maximum over the voxels of each sample."""

    @located
    def forward(self, input: SparseTensor) -> Tensor:
        return global_max_pool(input)
