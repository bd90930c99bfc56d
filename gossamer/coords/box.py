"""Boxes of cells, in which sites can be numbered."""

from dataclasses import dataclass
from math import prod

import torch

from gossamer.errors import KeyRangeError
from gossamer.geometry import Geometry

Axes = tuple[int, ...]
INT32 = torch.iinfo(torch.int32)


@dataclass(frozen=True)
class Box:
    """The cells lower <= c < upper an axis, of every sample of a batch."""

    lower: Axes
    upper: Axes

    def holding(self, other: "Box") -> "Box":
        """The smallest box around both."""
        lower = tuple(map(min, self.lower, other.lower))
        return Box(lower, tuple(map(max, self.upper, other.upper)))

    def image(self, geometry: Geometry) -> "Box":
        """All that the taps of `geometry` look at or reach from the sites of this coarse box."""
        axes = list(zip(self.lower, self.upper, geometry.stride, geometry.reach, strict=True))
        lower = tuple(low * s + near for low, _, s, (near, _) in axes)
        return Box(lower, tuple((high - 1) * s + far + 1 for _, high, s, (_, far) in axes))

    def preimage(self, geometry: Geometry) -> "Box":
        """All coarse sites from which some tap of `geometry` may meet a site of this fine box."""
        axes = list(zip(self.lower, self.upper, geometry.stride, geometry.reach, strict=True))
        lower = tuple(-((far - low) // s) for low, _, s, (_, far) in axes)
        upper = tuple((high - 1 - near) // s + 1 for _, high, s, (near, _) in axes)
        return Box(lower, tuple(map(max, lower, upper)))

    def cells_of(self, stride: Axes) -> "Box":
        """The coarse cells, `stride` fine ones an axis, that hold this box."""
        lower, upper = zip(*map(_floored, self.lower, self.upper, stride), strict=True)
        return Box(lower, upper)

    @property
    def cells(self) -> int:
        """How many cells a sample has."""
        return prod([high - low for low, high in zip(self.lower, self.upper, strict=True)])

    def check(self, batch_size: int) -> "Box":
        """This box, when its cells can be numbered.

        Raises:
            KeyRangeError: they do not fit a 63-bit key, or a coordinate does not fit 32 bits.
        """
        sizes = [high - low for low, high in zip(self.lower, self.upper, strict=True)]
        if max(1, batch_size) * prod(sizes) >= 1 << 63 or batch_size > INT32.max:
            raise KeyRangeError(
                f"coords span {' x '.join(map(str, sizes))} cells in {batch_size} samples, kernel "
                "included, more than a 63-bit key can number; remove outliers, subtract an origin "
                "or use larger voxels"
            )
        if any(low < INT32.min for low in self.lower) or any(up > INT32.max for up in self.upper):
            raise KeyRangeError(
                f"coords reach from {self.lower} to {self.upper}, kernel included; wanted 32-bit "
                "coordinates; subtract an origin or use larger voxels"
            )
        return self

    @property
    def lists(self) -> tuple[list[int], list[int]]:
        """Both corners as ops take them."""
        return list(self.lower), list(self.upper)


def box_around(low: list[int], high: list[int], shape: Axes | None) -> Box:
    """The box that holds `low` and `high`, or all of `shape`."""
    if shape is None:
        return Box(tuple(low), tuple(max(pair) + 1 for pair in zip(low, high, strict=True)))
    if any(v < 0 for v in low) or any(v >= n for v, n in zip(high, shape, strict=True)):
        raise ValueError(
            f"coords reach from {low} to {high}, outside spatial_shape {shape}; drop those rows, "
            "enlarge spatial_shape, or leave it out for a grid without bounds"
        )
    return Box((0,) * len(shape), shape)


def _floored(low: int, high: int, stride: int) -> tuple[int, int]:
    return low // stride, max(low // stride, (high - 1) // stride + 1)
