"""SparseTensor: a feature vector on every site."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import overload

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from gossamer import checks
from gossamer.coords import Axes, Coords, Steps
from gossamer.interpolation import at_places
from gossamer.ops.keys import pack, unique, unpack
from gossamer.ops.rows import inverse, onto_grid, permute

Number = int | float


@dataclass(frozen=True, eq=False, init=False)
class SparseTensor:
    """Features on N sites of a grid of 1 to 4 axes, for a batch of B samples.

    Rows are kept in key order: by batch, then by the axes. `given_order` gives results back in the
    order of the rows a tensor was made from.

    Args:
        features: [N, C] float32, float64, float16 or bfloat16.
        coords: [N, 1+D] int32 or int64, (batch, axes), unique, in any order; or a Coords, whose
            sites are taken as they are. Coordinates may be negative where there is no
            spatial_shape.
        spatial_shape: D ints, the extent of the grid. Default: a grid without bounds.
        batch_size: B. Default: the largest batch index plus one.
        stride: edge of a voxel in input voxels, one int or D.

    Raises:
        TypeError: features are not floating, coords are not int32 or int64.
        ValueError: lengths differ, a coordinate or batch index is out of range, a site comes twice
            (DuplicateSitesError), the range does not fit a 63-bit key (KeyRangeError).
    """

    features: Tensor
    sites: Coords

    @overload
    def __init__(self, features: Tensor, coords: Coords) -> None: ...
    @overload
    def __init__(
        self,
        features: Tensor,
        coords: Tensor,
        spatial_shape: Sequence[int] | None = None,
        batch_size: int | None = None,
        stride: int | Sequence[int] = 1,
    ) -> None: ...
    def __init__(
        self,
        features: Tensor,
        coords: "Coords | Tensor",
        spatial_shape: Sequence[int] | None = None,
        batch_size: int | None = None,
        stride: int | Sequence[int] = 1,
    ) -> None:
        if not isinstance(coords, Coords):
            checks.floating("features", features, 2)
            if len(features) != len(checks.tensor("coords", coords)):
                raise ValueError(
                    f"features has {len(features)} rows and coords has {len(coords)}; wanted one "
                    "row a site in both"
                )
            if features.device != coords.device:
                raise ValueError(
                    f"features is on {features.device} and coords on {coords.device}; wanted one "
                    "device; move one of them with .to()"
                )
            coords, _ = Coords.of(coords, spatial_shape, batch_size, stride)
            features = features if coords.given is None else permute(features, coords.given)
        elif features.shape[0] != len(coords):
            raise ValueError(
                f"features has {features.shape[0]} rows; wanted {len(coords)}, one a site"
            )
        object.__setattr__(self, "features", features)
        object.__setattr__(self, "sites", coords)

    @property
    def coords(self) -> Tensor:
        """[N, 1+D] int32: the sites, (batch, axes), in key order."""
        return self.sites.rows

    @property
    def spatial_shape(self) -> Axes | None:
        """D ints, or None for a grid without bounds."""
        return self.sites.spatial_shape

    @property
    def batch_size(self) -> int:
        """B, the number of samples."""
        return self.sites.batch_size

    @property
    def stride(self) -> Axes:
        """D ints: the edge of a voxel in input voxels."""
        return self.sites.stride

    @property
    def ndim(self) -> int:
        """D, the number of spatial axes."""
        return self.sites.ndim

    @property
    def channels(self) -> int:
        """C."""
        return self.features.shape[1]

    @property
    def dtype(self) -> torch.dtype:
        """Of the features."""
        return self.features.dtype

    @property
    def device(self) -> torch.device:
        """Of the features."""
        return self.features.device

    def __len__(self) -> int:
        """N, the number of sites."""
        return self.features.shape[0]

    def __repr__(self) -> str:
        grid = self.spatial_shape or "without bounds"
        return (
            f"SparseTensor({len(self)} sites x {self.channels} channels, grid {grid}, "
            f"batch {self.batch_size}, stride {self.stride}, {self.dtype}, {self.device})"
        )

    def with_features(self, features: Tensor) -> "SparseTensor":
        """The same sites carrying other features [N, any]."""
        return SparseTensor(features, self.sites)

    def given_order(self) -> Tensor:
        """[N, C]: the features in the order of the rows the sites were made from."""
        given = self.sites.given
        return self.features if given is None else permute(self.features, inverse(given))

    def to(self, target: torch.device | torch.dtype | str) -> "SparseTensor":
        """The same tensor on another device, or with features of another dtype."""
        if isinstance(target, torch.dtype):
            return self.with_features(self.features.to(target))
        return SparseTensor(self.features.to(target), self.sites.to(target))

    def cuda(self) -> "SparseTensor":
        """The same tensor on the current CUDA device."""
        return self.to("cuda")

    def cpu(self) -> "SparseTensor":
        """The same tensor in host memory."""
        return self.to("cpu")

    def half(self) -> "SparseTensor":
        """Features as float16."""
        return self.to(torch.float16)

    def float(self) -> "SparseTensor":
        """Features as float32."""
        return self.to(torch.float32)

    def double(self) -> "SparseTensor":
        """Features as float64."""
        return self.to(torch.float64)

    def bfloat16(self) -> "SparseTensor":
        """Features as bfloat16."""
        return self.to(torch.bfloat16)

    def detach(self) -> "SparseTensor":
        """The same values, cut off from the graph of gradients."""
        return self.with_features(self.features.detach())

    def dense(self) -> Tensor:
        """[B, C, *spatial_shape]: the features on the whole grid, zero where there is no site.

        Raises:
            ValueError: the grid has no bounds.
        """
        if self.spatial_shape is None:
            raise ValueError(
                "this tensor has no spatial_shape, so its dense form has no extent; give "
                "spatial_shape when the tensor is made"
            )
        shape = list(self.spatial_shape)
        cell = pack(self.coords, [0] * len(shape), shape)
        cell = cell if self.sites.fill is None else self.sites.fill.where(cell, -1)
        grid = onto_grid(self.features, cell, self.batch_size, prod(shape))
        return grid.unflatten(2, shape)

    def padded(self, capacity: int, growth: Number = 1.0) -> "SparseTensor":
        """The same sites as the first of `capacity` rows, so that the host need not count them.

        A network in eval mode then never makes the host wait, and can be captured as a CUDA graph;
        `gossamer.capture` does that. What the other rows hold is not set and never read.

        Args:
            capacity: how many rows there are.
            growth: rows that a strided layer's result gets for each row of its input.

        Raises:
            CapacityError: there are more sites.
            ValueError: the tensor is not on a GPU.
        """
        sites = self.sites.padded(capacity, growth)
        more = self.features.new_zeros(capacity - len(self), self.channels)
        return SparseTensor(torch.cat([self.features, more]), sites)

    def trimmed(self) -> "SparseTensor":
        """Only the rows that are sites; asks the device how many that are.

        Raises:
            CapacityError: some layer on the way here found more sites than it has rows.
        """
        sites = self.sites.trimmed()
        return SparseTensor(self.features[: len(sites)], sites)

    @classmethod
    def from_dense(cls, grid: Tensor) -> "SparseTensor":
        """The sites of `grid` [B, C, *spatial_shape] where some channel is not zero."""
        checks.floating("grid", grid, max(3, min(6, grid.ndim)))
        last = grid.movedim(1, -1)
        coords = (last.detach() != 0).any(-1).nonzero()
        features = last[tuple(coords.unbind(1))]
        return cls(features, coords, tuple(grid.shape[2:]), grid.shape[0])

    def prune(self, mask: Tensor) -> "SparseTensor":
        """Only the sites where `mask` [N] bool is true, in the order they have here.

        Raises:
            ValueError: the mask is not [N] bool.
        """
        if mask.dtype != torch.bool or mask.shape != (len(self),):
            raise ValueError(
                f"mask is {mask.dtype} of shape {tuple(mask.shape)}; wanted bool [{len(self)}]"
            )
        rows = mask.nonzero().squeeze(1)
        return SparseTensor(self.features.index_select(0, rows), self.sites.kept(rows))

    def broadcast(self, vectors: Tensor) -> "SparseTensor":
        """Every site carrying its sample's row of `vectors` [B, any]."""
        if vectors.ndim != 2 or vectors.shape[0] != self.batch_size:
            raise ValueError(
                f"vectors has shape {tuple(vectors.shape)}; wanted [{self.batch_size}, C], one row "
                "a sample"
            )
        return self.with_features(self.sites.spread(vectors))

    def interpolate(self, points: Tensor) -> Tensor:
        """[P, C]: the features at any place between the sites, D-linearly; absent sites are zero.

        Args:
            points: [P, 1+D] floating, (batch, axes), in voxels; a whole number is a site's own
                place.

        Raises:
            ValueError: points are not [P, 1+D], or not finite.
        """
        return at_places(self.sites, self.features, points, renormalize=False)

    def __add__(self, other: "SparseTensor | Tensor | Number") -> "SparseTensor":
        """On the same sites the sum; on different ones the union, absent features being zero."""
        if not isinstance(other, SparseTensor):
            return self.with_features(self.features + other)
        if self.sites.same_sites(other.sites):
            return self.with_features(self.features + other.features)
        return _union(self, other)

    __radd__ = __add__

    def __mul__(self, other: "SparseTensor | Tensor | Number") -> "SparseTensor":
        """Features times a number, a tensor that broadcasts against [N, C], or the same sites'."""
        if isinstance(other, SparseTensor):
            _check_same_sites([self, other])
            return self.with_features(self.features * other.features)
        return self.with_features(self.features * other)

    __rmul__ = __mul__


