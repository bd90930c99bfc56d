"""Kernel maps: the way from the rows of one tensor to those of a layer's result."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from gossamer.compat.rows.sites import Link
from gossamer.compat.voxelnets.kernel import Kernel
from gossamer.compat.voxelnets.places import Axes, Place, Range
from gossamer.coords import Coords, Steps
from gossamer.coords.reach import reached
from gossamer.geometry import Geometry
from gossamer.rulebook import Rulebook, to_be_kept

Ranges = tuple[Range | None, Range | None]
TILE = 128
UNUSED = (
    "reorder_out_in_map reduced_sorted_mask reorder_loc sorted_mask input_mask output_mask "
    "hashmap_keys hashmap_vals nbaddrs qnbaddrs qmapsize"
).split()


class KernelMap(dict):
    """A kernel map under TorchSparse's keys, whose tensors are made when they are asked for.

    Keys: out_in_map [M up to a multiple of 128, K] int32 with -1 for no input, out_in_map_bwd the
    same read backwards, coords of the outputs, sizes (N, M), nbmaps [P, 2] int64 of (input, output)
    by tap, nbsizes [K], spatial_range; the other keys of a GPU's kernels hold None.

    Args:
        source, target: the rows on both sides.
        link: between them.
        ranges: the spatial_range of both.

    Attributes:
        state: what it was built for, where it is kept.
    """

    state: tuple = ()

    def __init__(self, source: Place, target: Place, link: Link, ranges: Ranges):
        super().__init__(dict.fromkeys(UNUSED), sizes=(len(source), len(target)))
        self["spatial_range"] = ranges[1]
        self.source, self.target, self.link, self.ranges = source, target, link, ranges

    def __missing__(self, key: str):
        if key not in MADE:
            raise KeyError(key)
        self[key] = MADE[key](self)
        return self[key]

    def get(self, key, default=None):
        """`self[key]`, made if need be, or `default` where there is no such key."""
        return self[key] if key in self or key in MADE else default


def table(triples: Tensor, taps: int, rows: int, column: int) -> Tensor:
    """[rows up to a multiple of 128, taps] int32: who is at the other end of each pair, or -1.

    Args:
        triples: [P, 3] int64, (tap, input row, output row).
        column: which end numbers the rows, 1 or 2.
    """
    padded = -(-rows // TILE) * TILE
    found = torch.full((padded, taps), -1, dtype=torch.int32, device=triples.device)
    found[triples[:, column], triples[:, 0]] = triples[:, 3 - column].int()
    return found


def _table(kmap: KernelMap, column: int) -> Tensor:
    rows = kmap["sizes"][column - 1]
    return table(kmap.link.triples(), kmap.link.rulebook.taps, rows, column)


MADE: dict[str, Callable[[KernelMap], object]] = {
    "coords": lambda kmap: kmap.target.indices,
    "out_in_map": lambda kmap: _table(kmap, 2),
    "out_in_map_bwd": lambda kmap: _table(kmap, 1),
    "nbmaps": lambda kmap: kmap.link.triples()[:, 1:],
    "nbsizes": lambda kmap: torch.bincount(
        kmap.link.triples()[:, 0], minlength=kmap.link.rulebook.taps
    ),
}


def around(place: Place, kernel: Kernel, spatial_range: Range | None) -> KernelMap:
    """The map of a kernel that keeps the sites."""
    rulebook = place.sites.coords.rulebook(kernel.around)
    rows = place.sites.rows
    return KernelMap(place, place, Link(rows, rows, rulebook), (spatial_range, spatial_range))


def downwards(
    place: Place, kernel: Kernel, spatial_range: Range | None, negative: bool
) -> KernelMap:
    """The map of a kernel that leads to a coarser grid.

    Args:
        place: the rows that are read.
        kernel: with a stride.
        spatial_range: of the input; without one, outputs stay inside the extent of the data.
        negative: whether outputs below 0 are kept.

    Raises:
        ValueError: no output would be left; or there are coordinates below 0, and outputs there
            are not kept.
    """
    if kernel.floors:
        coords = place.sites.coords
        found, rulebook = coords.output(kernel.windows), coords.rulebook(kernel.windows)
    else:
        bounded, low, high = _bounds(place, kernel, spatial_range, negative)
        if low is None and kernel.windows == kernel.reached:
            found, rulebook = bounded.output(kernel.windows), bounded.rulebook(kernel.windows)
        else:
            found = _inside(_sites(bounded, kernel.reached), low, high)
            rulebook = _kept(place.sites.coords, kernel.windows, found)
    left = None
    if spatial_range is not None:
        # Below 1 only where there is no row.
        left = spatial_range[0], *(max(0, n) for n in kernel.coarse_shape(spatial_range[1:]))
    return _map(place, found, rulebook, (spatial_range, left))


def coarser(place: Place, kernel: Kernel, end: Axes | None, negative: bool) -> Tensor:
    """[M, 1+D] int32: the sites that a kernel with a stride leads to, sorted.

    Args:
        place, kernel, negative: as in `downwards`.
        end: the extent of the output. Default: as the extent of the data has it.
    """
    coords = place.sites.coords
    if kernel.floors:
        return _sites(coords, kernel.windows).rows
    if end is None or not len(place):
        bounded, low, high = _bounds(place, kernel, None, negative)
        return _inside(_sites(bounded, kernel.reached), low, high).rows
    least = _least(place.extent[0], kernel, negative)
    _check_left(kernel, place.extent[1], least, end)
    return _inside(_sites(_in_grid(coords, None), kernel.reached), least, end).rows


def finer(place: Place, kernel: Kernel, end: Axes | None, negative: bool) -> Tensor:
    """[M, 1+D] int32: all children of every site, sorted.

    Args:
        place, kernel, negative: as in `upwards`.
        end: the extent of the output. Default: no end.
    """
    least = None if negative else _least(place.extent[0], kernel, negative)
    return _inside(_sites(_in_grid(place.sites.coords, None), kernel.children), least, end).rows


def backwards(place: Place, fine: Place, kernel: Kernel, ranges: Ranges) -> KernelMap:
    """The map of a transposed kernel onto given finer sites.

    Args:
        place: the coarse rows, which are read.
        fine: the rows that are written.
        kernel: of the layer that is undone.
        ranges: the spatial_range of both, coarse first.
    """
    rulebook = _kept(fine.sites.coords, kernel.windows, place.sites.coords)
    link = Link(place.sites.rows, fine.sites.rows, rulebook.T)
    return KernelMap(place, fine, link, ranges)


def turned(kmap: KernelMap) -> KernelMap:
    """A kernel map read backwards."""
    before, after = kmap.ranges
    return KernelMap(kmap.target, kmap.source, kmap.link.T, (after, before))


def upwards(place: Place, kernel: Kernel, spatial_range: Range | None, negative: bool) -> KernelMap:
    """The map of a kernel that gives every site all its children on a finer grid.

    Args:
        place: the rows that are read.
        kernel: its children are those its windows see.
        spatial_range: of the input; the output's grows as a transposed convolution's does, and
            children outside of it are left out.
        negative: whether children below 0 are kept where there is no spatial_range.

    Raises:
        ValueError: there are coordinates below 0, and children there are not kept; or the
            output's range is empty.
    """
    (low, high), coords, geometry = place.extent, place.sites.coords, kernel.children
    _least(low, kernel, negative)
    grown = None
    if spatial_range is not None:
        grown = spatial_range[0], *kernel.fine_shape(spatial_range[1:])
        _check_left(kernel, spatial_range[1:], (0,) * coords.ndim, grown[1:])
    ends = zip(high, geometry.stride, geometry.reach, strict=True)
    bound = grown[1:] if grown else tuple(max(1, h * s + far + 1) for h, s, (_, far) in ends)
    if not negative:
        found, rulebook = coords.output(geometry, bound), coords.rulebook(geometry, bound)
        return _map(place, found, rulebook, (spatial_range, grown))
    found = _inside(_sites(coords, geometry), None, grown and grown[1:])
    return _map(place, found, _kept(found, geometry, coords), (spatial_range, grown))


def _bounds(
    place: Place, kernel: Kernel, spatial_range: Range | None, negative: bool
) -> tuple[Coords, Axes | None, Axes | None]:
    """The input in the grid that bounds its output by spconv's rule.

    Returns:
        bounded: the sites, in a grid from 0 on, or without bounds.
        low, high: where there are no bounds, the smallest output and the end an axis.
    """
    coords = place.sites.coords
    if not len(place):
        return _in_grid(coords, None), None, None
    given = None if spatial_range is None else spatial_range[1:]
    # Where a box from 0 on holds all sites, nobody needs to look at them.
    inside = given is not None and not negative and min(coords.box.lower) >= 0
    low = coords.box.lower if inside else place.extent[0]
    shape = given or tuple(v + 1 for v in place.extent[1])
    least, end = _least(low, kernel, negative), kernel.coarse_shape(shape)
    _check_left(kernel, shape, least, end)
    if min(low) >= 0 and not any(least):
        return _in_grid(coords, shape), None, None
    return _in_grid(coords, None), least, end


def _least(low: Axes, kernel: Kernel, negative: bool) -> Axes:
    """The smallest output an axis that is kept, where coordinates begin at `low`."""
    if min(low) < 0 and not negative:
        raise ValueError(
            f"coords reach down to {low}, and outputs below 0 would be dropped; call "
            "torchsparse.tensor.set_allow_negative_coordinates(True), subtract the smallest "
            'coordinates, or set kmap_mode "hashmap" and downsample_mode "minkowski"'
        )
    if not negative:
        return (0,) * len(low)
    axes = zip(low, kernel.stride, kernel.padding, kernel.span, strict=True)
    # The mirror image of the rule at the other end, and never behind the first site's own cell.
    return tuple(min(0, v // s, (v - 2 * p + far) // s) for v, s, p, far in axes)


def _in_grid(coords: Coords, shape: Axes | None) -> Coords:
    if coords.spatial_shape == shape:
        return coords
    # Steps are found by geometry alone, and lead elsewhere in another grid.
    return replace(coords, spatial_shape=shape, steps=Steps())


def _sites(coords: Coords, geometry: Geometry) -> Coords:
    """The sites that a kernel leads to, without the rulebook that leads there."""
    with to_be_kept():
        return coords.after(geometry, None, reached(coords, geometry, None), Steps())


def _inside(coords: Coords, low: Axes | None, end: Axes | None) -> Coords:
    """Only the sites from `low` on, before `end`."""
    if low is None and end is None:
        return coords
    with to_be_kept():
        keep = torch.ones(len(coords), dtype=torch.bool, device=coords.rows.device)
        for axis in range(coords.ndim):
            column = coords.rows[:, 1 + axis]
            keep &= True if low is None else column >= low[axis]
            keep &= True if end is None else column < end[axis]
        return coords.kept(keep.nonzero().squeeze(1))


def _kept(fine: Coords, geometry: Geometry, coarse: Coords) -> Rulebook:
    """The rulebook that reads fine and writes coarse sites, through the windows of `geometry`."""
    with to_be_kept():
        return (coarse if geometry.is_upward else fine).onto(
            geometry, fine if geometry.is_upward else coarse
        )


def _map(place: Place, found: Coords, rulebook: Rulebook, ranges: Ranges) -> KernelMap:
    target = Place.led_to(found)
    return KernelMap(place, target, Link(place.sites.rows, target.sites.rows, rulebook), ranges)


def _check_left(kernel: Kernel, shape: Axes, low: Axes, end: Axes) -> None:
    if any(e <= v for v, e in zip(low, end, strict=True)):
        raise ValueError(
            f"every point would be dropped: on an extent of {shape}, kernel_size {kernel.size}, "
            f"stride {kernel.stride}, padding {kernel.padding} and dilation {kernel.dilation} "
            "leave no output; give the tensor a spatial_range that the kernel fits in, use more "
            'padding, or set kmap_mode "hashmap" with downsample_mode "minkowski", which keeps '
            "every cell"
        )
