"""One vector a sample."""

from torch import Tensor

from gossamer.compat.layers.graphs import outside_graphs
from gossamer.compat.pointcells.pillars import grouped
from gossamer.compat.pointcells.samples import samples_of
from gossamer.compat.torchsparse.tensor import SparseTensor

__all__ = ["global_avg_pool", "global_max_pool"]


def global_avg_pool(inputs: SparseTensor) -> Tensor:
    """[B, C]: the mean over the voxels of each sample, 0 for one without any.

    Raises:
        ValueError: a batch index is negative, or not below what spatial_range says.
    """
    return outside_graphs(_pool, inputs, "mean")


def global_max_pool(inputs: SparseTensor) -> Tensor:
    """[B, C]: the maximum over the voxels of each sample, 0 for one without any.

    Raises:
        ValueError: as `global_avg_pool`.
    """
    return outside_graphs(_pool, inputs, "max")


def _pool(inputs: SparseTensor, how: str) -> Tensor:
    sample = inputs.coords[:, 0].long()
    said = inputs.spatial_range
    samples = samples_of(sample, None if said is None else said[0])
    return grouped(inputs.feats, sample, samples, how)
