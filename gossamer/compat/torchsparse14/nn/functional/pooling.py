"""One vector a sample."""

from torch import Tensor

from gossamer.compat.pointcells.pillars import grouped
from gossamer.compat.pointcells.samples import samples_of
from gossamer.compat.torchsparse14.tensor import SparseTensor

__all__ = ["global_avg_pool", "global_max_pool"]


def global_avg_pool(inputs: SparseTensor) -> Tensor:
    """[B, C]: the mean over the voxels of each sample, 0 for one without any.

    Raises:
        ValueError: a batch index is negative.
    """
    return _pool(inputs, "mean")


def global_max_pool(inputs: SparseTensor) -> Tensor:
    """[B, C]: the maximum over the voxels of each sample, 0 for one without any.

    Raises:
        ValueError: a batch index is negative.
    """
    return _pool(inputs, "max")


def _pool(inputs: SparseTensor, how: str) -> Tensor:
    sample = inputs.coords[:, 3].long()
    return grouped(inputs.feats, sample, samples_of(sample), how)
