"""Where the rows of tensors lie, found again by the coords tensor that says it."""

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from gossamer.checks import tensor
from gossamer.compat.rows.placed import Placed
from gossamer.compat.rows.sites import Rows, Sites
from gossamer.coords import Coords
from gossamer.ops.keys import survey
from gossamer.rulebook import to_be_kept

Axes = tuple[int, ...]
Range = tuple[int, ...]  # (B, *extent)


class Place(Placed):
    """Sites of a grid without bounds, and the coords tensor that says them to the caller."""

    @cached_property
    def extent(self) -> tuple[Axes, Axes]:
        """The smallest and the largest coordinate an axis; 0 and -1 where there is no row."""
        low, high, _ = survey(self.sites.coords.rows).tolist()
        return tuple(low[1:]), tuple(high[1:])

    @classmethod
    def of(cls, coords: Tensor, ndim: int) -> "Place":
        """The place of rows `coords` [R, 1+D], batch first.

        Raises:
            TypeError: coords is no integer tensor.
            ValueError: coords has other columns, or a negative batch index.
        """
        if tensor("coords", coords).ndim != 2 or coords.shape[1] != 1 + ndim:
            raise ValueError(
                f"coords has shape {tuple(coords.shape)}; wanted [N, {1 + ndim}], the batch index "
                "first; torchsparse.utils.collate.sparse_collate_fn puts it there"
            )
        with to_be_kept():
            site, rows = _sites(coords)
        return cls(Sites(site, rows), coords)

    @classmethod
    def led_to(cls, coords: Coords) -> "Place":
        """The place of a layer's output."""
        coords = replace(coords, origin=None)
        return cls(Sites(coords, Rows(len(coords))))

    def check(self, spatial_range: Range | None, negative: bool) -> None:
        """Refuse rows outside of a range.

        Args:
            spatial_range: (B, *extent).
            negative: whether coordinates below 0 are allowed.

        Raises:
            ValueError: some row is outside.
        """
        if spatial_range is None or not len(self) or self._is_inside(spatial_range):
            return
        low, high = self.extent
        batches = self.sites.coords.batch_size
        few = batches > spatial_range[0]
        short = any(v >= n for v, n in zip(high, spatial_range[1:], strict=True))
        if few or short or (min(low) < 0 and not negative):
            raise ValueError(
                f"coords reach from {low} to {high} in {batches} samples, outside spatial_range "
                f"{spatial_range}, which is (batch size, *extent); drop those rows, enlarge "
                "spatial_range, or leave it out; rows begin with the batch, which came last before "
                "TorchSparse 2.1; coordinates below 0 need "
                "torchsparse.tensor.set_allow_negative_coordinates(True)"
            )

    def _is_inside(self, spatial_range: Range) -> bool:
        coords = self.sites.coords
        least = min(coords.box.lower) >= 0 and coords.batch_size <= spatial_range[0]
        ends = zip(coords.box.upper, spatial_range[1:], strict=True)
        return least and all(end <= n for end, n in ends)


def _sites(coords: Tensor) -> tuple[Coords, Rows]:
    found, site, order = Coords.under(coords)
    if found.rows.data_ptr() == coords.data_ptr():
        # The caller may write into what is his, and rulebooks are built from this later.
        found = replace(found, rows=found.rows.clone())
    return found, Rows(len(found), site, order)


def known(coords: Tensor, places: Iterable[Placed]) -> Place | None:
    """The one of `places` that has `coords` for its tensor, if that still says what it said."""
    return next((p for p in places if isinstance(p, Place) and p.says(coords)), None)


def alike(place: Place, places: Iterable[Placed]) -> Place | None:
    """The one of `places` that has the same rows, if its tensor still says what it said."""
    own = place.sites.coords.rows
    for other in places:
        same_device = other.sites.coords.rows.device == own.device
        if isinstance(other, Place) and same_device and other.sites.same(place.sites):
            if other.still():
                return other
    return None


def place_of(coords: Tensor, ndim: int, places: list) -> Place:
    """The place of rows `coords`, and one of `places` from now on.

    Args:
        coords: [R, 1+D], batch first.
        ndim: D.
        places: those seen so far; where one has the same rows, its sites and rulebooks are shared.

    Raises:
        TypeError, ValueError: as `Place.of`.
    """
    found = known(coords, places)
    if found is None:
        found = Place.of(coords, ndim)
        if (other := alike(found, places)) is not None:
            found = Place(other.sites, coords)
        places.append(found)
    return found


def rows_alike(one: Tensor, other: Tensor) -> bool:
    """Whether two coords tensors say the same rows in the same order."""
    if one is other:
        return True
    alike = one.shape == other.shape and one.device == other.device
    return alike and bool(torch.equal(one, other.to(one.dtype)))
