"""Sparse tensors of MinkowskiEngine's kind to test with."""

from collections.abc import Sequence

import torch
from torch import Tensor

import gossamer.compat.minkowski as ME


def coordinates(
    counts: Sequence[int] = (20, 13), ndim: int = 3, seed: int = 0, span: int = 8
) -> Tensor:
    """[N, 1+D] int32: distinct places on both sides of 0, in no order, `counts` a sample."""
    draw = torch.Generator().manual_seed(seed)
    rows = []
    for sample, count in enumerate(counts):
        cells = torch.randperm(span**ndim, generator=draw)[:count]
        axes = [(cells // span**axis) % span - span // 2 for axis in range(ndim)]
        rows.append(torch.stack([torch.full_like(cells, sample), *axes], dim=1))
    together = torch.cat(rows).int()
    return together[torch.randperm(len(together), generator=draw)]


def cloud(
    counts: Sequence[int] = (20, 13),
    channels: int = 4,
    ndim: int = 3,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> ME.SparseTensor:
    """A tensor on such places."""
    places = coordinates(counts, ndim, seed)
    draw = torch.Generator().manual_seed(seed + 1)
    features = torch.randn(len(places), channels, generator=draw, dtype=torch.float64).to(dtype)
    return ME.SparseTensor(features, places)


def field(
    counts: Sequence[int] = (20, 13), channels: int = 4, dtype: torch.dtype = torch.float32
) -> ME.TensorField:
    """A field of points at places that are not whole."""
    places = coordinates(counts).float()
    places[:, 1:] += torch.rand(len(places), 3) * 0.9
    return ME.TensorField(torch.randn(len(places), channels).to(dtype), places)
