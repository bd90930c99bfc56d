"""Maps made from maps: strided, expanded, pruned, united, reduced to the origin."""

from collections.abc import Sequence
from math import gcd

import torch
from torch import Tensor

from gossamer.compat.coordmaps.maps import CoordinateMap, in_order, unit_of
from gossamer.compat.layers.taps import Tap
from gossamer.compat.rows.sites import Rows
from gossamer.coords import Axes, Coords
from gossamer.coords.reach import reached
from gossamer.geometry import Geometry


def strided(source: CoordinateMap, stride: Axes) -> CoordinateMap:
    """Every coordinate rounded down to a multiple of tensor stride times `stride`."""
    coarse = tuple(t * s for t, s in zip(source.stride, stride, strict=True))
    if 0 in coarse:
        raise ValueError(
            f"tensor_stride is {list(source.stride)}: these rows lie at the origin, one a sample, "
            "and can't be strided; broadcast them onto other sites first"
        )
    step = _ratio(coarse, source.unit)
    one_tap = [(0,) * source.ndim]
    geometry = Geometry.of("regular", source.ndim, one_tap, stride=step, downsample="minkowski")
    return _made(source, geometry, coarse, coarse)


def expanded(
    source: CoordinateMap, taps: Sequence[Tap], stride: Axes, dilation: Axes
) -> CoordinateMap:
    """Of all that the taps reach around each coordinate, the multiples of the new tensor stride."""
    coarse = tuple(t * s for t, s in zip(source.stride, stride, strict=True))
    steps = _product(dilation, _ratio(source.stride, source.unit))
    geometry = Geometry.of("generative", source.ndim, list(taps), dilation=steps)
    around = _made(source, geometry, source.stride, source.unit)
    if around.unit == coarse:
        return around
    rows = around.coordinates()
    kept = rows[(rows[:, 1:] % rows.new_tensor(coarse) == 0).all(1)]
    return _in_key_order(kept, coarse)


def grown(
    source: CoordinateMap, taps: Sequence[Tap], stride: Axes, dilation: Axes
) -> CoordinateMap:
    """All that the taps of an upward kernel reach, at the tensor stride divided by `stride`."""
    fine = finer(source.stride, stride)
    unit = common(source.unit, fine)
    steps = _product(dilation, _ratio(fine, unit))
    step = _ratio(source.unit, unit)
    geometry = Geometry.of("generative", source.ndim, list(taps), stride=step, dilation=steps)
    return _made(source, geometry, fine, unit)


def finer(tensor_stride: Axes, stride: Axes) -> Axes:
    """The tensor stride above `tensor_stride`.

    Raises:
        ValueError: `stride` does not divide it.
    """
    if any(t % s or not t for t, s in zip(tensor_stride, stride, strict=True)):
        raise ValueError(
            f"the input's tensor_stride is {list(tensor_stride)} and stride {list(stride)}; a "
            "transposed layer divides one by the other, so wanted a multiple; stride down before "
            "you go up, or give the tensor its tensor_stride"
        )
    return _ratio(tensor_stride, stride)


def pruned(source: CoordinateMap, mask: Tensor) -> CoordinateMap:
    """Only the rows where `mask` [N] bool, in the order they have."""
    rows, coords = source.rows, source.sites.coords
    kept = mask if rows.order is None else mask[rows.order]
    left = coords.kept(kept.nonzero().squeeze(1))
    own = Rows(len(left))
    if rows.site is not None:
        own = in_order((kept.cumsum(0) - 1)[rows.site[mask]])
    return CoordinateMap.of(left, own, source.stride, source.unit)


def united(sources: Sequence[CoordinateMap]) -> tuple[CoordinateMap, list[Tensor]]:
    """All coordinates of some maps, sorted; and for each map the row at each of its rows."""
    stride = tuple(map(min, zip(*(s.stride for s in sources), strict=True)))
    rows = torch.cat([source.coordinates() for source in sources])
    union = _in_key_order(rows, stride)
    places = union.find(rows.long()).split([len(source) for source in sources])
    return union, list(places)


def origins(batches: Tensor, ndim: int) -> CoordinateMap:
    """One row a sample, at the origin.

    Args:
        batches: [B] int, ascending: the samples.
        ndim: D.
    """
    rows = batches.new_zeros(len(batches), 1 + ndim, dtype=torch.int32)
    rows[:, 0] = batches
    coords, *_ = Coords.under(rows)
    ones = (1,) * ndim
    return CoordinateMap.of(coords, Rows(len(coords)), (0,) * ndim, ones)


def common(one: Axes, other: Axes) -> Axes:
    """The largest unit that both are multiples of."""
    return tuple(gcd(a, b) for a, b in zip(one, other, strict=True))


def _in_key_order(rows: Tensor, stride: Axes) -> CoordinateMap:
    unit = unit_of(rows, stride)
    counted = rows.div(rows.new_tensor([1, *unit]), rounding_mode="floor")
    coords, *_ = Coords.under(counted)
    return CoordinateMap.of(coords, Rows(len(coords)), stride, unit)


def _made(source: CoordinateMap, geometry: Geometry, stride: Axes, unit: Axes) -> CoordinateMap:
    start = source.sites.coords
    there = reached(start, geometry, None)
    coords = Coords(there.rows, there.box, None, start.batch_size, start.stride)
    return CoordinateMap.of(coords, Rows(len(coords)), stride, unit)


def _ratio(one: Axes, other: Axes) -> Axes:
    return tuple(a // b for a, b in zip(one, other, strict=True))


def _product(one: Axes, other: Axes) -> Axes:
    return tuple(a * b for a, b in zip(one, other, strict=True))
