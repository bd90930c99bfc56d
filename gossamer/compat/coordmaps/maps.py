"""A set of coordinates of one tensor stride, and the order in which its caller knows them.

Coordinates are multiples of the tensor stride nearly always, and then sites are kept in its units;
where some are not, in units of one. So between any two maps there is one Geometry, in the units of
the finer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from gossamer.compat.rows.sites import Rows, Sites
from gossamer.coords import Axes, Box, Coords
from gossamer.coords.box import INT32
from gossamer.errors import KeyRangeError
from gossamer.interpolation import rows_at
from gossamer.ops.keys import find, pack
from gossamer.ops.rows import inverse


@dataclass(frozen=True, eq=False)
class CoordinateMap:
    """N coordinates without repeats.

    Args:
        stride: D ints, the tensor stride; zeros for what was reduced to the origin.
        unit: D ints, what coordinates are kept in multiples of.
        sites: those multiples, sorted, and how the caller's rows lie on them.
    """

    stride: Axes
    unit: Axes
    sites: Sites
    _finer: dict[Axes, Coords] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, coords: Coords, rows: Rows, stride: Axes, unit: Axes) -> "CoordinateMap":
        """The map of `coords`, when these fit 32 bits in units of one.

        Raises:
            KeyRangeError: they do not.
        """
        _scaled(coords.box, unit, coords.batch_size)
        return cls(stride, unit, Sites(coords, rows))

    def __len__(self) -> int:
        """N."""
        return len(self.sites.rows)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_finer": {}}

    @property
    def ndim(self) -> int:
        """D."""
        return len(self.stride)

    @property
    def rows(self) -> Rows:
        """How the caller's rows lie on sites."""
        return self.sites.rows

    @property
    def device(self) -> torch.device:
        """Where the coordinates lie."""
        return self.sites.coords.rows.device

    def coordinates(self) -> Tensor:
        """[N, 1+D] int32: a tensor of its own, (batch, axes), in the caller's order."""
        indices = self.sites.indices()
        return indices if set(self.unit) == {1} else indices * indices.new_tensor([1, *self.unit])

    def in_units(self, unit: Axes, batch_size: int) -> Coords:
        """The same sites in multiples of `unit`, which divides this map's; in a batch so large."""
        coords = self.sites.coords
        if unit != self.unit:
            if unit not in self._finer:
                factor = tuple(a // b for a, b in zip(self.unit, unit, strict=True))
                box = _scaled(coords.box, factor, coords.batch_size)
                rows = coords.rows * coords.rows.new_tensor([1, *factor])
                self._finer[unit] = Coords(rows, box, None, coords.batch_size, coords.stride)
            coords = self._finer[unit]
        if coords.batch_size == batch_size:
            return coords
        coords.box.check(batch_size)
        return replace(coords, batch_size=batch_size, steps=type(coords.steps)())

    def find(self, wanted: Tensor) -> Tensor:
        """[Q] int64: the row at each of `wanted` [Q, 1+D] int64, (batch, axes), or -1."""
        coords = self.sites.coords
        unit = wanted.new_tensor(self.unit)
        low, high = (wanted.new_tensor(corner) for corner in coords.box.lists)
        batch, place = wanted[:, 0], wanted[:, 1:]
        cell = place.div(unit, rounding_mode="floor")
        there = ((cell * unit == place) & (cell >= low) & (cell < high)).all(1)
        there &= (batch >= 0) & (batch < coords.batch_size)
        inside = torch.where(there.unsqueeze(1), torch.cat([batch.unsqueeze(1), cell], 1), 0)
        keys = torch.where(there, pack(inside.int(), *coords.box.lists), -1)
        return self._row_of(find(coords.keys(), keys))  # no site has key -1

    def corners(self, low: Tensor, steps: Tensor) -> Tensor:
        """[P, J] int64: the row at each of `low` plus each step of a tensor stride, or -1.

        Args:
            low: [P, 1+D] int64, (batch, axes), multiples of the tensor stride, which is not 0.
            steps: [J, D] int64, each 0 or 1.
        """
        wide = low.new_tensor(self.stride)
        batch, place = low[:, 0], low[:, 1:]
        if self.unit != self.stride:
            corner = (place.unsqueeze(1) + steps * wide).flatten(0, 1)
            samples = batch.repeat_interleave(len(steps)).unsqueeze(1)
            return self.find(torch.cat([samples, corner], 1)).view(len(low), len(steps))
        coords = self.sites.coords
        there = (batch >= 0) & (batch < coords.batch_size)
        cell = place.div(wide, rounding_mode="floor")
        site = rows_at(coords, torch.where(there, batch, 0), cell, steps)
        return self._row_of(torch.where(there.unsqueeze(1), site, -1))

    def _row_of(self, site: Tensor) -> Tensor:
        order = self.rows.order
        if order is None or not len(self):
            return site
        return torch.where(site >= 0, order[site.clamp(min=0)], -1)

    def same_sites(self, other: "CoordinateMap") -> bool:
        """Whether both hold the same coordinates at one tensor stride, in whatever order."""
        if self is other:
            return True
        if self.stride != other.stride or self.unit != other.unit or len(self) != len(other):
            return False
        mine, its = self.sites.coords.rows, other.sites.coords.rows
        return mine.device == its.device and torch.equal(mine, its)

    def to(self, device: torch.device) -> "CoordinateMap":
        """The same on another device."""
        rows = self.rows
        moved = (None if t is None else t.to(device) for t in (rows.site, rows.order))
        sites = Sites(self.sites.coords.to(device), Rows(rows.sites, *moved))
        return replace(self, sites=sites, _finer={})


def given(coordinates: Tensor, stride: Axes) -> tuple[CoordinateMap, Tensor, Tensor]:
    """The map of a caller's rows, in his order, those that come again left out.

    Args:
        coordinates: [R, 1+D] int32 or int64, (batch, axes).
        stride: D ints, the tensor stride.

    Returns:
        the map, of N rows.
        unique: [N] int64, the first of the caller's rows at each coordinate, ascending.
        back: [R] int64, the row of the map at each of the caller's rows.

    Raises:
        TypeError: coordinates are not integers.
        ValueError: wrong shape, or a negative batch index.
        KeyRangeError: they spread wider than a key can number.
    """
    unit = unit_of(coordinates, stride)
    counted = coordinates
    if set(unit) != {1}:
        counted = coordinates.div(coordinates.new_tensor([1, *unit]), rounding_mode="floor")
    try:
        coords, site, order = Coords.under(counted)
    except KeyRangeError:
        raise
    except ValueError as error:
        raise ValueError(
            f"coordinates has the batch index {int(coordinates[:, 0].min())} in column 0; wanted 0 "
            "or more there; utils.batched_coordinates puts the batch before the axes"
        ) from error
    if coords.rows.data_ptr() == coordinates.data_ptr():
        # The caller may write into what is his.
        coords = replace(coords, rows=coords.rows.clone())
    numbers = torch.arange(len(coordinates), device=coordinates.device)
    rows = Rows(len(coords), site, order)
    if site is None:
        return CoordinateMap.of(coords, rows, stride, unit), numbers, numbers.clone()
    unique = rows.first().sort().values if rows.repeat else numbers
    own = in_order(site[unique])
    back = site if own.order is None else own.order[site]
    return CoordinateMap.of(coords, own, stride, unit), unique, back


def in_order(site: Tensor) -> Rows:
    """Rows on sites [N] int64, a permutation."""
    numbers = torch.arange(len(site), device=site.device)
    return Rows(len(site)) if torch.equal(site, numbers) else Rows(len(site), site, inverse(site))


def unit_of(coordinates: Tensor, stride: Axes) -> Axes:
    """What `coordinates` [R, 1+D] are multiples of: the tensor stride, or one."""
    ones = (1,) * len(stride)
    if coordinates.ndim != 2 or coordinates.shape[1] != 1 + len(stride):
        raise ValueError(
            f"coordinates has shape {tuple(coordinates.shape)}; wanted [N, {1 + len(stride)}], the "
            "batch index and one number an axis"
        )
    if coordinates.is_floating_point() or coordinates.dtype not in (torch.int32, torch.int64):
        raise TypeError(
            f"coordinates is {coordinates.dtype}; wanted int32 or int64; round them down first, "
            "torch.floor(coordinates).int(), or use a TensorField"
        )
    if set(stride) == {1} or 0 in stride:
        return ones
    aligned = bool((coordinates[:, 1:] % coordinates.new_tensor(stride) == 0).all())
    return stride if aligned else ones


def _scaled(box: Box, factor: Sequence[int], batch_size: int) -> Box:
    lower = tuple(low * f for low, f in zip(box.lower, factor, strict=True))
    upper = tuple((high - 1) * f + 1 for high, f in zip(box.upper, factor, strict=True))
    if any(low < INT32.min for low in lower) or any(high > INT32.max for high in upper):
        raise KeyRangeError(
            f"coordinates reach from {lower} to {upper}, kernel included; wanted 32-bit numbers; "
            "subtract an origin or use larger voxels"
        )
    return Box(lower, upper).check(batch_size)
