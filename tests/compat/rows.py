"""SparseConvTensors whose rows are sorted, shuffled or repeated, and what they are densely."""

from collections.abc import Sequence

import torch
from torch import Tensor

import gossamer.compat.spconv.pytorch as spconv
from tests.scenes import SIDES, scene

ORDERS = ("sorted", "shuffled", "repeated")


def indices_of(ndim: int, sites: int, order: str, *, side: int, batch: int = 3) -> Tensor:
    """[R, 1+D] int32: `sites` sites, of which half come twice where they are repeated."""
    indices = scene(ndim, sites, 1, side=side, batch=batch).coords
    rng = torch.Generator().manual_seed(sites)
    if order == "repeated":
        indices = torch.cat([indices, indices[: (sites + 1) // 2]])
    if order != "sorted":
        indices = indices[torch.randperm(len(indices), generator=rng)]
    return indices


def tensor(
    ndim: int = 3,
    sites: int = 60,
    channels: int = 4,
    order: str = "shuffled",
    *,
    side: int | None = None,
    batch: int = 3,
    uneven: bool = False,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> spconv.SparseConvTensor:
    """Normally distributed features on rows; where the batch is 3, sample 1 has none.

    An uneven grid has one cell more an axis, empty ones.
    """
    side = side or SIDES[ndim]
    shape = [side + axis * uneven for axis in range(ndim)]
    indices = indices_of(ndim, sites, order, side=side, batch=batch)
    rng = torch.Generator().manual_seed(seed)
    features = torch.randn(len(indices), channels, generator=rng, dtype=torch.float64)
    return spconv.SparseConvTensor(features.to(dtype), indices, shape, batch)


def first_rows(indices: Tensor) -> Tensor:
    """[R] int64: for every row the first one of its site."""
    seen: dict[tuple[int, ...], int] = {}
    rows = [seen.setdefault(tuple(row), i) for i, row in enumerate(indices.tolist())]
    return torch.tensor(rows, dtype=torch.int64)


def summed(features: Tensor, indices: Tensor, batch: int, shape: Sequence[int]) -> Tensor:
    """[B, C, *shape]: the sum of the rows of each cell."""
    grid = features.new_zeros(batch, *shape, features.shape[1])
    places = tuple(indices.long().unbind(1))
    return grid.index_put(places, features, accumulate=True).movedim(-1, 1)
