"""The voxels inside a box."""

from collections.abc import Sequence

import torch

from gossamer.compat.layers.graphs import outside_graphs
from gossamer.compat.torchsparse.tensor import SparseTensor

__all__ = ["spcrop"]


def spcrop(
    input: SparseTensor,
    coords_min: Sequence[int] | None = None,
    coords_max: Sequence[int] | None = None,
) -> SparseTensor:
    """The rows whose voxel lies in the box, in their order.

    Args:
        input: any.
        coords_min: the first x, y and z inside. Default: no bound.
        coords_max: the first x, y and z outside. Default: no bound.

    Raises:
        ValueError: a bound is not three numbers.
    """
    return outside_graphs(_cropped, input, coords_min, coords_max)


def _cropped(
    input: SparseTensor, coords_min: Sequence[int] | None, coords_max: Sequence[int] | None
) -> SparseTensor:
    places = input.coords[:, 1:]
    inside = torch.ones(len(places), dtype=torch.bool, device=places.device)
    if coords_min is not None:
        inside &= (places >= _bound("coords_min", coords_min, places)).all(1)
    if coords_max is not None:
        inside &= (places < _bound("coords_max", coords_max, places)).all(1)
    return SparseTensor(
        input.feats[inside], input.coords[inside], input.stride, input.spatial_range
    )


def _bound(name: str, bound: Sequence[int], places: torch.Tensor) -> torch.Tensor:
    if len(bound) != places.shape[1]:
        raise ValueError(f"{name} is {bound!r}; wanted three numbers, of x, y and z")
    return torch.as_tensor(bound, device=places.device)
