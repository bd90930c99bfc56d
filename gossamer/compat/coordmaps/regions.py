"""The taps of a kernel by the name of its shape, in the order of a MinkowskiEngine weight."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from gossamer.checks import per_axis
from gossamer.compat.coordmaps.kinds import RegionType
from gossamer.compat.layers.taps import Tap, box
from gossamer.coords import Axes


def taps_of(
    region: RegionType,
    size: Sequence[int],
    offsets: Tensor | None = None,
    axis_types: Sequence[RegionType] | None = None,
) -> tuple[Tap, ...]:
    """The K places that a kernel looks at, D ints each, before dilation and tensor stride.

    Args:
        region: the shape.
        size: D ints, cells an axis; an odd number lies around the site, an even one begins there.
        offsets: [K, D] whole numbers, the taps of a CUSTOM kernel.
        axis_types: D of HYPER_CUBE and HYPER_CROSS, for a HYBRID kernel.

    Raises:
        ValueError: a size below 1, an even cross, missing, repeated or superfluous offsets.
    """
    if region is RegionType.CUSTOM:
        return _listed(offsets, len(size))
    if offsets is not None and offsets.numel():
        raise ValueError(
            f"region_offsets are given, and region_type is {region}; they are the taps of "
            "RegionType.CUSTOM"
        )
    if min(size) < 1:
        raise ValueError(
            f"kernel_size is {list(size)}; wanted 1 or more an axis, or a kernel_generator with "
            "region_type=RegionType.CUSTOM and region_offsets"
        )
    if region is RegionType.HYBRID:
        return _hybrid(size, axis_types)
    if axis_types is not None:
        raise ValueError(f"axis_types are given with {region}; they go with RegionType.HYBRID")
    if region is RegionType.HYPER_CUBE:
        return box([-(k // 2) if k % 2 else 0 for k in size], size, first_fastest=True)
    return _cross(size)


def _cross(size: Sequence[int]) -> tuple[Tap, ...]:
    if any(k % 2 == 0 for k in size):
        raise ValueError(f"kernel_size is {list(size)}; a HYPER_CROSS needs a centre, so odd sizes")
    taps = [(0,) * len(size)]
    for axis, k in enumerate(size):
        steps = [*range(1, k // 2 + 1), *range(-(k // 2), 0)]
        taps += [_on_axis(axis, step, len(size)) for step in steps]
    return tuple(taps)


def _hybrid(size: Sequence[int], axis_types: Sequence[RegionType] | None) -> tuple[Tap, ...]:
    """A box over some axes, and along each of the others a line through the centre."""
    kinds = list(axis_types or ())
    if len(kinds) != len(size) or {*kinds} - {RegionType.HYPER_CUBE, RegionType.HYPER_CROSS}:
        raise ValueError(
            f"axis_types is {axis_types}; wanted HYPER_CUBE or HYPER_CROSS for each of the "
            f"{len(size)} axes"
        )
    taps = [(0,) * len(size)]
    for axis, (kind, k) in enumerate(zip(kinds, size, strict=True)):
        steps = [step for step in range(-((k - 1) // 2), k // 2 + 1) if step]
        if kind is RegionType.HYPER_CUBE:
            grown = [(*t[:axis], step, *t[axis + 1 :]) for t, step in product(taps, steps)]
            taps += grown
    for axis, (kind, k) in enumerate(zip(kinds, size, strict=True)):
        if kind is RegionType.HYPER_CROSS:
            steps = [step for step in range(-((k - 1) // 2), k // 2 + 1) if step]
            taps += [_on_axis(axis, step, len(size)) for step in steps]
    return tuple(taps)


def _on_axis(axis: int, step: int, ndim: int) -> Tap:
    return tuple(step if other == axis else 0 for other in range(ndim))


def _listed(offsets: Tensor | None, ndim: int) -> tuple[Tap, ...]:
    values = torch.as_tensor([] if offsets is None else offsets)
    if values.ndim != 2 or values.shape[1] != ndim or not len(values):
        raise ValueError(
            f"region_offsets has shape {tuple(values.shape)}; wanted [K, {ndim}] for a CUSTOM "
            "kernel, one row a tap"
        )
    if values.is_floating_point() and not torch.equal(values, values.round()):
        raise ValueError("region_offsets are not whole numbers; wanted an int tensor")
    taps = tuple(tuple(map(int, row)) for row in values.tolist())
    if len(set(taps)) != len(taps):
        raise ValueError(f"region_offsets list {taps}; wanted each tap once")
    return taps


def ints(name: str, value: object, ndim: int, minimum: int) -> tuple[int, ...]:
    """`ndim` ints of one int, a sequence, an array or a tensor."""
    if hasattr(value, "tolist"):
        value = value.tolist()  # type: ignore[union-attr]
    return per_axis(name, value, ndim, minimum)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Kernel:
    """All that a layer says about which row feeds which.

    Args:
        taps: K of D ints.
        stride, dilation: D ints.
        cells: whether it is the box of one coarse cell, so that each row feeds the cell it is in.
    """

    taps: tuple[Tap, ...]
    stride: Axes
    dilation: Axes
    cells: bool = False

    @classmethod
    def of(
        cls,
        region: RegionType,
        size: Axes,
        stride: Axes,
        dilation: Axes,
        offsets: Tensor | None = None,
        axis_types: Sequence[RegionType] | None = None,
    ) -> "Kernel":
        """The kernel of a region; arguments as in `taps_of`."""
        taps = taps_of(region, size, offsets, axis_types)
        cells = region is RegionType.HYPER_CUBE and size == stride and set(dilation) == {1}
        return cls(taps, stride, dilation, cells)
