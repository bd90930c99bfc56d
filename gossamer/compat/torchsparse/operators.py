"""Tensors put together."""

from collections.abc import Sequence

import torch

from gossamer.compat.rows.values import Values
from gossamer.compat.torchsparse.tensor import SparseTensor, check_same_rows
from gossamer.compat.voxelnets.places import Place
from gossamer.compat.voxelnets.values import together
from gossamer.rulebook import to_be_kept

__all__ = ["cat", "generative_add"]


def cat(inputs: Sequence[SparseTensor]) -> SparseTensor:
    """The channels of all, on the rows of the first.

    Args:
        inputs: one or more, on the same rows in the same order.

    Raises:
        ValueError: there is none, or their coords differ.
    """
    if not inputs:
        raise ValueError("inputs is empty; wanted one SparseTensor or more")
    check_same_rows(inputs, "tensors to concatenate")
    features, like = together([x._values for x in inputs])
    return inputs[0]._with(Values(torch.cat(features, dim=1), like.rows))


def generative_add(a: SparseTensor, b: SparseTensor) -> SparseTensor:
    """The sum on the union of the sites, sorted; who has no row there counts as zero.

    Raises:
        ValueError: their strides differ.
    """
    if a.stride != b.stride:
        raise ValueError(f"strides are {a.stride} and {b.stride}; wanted tensors of one stride")
    more, less = (a, b) if len(a.coords) >= len(b.coords) else (b, a)
    place = Place.of(torch.cat([more.coords, less.coords]), 3)
    total = place.sites.rows.onto(torch.cat([more.feats, less.feats]), "sum")
    ranges = [x.spatial_range for x in (more, less) if x.spatial_range is not None]
    grown = tuple(map(max, *ranges)) if len(ranges) > 1 else more.spatial_range
    with to_be_kept():
        union = Place.led_to(place.sites.coords)
    return more._led_to(Values(total), union, more.stride, grown)
