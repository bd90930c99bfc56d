"""Coords: the sites of a sparse tensor, where they came from, and the rulebooks built on them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from gossamer.checks import per_axis
from gossamer.coords.ahead import ahead_of, remember
from gossamer.coords.box import Axes, Box, box_around
from gossamer.coords.fill import Fill, sites_of
from gossamer.coords.given import batch_size_of, check_rows, report_duplicates
from gossamer.coords.reach import Reached, output_shape, reached
from gossamer.coords.steps import Origin, Step, Steps
from gossamer.errors import CapacityError
from gossamer.geometry import Geometry
from gossamer.ops.keys import pack, survey, unique, unpack
from gossamer.ops.rulebooks import makes_tables, match
from gossamer.rulebook import Pairs, Rulebook, Sides, Table, to_be_kept
from gossamer.rulebook.table import Made

__all__ = ["Axes", "Box", "Coords", "Steps"]


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
        fill: how many of the rows exist, where only the device knows; None for all.
        steps: the rulebooks built so far, by geometry.
    """

    rows: Tensor
    box: Box
    spatial_shape: Axes | None
    batch_size: int
    stride: Axes
    given: Tensor | None = None
    origin: Origin | None = field(default=None, repr=False)
    fill: Fill | None = field(default=None, repr=False)
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
            report_duplicates(coords, row, order)
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
        ndim = check_rows(coords)
        shape = None if spatial_shape is None else per_axis("spatial_shape", spatial_shape, ndim, 1)
        least, most, ascending = survey(coords).tolist()
        batches = batch_size_of(batch_size, least[0], most[0])
        box = box_around(least[1:], most[1:], shape).check(batches)
        stride_axes = per_axis("stride", stride, ndim, 1)
        if ascending[0]:
            return cls(coords.int(), box, shape, batches, stride_axes), None, None
        distinct, row, order = unique(pack(coords, *box.lists))
        rows = unpack(distinct, *box.lists)
        return cls(rows, box, shape, batches, stride_axes), row, order

    def __len__(self) -> int:
        """N, the number of rows; all of them are sites where there is no `fill`."""
        return self.rows.shape[0]

    @property
    def ndim(self) -> int:
        """D, the number of spatial axes."""
        return self.rows.shape[1] - 1

    @property
    def batch(self) -> Tensor:
        """[N] int64: the sample of each site; of a row that is none, 0."""
        batch = self.rows[:, 0].long()
        return batch if self.fill is None else self.fill.where(batch, 0)

    def keys(self) -> Tensor:
        """[N] int64, ascending: the key of each site inside `box`."""
        keys = pack(self.rows, *self.box.lists)
        return keys if self.fill is None else self.fill.where(keys, torch.iinfo(keys.dtype).max)

    def same_sites(self, other: "Coords") -> bool:
        """Whether both are the same sites of the same grid and batch, row by row."""
        if (self.stride, self.batch_size) != (other.stride, other.batch_size):
            return False
        if self.rows is other.rows:
            return True
        self.counted("sites can't be compared")
        return self.rows.shape == other.rows.shape and bool(torch.equal(self.rows, other.rows))

    def per_sample(self) -> Rulebook:
        """The rulebook that sends every site to its sample, built on first use."""
        if "per_sample" not in self.steps:
            with to_be_kept():
                # A row that does not exist belongs to a sample behind the last.
                batch = self.batch
                sample = batch if self.fill is None else self.fill.where(batch, self.batch_size)
                self.steps["per_sample"] = Rulebook.grouping(sample, self.batch_size)
        return self.steps["per_sample"]

    def spread(self, vectors: Tensor) -> Tensor:
        """[N, C]: each sample's row of `vectors` [B, C] at each of its sites."""
        if self.fill is not None or not vectors.requires_grad:
            return vectors.index_select(0, self.batch)
        # The gradient of an index adds with atomics on a GPU, so in no fixed order.
        return self.per_sample().T.reduce(vectors, "sum")

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
        assert step.rows is not None  # as only a submanifold kernel's are
        there = Reached(step.rows, step.box, step.fill)
        return self.after(geometry, bound, there, step.steps)

    def after(
        self, geometry: Geometry, bound: Axes | None, there: Reached, steps: Steps
    ) -> "Coords":
        """The sites that `geometry` reaches, with `steps` built on them."""
        scale = _divided if geometry.is_upward else _multiplied
        return Coords(
            there.rows,
            there.box,
            output_shape(self, geometry, bound),
            self.batch_size,
            tuple(map(scale, self.stride, geometry.stride)),
            origin=Origin(self, geometry, bound),
            fill=there.fill,
            steps=steps,
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
        """Only the sites `rows` [M] int64, ascending.

        Raises:
            ValueError: only the device knows how many sites there are.
        """
        self.counted("sites can't be dropped")
        return replace(self, rows=self.rows.index_select(0, rows), given=None, steps=Steps())

    def padded(self, rows: int, growth: float) -> "Coords":
        """The same sites as the first of `rows` rows, for work in which the host never waits.

        Args:
            rows: how many there are; the rest is not read.
            growth: rows of a coarser level for each row of this one.

        Raises:
            CapacityError: there are more sites.
            ValueError: a backend here needs to know how many sites there are; or growth is not
                positive.
        """
        self.counted("sites can't be padded again")
        if not makes_tables(self.rows):
            raise ValueError(
                f"a fixed number of rows is for GPUs, and these sites are on {self.rows.device}, "
                "where the number of sites is known anyway; use the tensor as it is"
            )
        if not growth > 0:
            raise ValueError(f"growth is {growth}; wanted more than 0")
        if len(self) > rows:
            raise CapacityError(f"there are {len(self)} sites; wanted at most {rows}, the capacity")
        more = self.rows.new_zeros(rows - len(self), self.rows.shape[1])
        known = torch.full((1,), len(self), device=self.rows.device)
        fill = Fill.of(known, rows, growth)
        padded = torch.cat([self.rows, more])
        return replace(self, rows=padded, given=None, origin=None, fill=fill, steps=Steps())

    def trimmed(self) -> "Coords":
        """Only rows that are sites, without a memory of what they were made from.

        Raises:
            CapacityError: some level on the way here found more sites than it has rows.
        """
        if self.fill is None:
            return self
        rows = self.rows[: sites_of(self)]
        return replace(self, rows=rows, origin=None, fill=None, steps=Steps())

    def counted(self, what: str) -> None:
        """Raise if only the device knows how many sites there are, for that is why `what`."""
        if self.fill is not None:
            raise ValueError(
                f"{what} where the number of rows is fixed and only the device knows how many of "
                "them are sites; use trimmed() first, outside of a captured graph"
            )

    def to(self, device: torch.device | str) -> "Coords":
        """The same sites on another device, with those they came from."""
        wanted = torch.device(device)
        if wanted.type == "cuda" and wanted.index is None:
            wanted = torch.device("cuda", torch.cuda.current_device())
        if self.rows.device == wanted:
            return self
        origin = self.origin and replace(self.origin, coords=self.origin.coords.to(device))
        given = None if self.given is None else self.given.to(device)
        fill = self.fill and self.fill.to(device)
        rows = self.rows.to(device)
        return replace(self, rows=rows, given=given, origin=origin, fill=fill, steps=Steps())

    def __getstate__(self) -> dict:
        """Everything but the rulebooks, which cost less to build than to send."""
        return {**self.__dict__, "steps": Steps()}

    def _step(self, geometry: Geometry, bound: Axes | None = None) -> Step:
        key = (geometry, bound)
        if key not in self.steps:
            with to_be_kept():
                self.steps[key] = step = self._build(geometry, bound)
                remember(self, key, step)
        return self.steps[key]

    def _build(self, geometry: Geometry, bound: Axes | None) -> Step:
        if geometry.ndim != self.ndim:
            raise ValueError(
                f"the input has {self.ndim} spatial axes; this kernel was made for {geometry.ndim}"
            )
        if geometry.kind == "submanifold":
            rulebook = _matched(geometry, self, self)
            return Step(rulebook, None, self.box, Steps(), self.fill)
        there = ahead_of(self, (geometry, bound)) or reached(self, geometry, bound)
        out = replace(self, rows=there.rows, box=there.box, fill=there.fill)
        return Step(self.onto(geometry, out), there.rows, there.box, Steps(), there.fill)


def _matched(geometry: Geometry, fine: Coords, coarse: Coords) -> Rulebook:
    """The rulebook that reads fine and writes coarse sites."""
    box = fine.box.holding(coarse.box.image(geometry)).check(fine.batch_size)
    stride, offsets = list(geometry.stride), geometry.flat_offsets
    counts = _count(fine), _count(coarse)
    batches = fine.batch_size
    lists = match(fine.rows, coarse.rows, *box.lists, stride, offsets, batches, *counts)
    mirror = geometry.mirror if geometry.kind == "submanifold" else None
    side = _laid_out(lists, geometry, counts[1])
    return Rulebook(len(fine), len(coarse), Sides.of(side), mirror=mirror, existing=counts)


def _laid_out(lists: list[Tensor], geometry: Geometry, count: Tensor | None) -> Pairs | Table:
    if len(lists) == 1:
        taps = torch.empty(0, dtype=torch.int64, device=lists[0].device)
        return Table(lists[0], taps, Made(), geometry.planes, geometry.significance, count)
    taps = torch.arange(len(geometry.taps), device=lists[0].device)
    inputs, outputs, starts = lists
    return Pairs(inputs, outputs, starts, taps)


def _count(sites: Coords) -> Tensor | None:
    return None if sites.fill is None else sites.fill.count


def _multiplied(stride: int, by: int) -> int:
    return stride * by


def _divided(stride: int, by: int) -> int:
    # Upwards past the input's own grid there is no smaller unit, so the stride stays 1.
    return max(1, stride // by)
