"""Sums of tensors on different sites, on the union of these."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gossamer.compat.rows.sites import Sites
from gossamer.compat.spconv.pytorch.core import SparseConvTensor


def union(tensors: Sequence[SparseConvTensor], sort: bool) -> SparseConvTensor:
    """The sum of tensors, each counted as zero where it has no site.

    Args:
        tensors: of one spatial shape, batch size and number of channels.
        sort: whether rows come sorted; else those of the largest tensor come first, in its order,
            and then the others as they appear.

    Returns:
        Rows without repeats. It carries the rulebooks of the largest tensor if it has its very
        rows, and else none.

    Raises:
        IndexError: there is no tensor.
        AssertionError: spatial shapes, batch sizes or numbers of channels differ.
    """
    if not tensors:
        raise IndexError("got no tensor to add; wanted one or more")
    largest = max(tensors, key=lambda x: x.indices.shape[0])
    others = [x for x in tensors if x is not largest]
    # The same tensor may be there several times.
    others += [largest] * (len(tensors) - len(others) - 1)
    for other in others:
        _check_alike(largest, other)
    indices = torch.cat([largest.indices, *(x.indices for x in others)])
    features = torch.cat([largest.features, *(x.features for x in others)])
    sites = Sites.of(indices, largest.spatial_shape, largest.batch_size)
    total, rows = sites.rows.onto(features, "sum"), sites.coords.rows
    if not sort and sites.rows.site is not None:
        order = sites.rows.first().argsort()
        total, rows = total[order], rows[order]
    new = largest.replace_feature(total)
    if not torch.equal(rows, largest.indices):
        new.indices, new.indice_dict = rows.clone(), {}
    return new


def _check_alike(first: SparseConvTensor, other: SparseConvTensor) -> None:
    came, wanted = (
        (list(x.spatial_shape), x.batch_size, x.features.shape[1]) for x in (other, first)
    )
    assert came == wanted, (
        f"tensors to add have (spatial_shape, batch_size, channels) {wanted} and {came}; wanted "
        "the same"
    )


def indice_to_scalar(indices: Tensor, shape: Sequence[int]) -> Tensor:
    """[N] int64: the place of each row of `indices` [N, A] in a row-major array of A axes.

    Raises:
        AssertionError: `shape` has not A sizes.
    """
    assert indices.shape[1] == len(shape), (
        f"indices has {indices.shape[1]} columns and shape {list(shape)}; wanted one size a column"
    )
    place = indices.new_zeros(indices.shape[0], dtype=torch.int64)
    for column, size in zip(indices.long().unbind(1), shape, strict=True):
        place = place * size + column
    return place
