"""The sites that a kernel leads to."""

from math import prod
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from gossamer.coords.box import Axes, Box
from gossamer.coords.fill import Fill
from gossamer.geometry import Geometry
from gossamer.ops.keys import coarsen, coarsen_within, dilate, dilate_within

if TYPE_CHECKING:
    from gossamer.coords import Coords


class Reached(NamedTuple):
    """Sites that a kernel leads to."""

    rows: Tensor  # [M, 1+D] int32
    box: Box
    fill: Fill | None


def reached(sites: "Coords", geometry: Geometry, bound: Axes | None) -> Reached:
    """The sites that `geometry` leads to from `sites`; arguments as in `Coords.output`."""
    if sites.fill is not None:
        return reached_within(sites, geometry, bound)
    box = output_box(sites, geometry, bound)
    op = dilate if geometry.is_upward else coarsen
    stride, offsets = list(geometry.stride), _offsets(geometry)
    return Reached(op(sites.rows, *box.lists, stride, offsets, sites.batch_size), box, None)


def reached_within(
    sites: "Coords", geometry: Geometry, bound: Axes | None, wanted: int | None = None
) -> Reached:
    """The same, where only the device learns how many there are.

    Args:
        sites: with a fill.
        geometry, bound: as in `reached`.
        wanted: how many rows there should be for them. Default: as the fill says.
    """
    assert sites.fill is not None
    box = output_box(sites, geometry, bound)
    op = dilate_within if geometry.is_upward else coarsen_within
    stride, offsets = list(geometry.stride), _offsets(geometry)
    most = min(_most(geometry) * len(sites), box.cells * sites.batch_size)
    if wanted is None:
        wanted = sites.fill.capacity(len(sites), most, upward=geometry.is_upward)
    capacity = min(most, wanted)
    last = sites.batch_size, capacity
    rows, found = op(sites.rows, sites.fill.count, *box.lists, stride, offsets, *last)
    return Reached(rows, box, Fill.of(found, capacity, sites.fill.growth))


def output_shape(sites: "Coords", geometry: Geometry, bound: Axes | None) -> Axes | None:
    """The spatial shape that `geometry` leads to, None for a grid without bounds."""
    if geometry.kind == "generative":
        return bound
    return None if sites.spatial_shape is None else geometry.output_shape(sites.spatial_shape)


def output_box(sites: "Coords", geometry: Geometry, bound: Axes | None) -> Box:
    """A box that holds all sites that `geometry` leads to."""
    shape = output_shape(sites, geometry, bound)
    if shape is not None:
        box = Box((0,) * len(shape), shape)
    elif geometry.is_upward:
        box = sites.box.image(geometry)
    elif geometry.downsample == "minkowski":
        box = sites.box.cells_of(geometry.stride)
    else:
        box = sites.box.preimage(geometry)
    return box.check(sites.batch_size)


def _offsets(geometry: Geometry) -> list[int]:
    whole_cell = not geometry.is_upward and geometry.downsample == "minkowski"
    return geometry.cell if whole_cell else geometry.flat_offsets


def _most(geometry: Geometry) -> int:
    """How many sites one site can lead to."""
    if geometry.is_upward:
        return len(geometry.taps)
    if geometry.downsample == "minkowski":
        return 1
    # Along an axis, a fine site is seen from every coarse one whose reach it lies in.
    spans = zip(geometry.reach, geometry.stride, strict=True)
    return min(len(geometry.taps), prod([(far - near) // s + 1 for (near, far), s in spans]))
