"""Coords: the sites of a sparse tensor, where they came from, and the rulebooks built on them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import starmap
from math import prod

import torch
from torch import Tensor

from gossamer.checks import is_int, per_axis, sample_range, tensor
from gossamer.errors import DuplicateSitesError, KeyRangeError
from gossamer.geometry import Geometry
from gossamer.ops.keys import coarsen, dilate, pack, survey, unique, unpack
from gossamer.ops.rulebooks import match
from gossamer.rulebook import Pairs, Rulebook, to_be_kept

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


class Steps(dict):
    """The rulebooks built on some sites, by geometry.

    A class of its own, because torch.compile can hand a frozen value out only when the dict inside
    is an object that it makes before and fills after.
    """


@dataclass(frozen=True)
class Origin:
    """How a set of sites was made: by this geometry, inside this bound, from those sites."""

    coords: "Coords"
    geometry: Geometry
    bound: Axes | None


@dataclass(frozen=True)
class Step:
    """What a Coords keeps about one geometry: the rulebook and the sites it leads to.

    It holds tensors and not a Coords, which would point back and keep both alive until the garbage
    collector runs.
    """

    rulebook: Rulebook
    rows: Tensor | None  # [M, 1+D] int32; None for the same sites
    box: Box
    steps: Steps = field(repr=False)


@dataclass(frozen=True, eq=False)
class Coords:
    """N sites: sorted, unique, inside a box. Build it with `Coords.of`, which checks.

    Args:
        rows: [N, 1+D] int32, (batch, axes), sorted by key.
        box: every site lies in it.
        spatial_shape: D ints, the extent of the grid; None for a grid without bounds.
        batch_size: B, the number of samples; some may have no site.
        stride: D ints, the edge of a voxel in input voxels.
        given: [R] int64, the row of each of the caller's rows, where they came unsorted.
        origin: the sites these were made from, for kernels that go back to them.
        steps: the rulebooks built so far, by geometry.
    """

    rows: Tensor
    box: Box
    spatial_shape: Axes | None
    batch_size: int
    stride: Axes
    given: Tensor | None = None
    origin: Origin | None = field(default=None, repr=False)
    steps: Steps = field(default_factory=Steps, repr=False)

    @classmethod
    def of(
        cls,
        coords: Tensor,
        spatial_shape: Sequence[int] | None = None,
        batch_size: int | None = None,
        stride: int | Sequence[int] = 1,
    ) -> tuple["Coords", Tensor | None]:
        """Sites in key order, and the order that brought the caller's rows there (None: as is).

        Args:
            coords: [N, 1+D] int32 or int64, (batch, axes), unique, in any order.
            spatial_shape: D ints; None for a grid without bounds.
            batch_size: B. Default: the largest batch index plus one.
            stride: one int or D.

        Raises:
            TypeError: coords is not an int32 or int64 tensor.
            ValueError: wrong shape, a coordinate or batch index out of range.
            DuplicateSitesError: two rows are equal.
            KeyRangeError: the range does not fit a 63-bit key.
        """
        sites, row, order = cls.under(coords, spatial_shape, batch_size, stride)
        if row is None or order is None:
            return sites, None
        if len(sites) != coords.shape[0]:
            _report_duplicates(coords, row, order)
        return replace(sites, given=row), order

    @classmethod
    def under(
        cls,
        coords: Tensor,
        spatial_shape: Sequence[int] | None = None,
        batch_size: int | None = None,
        stride: int | Sequence[int] = 1,
    ) -> tuple["Coords", Tensor | None, Tensor | None]:
        """The sites under rows that may repeat; arguments and errors as in `of`.

        Returns:
            sites: N of them, in key order.
            row: [R] int64, the site of each row; None where row i is site i.
            order: [R] int64, the rows sorted by site, those of one site as they came; or None.
        """
        ndim = _check_rows(coords)
        shape = None if spatial_shape is None else per_axis("spatial_shape", spatial_shape, ndim, 1)
        least, most, ascending = survey(coords).tolist()
        batches = _batch_size(batch_size, least[0], most[0])
        box = _box(least[1:], most[1:], shape).check(batches)
        stride_axes = per_axis("stride", stride, ndim, 1)
        if ascending[0]:
            return cls(coords.int(), box, shape, batches, stride_axes), None, None
        distinct, row, order = unique(pack(coords, *box.lists))
        rows = unpack(distinct, *box.lists)
        return cls(rows, box, shape, batches, stride_axes), row, order

    def __len__(self) -> int:
        """N, the number of sites."""
        return self.rows.shape[0]

    @property
    def ndim(self) -> int:
        """D, the number of spatial axes."""
        return self.rows.shape[1] - 1

    @property
    def batch(self) -> Tensor:
        """[N] int64: the sample of each site."""
        return self.rows[:, 0].long()

    def keys(self) -> Tensor:
        """[N] int64, ascending: the key of each site inside `box`."""
        return pack(self.rows, *self.box.lists)

    def same_sites(self, other: "Coords") -> bool:
        """Whether both are the same sites of the same grid and batch, row by row."""
        if (self.stride, self.batch_size) != (other.stride, other.batch_size):
            return False
        if self.rows is other.rows:
            return True
        return self.rows.shape == other.rows.shape and bool(torch.equal(self.rows, other.rows))

    def per_sample(self) -> Rulebook:
        """The rulebook that sends every site to its sample, built on first use."""
        if "per_sample" not in self.steps:
            with to_be_kept():
                self.steps["per_sample"] = Rulebook.grouping(self.batch, self.batch_size)
        return self.steps["per_sample"]

    def rulebook(self, geometry: Geometry, bound: Axes | None = None) -> Rulebook:
        """The rulebook of `geometry` on these sites, built on first use; arguments as in output."""
        return self._step(geometry, bound).rulebook

    def output(self, geometry: Geometry, bound: Axes | None = None) -> "Coords":
        """The sites that `geometry` leads to.

        Args:
            geometry: the kernel.
            bound: for a generative kernel, the spatial shape to stay inside. Default: no bound.
        """
        if geometry.kind == "submanifold":
            return self
        step = self._step(geometry, bound)
        scale = _divided if geometry.is_upward else _multiplied
        return Coords(
            step.rows if step.rows is not None else self.rows,
            step.box,
            self._output_shape(geometry, bound),
            self.batch_size,
            tuple(map(scale, self.stride, geometry.stride)),
            origin=Origin(self, geometry, bound),
            steps=step.steps,
        )

    def onto(self, geometry: Geometry, target: "Coords") -> Rulebook:
        """The rulebook of `geometry` from these sites onto given ones, not cached."""
        fine, coarse = (target, self) if geometry.is_upward else (self, target)
        rulebook = _matched(geometry, fine, coarse)
        return rulebook.T if geometry.is_upward else rulebook

    def back(self) -> Rulebook:
        """The rulebook that leads to the sites these were made from, `origin.coords`.

        It is the one that led here, read backwards; where sites were dropped since, one built anew.

        Raises:
            ValueError: these sites were not made from others.
        """
        if self.origin is None:
            raise ValueError(
                "the input's sites were not made by a strided, transposed or pooling layer, so "
                "there are none to go back to; use a transposed convolution to make new ones"
            )
        source, geometry = self.origin.coords, self.origin.geometry
        step = source.steps.get((geometry, self.origin.bound))
        if step is not None and step.rows is self.rows:
            return step.rulebook.T
        if "back" not in self.steps:
            with to_be_kept():
                self.steps["back"] = source.onto(geometry, self).T
        return self.steps["back"]

    def kept(self, rows: Tensor) -> "Coords":
        """Only the sites `rows` [M] int64, ascending."""
        return replace(self, rows=self.rows.index_select(0, rows), given=None, steps=Steps())

    def to(self, device: torch.device | str) -> "Coords":
        """The same sites on another device, with those they came from."""
        if self.rows.device == torch.device(device):
            return self
        origin = self.origin and replace(self.origin, coords=self.origin.coords.to(device))
        given = None if self.given is None else self.given.to(device)
        return replace(self, rows=self.rows.to(device), given=given, origin=origin, steps=Steps())

    def __getstate__(self) -> dict:
        """Everything but the rulebooks, which cost less to build than to send."""
        return {**self.__dict__, "steps": Steps()}

    def _step(self, geometry: Geometry, bound: Axes | None = None) -> Step:
        key = (geometry, bound)
        if key not in self.steps:
            with to_be_kept():
                self.steps[key] = self._build(geometry, bound)
        return self.steps[key]

    def _build(self, geometry: Geometry, bound: Axes | None) -> Step:
        if geometry.ndim != self.ndim:
            raise ValueError(
                f"the input has {self.ndim} spatial axes; this kernel was made for {geometry.ndim}"
            )
        if geometry.kind == "submanifold":
            return Step(_matched(geometry, self, self), None, self.box, self.steps)
        box = self._output_box(geometry, bound)
        if geometry.is_upward:
            rows = dilate(self.rows, *box.lists, list(geometry.stride), geometry.flat_offsets)
        else:
            minkowski = geometry.downsample == "minkowski"
            offsets = geometry.cell if minkowski else geometry.flat_offsets
            rows = coarsen(self.rows, *box.lists, list(geometry.stride), offsets)
        out = replace(self, rows=rows, box=box)
        return Step(self.onto(geometry, out), rows, box, Steps())

    def _output_shape(self, geometry: Geometry, bound: Axes | None) -> Axes | None:
        if geometry.kind == "generative":
            return bound
        return None if self.spatial_shape is None else geometry.output_shape(self.spatial_shape)

    def _output_box(self, geometry: Geometry, bound: Axes | None) -> Box:
        shape = self._output_shape(geometry, bound)
        if shape is not None:
            box = Box((0,) * len(shape), shape)
        elif geometry.is_upward:
            box = self.box.image(geometry)
        elif geometry.downsample == "minkowski":
            corners = zip(self.box.lower, self.box.upper, geometry.stride, strict=True)
            lower, upper = zip(*starmap(_floored, corners), strict=True)
            box = Box(lower, upper)
        else:
            box = self.box.preimage(geometry)
        return box.check(self.batch_size)


def _matched(geometry: Geometry, fine: Coords, coarse: Coords) -> Rulebook:
    """The rulebook that reads fine and writes coarse sites."""
    box = fine.box.holding(coarse.box.image(geometry)).check(fine.batch_size)
    stride, offsets = list(geometry.stride), geometry.flat_offsets
    inputs, outputs, starts = match(fine.rows, coarse.rows, *box.lists, stride, offsets)
    taps = torch.arange(len(geometry.taps), device=fine.rows.device)
    mirror = geometry.mirror if geometry.kind == "submanifold" else None
    pairs = Pairs(inputs, outputs, starts, taps)
    return Rulebook(len(fine), len(coarse), {False: pairs}, mirror=mirror)


def _multiplied(stride: int, by: int) -> int:
    return stride * by


def _divided(stride: int, by: int) -> int:
    # Upwards past the input's own grid there is no smaller unit, so the stride stays 1.
    return max(1, stride // by)


def _floored(low: int, high: int, stride: int) -> tuple[int, int]:
    return low // stride, max(low // stride, (high - 1) // stride + 1)


def _check_rows(coords: Tensor) -> int:
    if tensor("coords", coords).dtype not in (torch.int32, torch.int64):
        raise TypeError(
            f"coords is {coords.dtype}; wanted int32 or int64; floor positions to voxels first, "
            "for instance with gossamer.voxelize"
        )
    if coords.ndim != 2 or not 2 <= coords.shape[1] <= 5:
        raise ValueError(
            f"coords has shape {tuple(coords.shape)}; wanted [N, 1 + D] with the batch index first "
            "and D from 1 to 4"
        )
    return coords.shape[1] - 1


def _batch_size(batch_size: int | None, least: int, most: int) -> int:
    if batch_size is None:
        batch_size = max(int(most >= least), most + 1)  # at least 1 where there are rows
    if not is_int(batch_size) or batch_size < 0:
        raise ValueError(f"batch_size is {batch_size!r}; wanted an int, 0 or more")
    sample_range("column 0 of coords, the batch,", least, most, batch_size)
    return batch_size


def _box(low: list[int], high: list[int], shape: Axes | None) -> Box:
    """The box that holds `low` and `high`, or all of `shape`."""
    if shape is None:
        return Box(tuple(low), tuple(max(pair) + 1 for pair in zip(low, high, strict=True)))
    if any(v < 0 for v in low) or any(v >= n for v, n in zip(high, shape, strict=True)):
        raise ValueError(
            f"coords reach from {low} to {high}, outside spatial_shape {shape}; drop those rows, "
            "enlarge spatial_shape, or leave it out for a grid without bounds"
        )
    return Box((0,) * len(shape), shape)


def _report_duplicates(coords: Tensor, row: Tensor, order: Tensor) -> None:
    repeated = (row[order].diff() == 0).nonzero()[0, 0]
    first, second = int(order[repeated]), int(order[repeated + 1])
    raise DuplicateSitesError(
        f"coords rows {first} and {second} are both {coords[first].tolist()}; wanted every site "
        "once; merge points that share a voxel with gossamer.voxelize"
    )
