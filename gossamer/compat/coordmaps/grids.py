"""Sites as cells of a grid, dense or torch's sparse."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from gossamer.checks import is_int
from gossamer.coords import Axes
from gossamer.ops.rows import onto_grid


@dataclass(frozen=True)
class Grid:
    """How coordinates become cells.

    Args:
        coordinates: [N, 1+D] int, (batch, axes).
        stride: D ints, the tensor stride.
        contract: whether a cell is a tensor stride wide, or one.
    """

    coordinates: Tensor
    stride: Axes
    contract: bool

    @property
    def wide(self) -> Axes:
        """The edges of a cell."""
        return tuple(max(1, s) if self.contract else 1 for s in self.stride)

    @property
    def lowest(self) -> Tensor:
        """[D] int32: the smallest coordinates, 0 without sites; a multiple of the tensor stride."""
        if not len(self.coordinates):
            return torch.zeros(len(self.stride), dtype=torch.int32)
        steps = torch.tensor([max(1, s) for s in self.stride], dtype=torch.int32)
        return self.coordinates[:, 1:].amin(0).cpu().div(steps, rounding_mode="floor") * steps

    def corner(self, name: str, value: Tensor | int | Sequence[int]) -> Tensor:
        """[D] int32: one int or D as a corner of the grid.

        Raises:
            ValueError: another number of ints, or none that are multiples of the tensor stride.
        """
        if is_int(value) and not isinstance(value, Tensor):
            value = [value] * len(self.stride)  # type: ignore[list-item]
        corner = torch.as_tensor(value).flatten().cpu()
        if corner.numel() != len(self.stride) or corner.is_floating_point():
            raise ValueError(f"{name} is {value}; wanted {len(self.stride)} ints, one an axis")
        if any(c % max(1, s) for c, s in zip(corner.tolist(), self.stride, strict=True)):
            raise ValueError(
                f"{name} is {corner.tolist()} and tensor_stride {list(self.stride)}; wanted "
                "multiples of it"
            )
        return corner.int()

    def in_cells(self, corner: Tensor) -> Tensor:
        """[D] int32: a corner in cells from the origin."""
        return corner.div(corner.new_tensor(self.wide), rounding_mode="floor")

    def cells(self, lowest: Tensor) -> Tensor:
        """[N, D] int64: how many cells from `lowest` each coordinate lies."""
        apart = self.coordinates[:, 1:].long() - lowest.to(self.coordinates.device)
        return apart.div(apart.new_tensor(self.wide), rounding_mode="floor")

    def dense(self, features: Tensor, lowest: Tensor, shape: Sequence[int] | None) -> Tensor:
        """[B, C, axes]: `features` [N, C] on their cells; `shape` as `SparseTensor.dense` has it.

        Raises:
            ValueError: a site outside; or there is neither a shape nor a site.
        """
        cells = self.cells(lowest)
        if shape is None:
            if not len(cells):
                raise ValueError("the tensor has no sites; say dense(shape)")
            size = [int(self.coordinates[:, 0].max()) + 1, *(cells.amax(0) + 1).tolist()]
        elif len(shape) != len(self.stride) + 2:
            raise ValueError(
                f"shape is {tuple(shape)}; wanted {len(self.stride) + 2} sizes, [B, C, axes]"
            )
        else:
            size = [int(shape[0]), *map(int, shape[2:])]
        self._check_inside(cells, size)
        place = self.coordinates[:, 0].long()
        for axis, extent in enumerate(size[1:]):
            place = place * extent + cells[:, axis]
        grid = onto_grid(features, place.to(features.device), size[0], prod(size[1:]))
        return grid.view(size[0], features.shape[1], *size[1:])

    def sparse(self, features: Tensor, lowest: Tensor, highest: Tensor | None) -> Tensor:
        """A torch.sparse [B, axes, C] of `features` [N, C], between two corners, both included.

        Raises:
            ValueError: a site outside.
        """
        cells = self.cells(lowest)
        size = (cells.amax(0) + 1).tolist() if len(cells) else [0] * len(self.stride)
        if highest is not None:
            size = (self.in_cells(highest - lowest) + 1).tolist()
        samples = int(self.coordinates[:, 0].max()) + 1 if len(cells) else 0
        self._check_inside(cells, [samples, *size])
        index = torch.cat([self.coordinates[:, :1].long(), cells], 1).t().to(features.device)
        shape = [samples, *size, features.shape[1]]
        return torch.sparse_coo_tensor(index, features, shape, check_invariants=True)

    def _check_inside(self, cells: Tensor, size: Sequence[int]) -> None:
        place = torch.cat([self.coordinates[:, :1].long(), cells], 1)
        outside = ((place < 0) | (place >= place.new_tensor(list(size)))).any(1)
        if outside.any():
            row = int(outside.nonzero()[0, 0])
            raise ValueError(
                f"the site {self.coordinates[row].tolist()} (batch, axes) would be cell "
                f"{place[row].tolist()} of a grid of {list(size)}; give a smaller min_coordinate, "
                "the coordinate of the first cell, or a larger shape, or prune such sites"
            )
