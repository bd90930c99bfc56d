"""Rows of coordinates, the sites under them, and the ways to other rows.

A tensor of coordinates keeps in voxels of the input whatever its stride, so a kernel on a tensor
of stride t looks t voxels far, and every way is one of stride 1.
"""

from dataclasses import replace
from functools import lru_cache
from math import prod

import torch
from torch import Tensor

from gossamer.compat.layers.taps import box
from gossamer.compat.rows.sites import Link, Rows, Sites
from gossamer.compat.torchsparse14.kernels import Axes, Kernel
from gossamer.coords import Coords
from gossamer.coords.reach import reached
from gossamer.errors import KeyRangeError
from gossamer.geometry import Geometry
from gossamer.rulebook import to_be_kept

BATCH_FIRST, BATCH_LAST = [3, 0, 1, 2], [1, 2, 3, 0]


class Place:
    """Sites, and the tensor of coordinates that says them to the caller, who may write into it.

    Args:
        sites: what the tensor said when it was read.
        coords: [R, 4] int, (x, y, z, batch), the tensor.
    """

    def __init__(self, sites: Sites, coords: Tensor):
        self.sites = sites
        self.coords = coords
        # None where torch does not count writes.
        self._version = None if coords.is_inference() else coords._version
        self._coarser: dict[tuple[Axes, Kernel], Place] = {}
        self._links: dict[tuple[Geometry, Place | None], Link] = {}

    @classmethod
    def of(cls, coords: Tensor) -> "Place":
        """What `coords` says now.

        Raises:
            TypeError: it is not a tensor of int32 or int64.
            ValueError: it is not [R, 4], a batch index is negative, or the range is too large.
        """
        if not isinstance(coords, Tensor) or coords.dtype not in (torch.int32, torch.int64):
            kind = coords.dtype if isinstance(coords, Tensor) else type(coords).__name__
            raise TypeError(
                f"coords is {kind}; wanted an int32 tensor; floor positions to voxels first, for "
                "instance by torch.floor(coords).int()"
            )
        if coords.ndim != 2 or coords.shape[1] != 4:
            raise ValueError(
                f"coords has shape {tuple(coords.shape)}; wanted [N, 4], (x, y, z, batch)"
            )
        try:
            with to_be_kept():
                return cls(_sites(coords[:, BATCH_FIRST]), coords)
        except KeyRangeError:
            raise
        except ValueError as error:
            raise ValueError(
                f"the last column of coords, the batch, has {int(coords[:, 3].min())}; wanted 0 "
                "or more in (x, y, z, batch)"
            ) from error

    def says(self, coords: Tensor) -> bool:
        """Whether `coords` is its tensor, and nobody has written into it since."""
        if coords is not self.coords:
            return False
        if self._version is None:
            return self.repeats(coords)
        return self._version == coords._version

    def repeats(self, coords: Tensor) -> bool:
        """Whether `coords` says the very rows that this was made of, in their order."""
        mine, its = self.sites.coords.rows, coords
        if mine.device != its.device or len(self.sites.rows) != len(its):
            return False
        return torch.equal(self.sites.indices()[:, BATCH_LAST], its.int())

    def coarser(self, tensor_stride: Axes, kernel: Kernel) -> "Place":
        """Where a strided kernel leads, sorted by batch, then x, y, z; made once."""
        key = tensor_stride, kernel
        known = self._coarser.get(key)
        if known is None or not known.says(known.coords):
            with to_be_kept():
                sites = downsampled(self.sites.coords, tensor_stride, kernel)
                rows = sites.rows[:, BATCH_LAST].to(self.coords.dtype)
                known = Place(Sites(sites, Rows(len(sites))), rows)
            self._coarser[key] = known
        return known

    def link(self, tensor_stride: Axes, kernel: Kernel, target: "Place") -> Link:
        """The way of a kernel from these rows to `target`'s, which are as coarse or coarser.

        Args:
            tensor_stride: of these rows.
            kernel: what looks at them.
            target: this place itself for a kernel of stride 1.
        """
        kept = target is self
        geometry = window(kernel.size, tensor_stride, kernel.dilation, kept)
        # Not itself in the key: nothing would let go of it but the garbage collector.
        key = geometry, None if kept else target
        if key not in self._links:
            with to_be_kept():
                self._links[key] = self._linked(geometry, target)
        return self._links[key]

    def _linked(self, geometry: Geometry, target: "Place") -> Link:
        fine, coarse = self.sites, target.sites
        if target is self:
            # Without a middle, a row can't see itself there.
            middle = geometry.mirror is not None
            return Link(fine.rows, fine.rows, fine.coords.rulebook(geometry), middle)
        batches = max(fine.coords.batch_size, coarse.coords.batch_size)
        wide = (replace(sites.coords, batch_size=batches) for sites in (fine, coarse))
        return Link(fine.rows, coarse.rows, next(wide).onto(geometry, next(wide)))


def _sites(rows: Tensor) -> Sites:
    coords, site, order = Coords.under(rows)
    return Sites(coords, Rows(len(coords), site, order))


@lru_cache(maxsize=1024)
def window(size: Axes, tensor_stride: Axes, dilation: Axes, kept: bool) -> Geometry:
    """What a kernel sees, in voxels of the input.

    Args:
        size: voxels an axis.
        tensor_stride: edge of a voxel of the tensor it looks at.
        dilation: of the kernel.
        kept: whether outputs lie on the inputs' sites.
    """
    far = [t * d for t, d in zip(tensor_stride, dilation, strict=True)]
    kind = "submanifold" if kept else "regular"
    return Geometry.of(kind, 3, taps(size), dilation=far)


def taps(size: Axes) -> tuple[Axes, ...]:
    """The taps of a kernel by the rows of its weight.

    x counts fastest where there is an odd number of them, else z. An even axis reaches one further
    upwards.
    """
    lows = [-((edge - 1) // 2) for edge in size]
    return box(lows, size, first_fastest=prod(size) % 2 == 1)


def downsampled(sites: Coords, tensor_stride: Axes, kernel: Kernel) -> Coords:
    """The sites that a strided kernel leads to, multiples of the new stride.

    Where the stride is 1 or the kernel's size on every axis: each site's own cell. Elsewhere: each
    multiple that a tap leads to from a site, unless it lies before the first site on some axis.
    Dilation has no say in it.

    Args:
        sites: in voxels of the input.
        tensor_stride: theirs.
        kernel: whose stride is meant.
    """
    step = tuple(t * s for t, s in zip(tensor_stride, kernel.stride, strict=True))
    scale = sites.rows.new_tensor([1, *step])
    if all(s in (1, k) for s, k in zip(kernel.stride, kernel.size, strict=True)):
        cell = Geometry.of("regular", 3, 1, stride=step, downsample="minkowski")
        rows = reached(sites, cell, None).rows * scale
    else:
        back = [tuple(-v for v in tap) for tap in taps(kernel.size)]
        geometry = Geometry.of("regular", 3, back, stride=step, dilation=tensor_stride)
        rows = reached(sites, geometry, None).rows * scale
        if len(sites):
            rows = rows[(rows[:, 1:] >= sites.rows[:, 1:].amin(0)).all(1)]
    return Coords.under(rows, batch_size=sites.batch_size)[0]