def cat(tensors: Sequence[SparseTensor]) -> SparseTensor:
    """The channels of several tensors on the same sites, one after the other.

    Raises:
        ValueError: there is none, or their sites differ.
    """
    if not tensors:
        raise ValueError("tensors is empty; wanted at least one")
    _check_same_sites(tensors)
    return tensors[0].with_features(torch.cat([t.features for t in tensors], dim=1))


def _check_same_sites(tensors: Sequence[SparseTensor]) -> None:
    for i, tensor in enumerate(tensors[1:], start=1):
        for name in ("ndim", "stride", "batch_size"):
            if getattr(tensors[0], name) != getattr(tensor, name):
                raise ValueError(
                    f"{name} is {getattr(tensors[0], name)} in tensor 0 and "
                    f"{getattr(tensor, name)} in tensor {i}; wanted the same"
                )
        if not tensors[0].sites.same_sites(tensor.sites):
            raise ValueError(
                f"tensors 0 and {i} have different sites ({len(tensors[0])} and {len(tensor)}); "
                "wanted the same; use + for a union, or an inverse convolution to go back to the "
                "sites of an earlier layer"
            )


def _union(a: SparseTensor, b: SparseTensor) -> SparseTensor:
    for side in (a, b):
        side.sites.counted("a union can't be made")
    for name in ("channels", "dtype", "stride", "spatial_shape", "batch_size", "ndim"):
        if getattr(a, name) != getattr(b, name):
            raise ValueError(
                f"{name} is {getattr(a, name)} on the left of + and {getattr(b, name)} on the "
                "right; wanted the same"
            )
    box = a.sites.box.holding(b.sites.box).check(a.batch_size)
    keys = torch.cat([pack(a.coords, *box.lists), pack(b.coords, *box.lists)])
    distinct, row, _ = unique(keys)
    rows_a, rows_b = row.split([len(a), len(b)])
    zeros = a.features.new_zeros(distinct.shape[0], a.channels)
    features = zeros.index_add(0, rows_a, a.features).index_add(0, rows_b, b.features)
    sites = replace(
        a.sites, rows=unpack(distinct, *box.lists), box=box, given=None, origin=None, steps=Steps()
    )
    return SparseTensor(features, sites)


def _flatten(x: SparseTensor):
    return [x.features, x.sites.rows], x.sites


def _unflatten(leaves, sites: Coords) -> SparseTensor:
    features, rows = leaves
    moved = sites if rows is sites.rows else replace(sites, rows=rows, steps=Steps())
    return SparseTensor(features, moved)


pytree.register_pytree_node(
    SparseTensor, _flatten, _unflatten, serialized_type_name="gossamer.SparseTensor"
)
