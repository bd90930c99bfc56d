"""Rulebooks between maps, each in the units of the finer one."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gossamer.compat.coordmaps.making import common
from gossamer.compat.coordmaps.maps import CoordinateMap
from gossamer.compat.layers.taps import Tap
from gossamer.compat.rows.sites import Link
from gossamer.coords import Axes
from gossamer.geometry import Geometry
from gossamer.rulebook import Rulebook, to_be_kept


def along(fine: CoordinateMap, coarse: CoordinateMap, taps: Sequence[Tap], dilation: Axes) -> Link:
    """From the rows of `fine` to those of `coarse`: fine = coarse + tap * dilation * fine stride.

    Args:
        fine, coarse: any two maps; neither has to be the finer one in fact.
        taps: K of D ints.
        dilation: D ints.

    Raises:
        ValueError: `fine` lies at the origin, where neighbours have no distance.
    """
    if 0 in fine.stride:
        raise ValueError(
            f"tensor_stride is {list(fine.stride)}: these rows lie at the origin, one a sample, "
            "and have no neighbours for a kernel to see"
        )
    samples = max(fine.sites.coords.batch_size, coarse.sites.coords.batch_size)
    unit = common(fine.unit, coarse.unit)
    steps = tuple(d * t // u for d, t, u in zip(dilation, fine.stride, unit, strict=True))
    if fine is coarse:
        geometry = Geometry.of("submanifold", fine.ndim, list(taps), dilation=steps)
        return Link(fine.rows, fine.rows, fine.sites.coords.rulebook(geometry))
    stride = tuple(a // b for a, b in zip(coarse.unit, unit, strict=True))
    geometry = Geometry.of("regular", fine.ndim, list(taps), stride=stride, dilation=steps)
    with to_be_kept():
        seen = fine.in_units(unit, samples)
        rulebook = seen.onto(geometry, coarse.in_units(coarse.unit, samples))
    return Link(fine.rows, coarse.rows, rulebook)


def into_cells(fine: CoordinateMap, coarse: CoordinateMap) -> Link:
    """From each row of `fine` to the row of `coarse` whose cell it lies in, where there is one."""
    return sending(fine, coarse, cells(fine, coarse.stride))


def cells(fine: CoordinateMap, stride: Axes) -> Tensor:
    """[N, 1+D] int64: the sites of `fine`, sorted, rounded down to multiples of `stride`."""
    coords = fine.sites.coords.rows.long()
    wide = coords.new_tensor([max(1, s) for s in stride])
    # A tensor stride of 0 is the origin.
    wide = torch.where(coords.new_tensor(stride) == 0, 0, wide)
    places = coords[:, 1:] * coords.new_tensor(fine.unit)
    rounded = places.div(wide.clamp(min=1), rounding_mode="floor") * wide
    return torch.cat([coords[:, :1], rounded], 1)


def sending(fine: CoordinateMap, coarse: CoordinateMap, wanted: Tensor) -> Link:
    """From each site of `fine` to the site of `coarse` at `wanted` [N, 1+D], where there is one."""
    with to_be_kept():
        row = coarse.find(wanted)
        if coarse.rows.site is not None:
            row = torch.where(row >= 0, coarse.rows.site[row.clamp(min=0)], row)
        source = (row >= 0).nonzero().squeeze(1)
        target, order = row[source].sort(stable=True)
        rulebook = Rulebook.sending(source[order], target, coarse.rows.sites, fine.rows.sites)
    return Link(fine.rows, coarse.rows, rulebook)
