"""Points with coordinates between sites: the cell each lies in, and the sites around it."""

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from gossamer import checks
from gossamer.compat.coordmaps.maps import CoordinateMap
from gossamer.coords import Axes
from gossamer.coords.box import INT32
from gossamer.errors import KeyRangeError


@dataclass(frozen=True, eq=False)
class Field:
    """P points.

    Args:
        stride: D ints, the tensor stride it was given.
        points: [P, 1+D] floating, (batch, axes).
    """

    stride: Axes
    points: Tensor

    def __len__(self) -> int:
        """P."""
        return len(self.points)

    def batch(self) -> Tensor:
        """[P] int64: the sample of each point."""
        return samples_of(self.points)

    def cells(self, stride: Axes) -> Tensor:
        """[P, 1+D] int64: each point rounded down to multiples of `stride`."""
        if 0 in stride:
            return torch.cat([self.batch()[:, None], self.points[:, 1:].long() * 0], 1)
        return rounded_down(self.points, stride)

    def to(self, device: torch.device) -> "Field":
        """The same on another device."""
        return Field(self.stride, self.points.to(device))


def points_of(name: str, value: Tensor, ndim: int) -> Tensor:
    """`value` [P, 1+D] as floating points, when it is that.

    Raises:
        TypeError: it is no tensor of numbers.
        ValueError: wrong shape, or not finite.
        KeyRangeError: further out than 32 bits.
    """
    if checks.tensor(name, value).ndim != 2 or value.shape[1] != 1 + ndim:
        raise ValueError(
            f"{name} has shape {tuple(value.shape)}; wanted [P, {1 + ndim}], the batch index and "
            "one number an axis"
        )
    if value.dtype in (torch.int32, torch.int64):
        # float32 holds whole numbers only up to 2**24.
        value = value.double() if value.numel() and value.abs().max() > 1 << 24 else value.float()
    checks.finite(name, checks.floating(name, value, 2))
    if value.numel() and value.detach().abs().max() >= INT32.max:
        raise KeyRangeError(f"{name} reach beyond 32 bits; subtract an origin or use larger voxels")
    return value


def samples_of(points: Tensor) -> Tensor:
    """[P] int64: column 0, rounded to the nearest."""
    return (points[:, 0].detach().double() + 0.5).floor().long()


def rounded_down(points: Tensor, stride: Axes) -> Tensor:
    """[P, 1+D] int64: (batch, axes), each coordinate the multiple of `stride` below."""
    wide = torch.tensor(stride, device=points.device)
    cell = (points[:, 1:].detach().double() / wide).floor().long() * wide
    return torch.cat([samples_of(points).unsqueeze(1), cell], 1)


def around(sites: CoordinateMap, points: Tensor) -> tuple[Tensor, Tensor]:
    """The 2**D sites around each point and what each weighs; the last axis counts fastest.

    Args:
        sites: the map; corners are multiples of its tensor stride.
        points: [P, 1+D] floating.

    Returns:
        rows: [P, J] int64, of the map, or -1 where there is no site.
        weights: [P, J] float64, which sum to one; 0 where there is no site.
    """
    stride = sites.stride
    if 0 in stride:
        raise ValueError(
            f"tensor_stride is {list(stride)}: these rows lie at the origin, one a sample, and "
            "there is nothing between them to interpolate; use MinkowskiBroadcast"
        )
    low = rounded_down(points, stride)
    wide = low.new_tensor(stride)
    inner = (points[:, 1:].double() - low[:, 1:]) / wide  # [P, D] in [0, 1)
    steps = low.new_tensor(list(product((0, 1), repeat=len(stride))))  # [J, D]
    rows = sites.corners(low, steps)
    weights = torch.where(steps == 1, inner.unsqueeze(1), 1 - inner.unsqueeze(1)).prod(2)
    return rows, torch.where(rows >= 0, weights, 0)


def corners(points: Tensor) -> Tensor:
    """[P * J, 1+D] int64: the 2**D whole places around each point, some of them several times."""
    ndim = points.shape[1] - 1
    low = rounded_down(points, (1,) * ndim)
    steps = low.new_tensor([(0, *step) for step in product((0, 1), repeat=ndim)])
    return (low.unsqueeze(1) + steps).flatten(0, 1)
