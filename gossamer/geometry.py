"""Geometry: everything about a kernel that decides which site feeds which.

All kinds come down to one relation between a fine and a coarse set of sites,

    fine = coarse * stride + offset[k]

A regular or submanifold kernel reads the fine site and writes the coarse one; a transposed or
generative kernel reads the coarse site and writes the fine one. A Geometry is also the name under
which a rulebook is cached.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from gossamer.checks import one_of, per_axis

KINDS = ("submanifold", "regular", "transposed", "generative")
DOWNSAMPLES = ("spconv", "minkowski")
SHAPES = ("box", "cross")
KernelSize = int | Sequence[int] | Sequence[Sequence[int]]


@dataclass(frozen=True)
class Geometry:
    """A kernel of one kind; build it with `Geometry.of`, which checks and completes.

    Args:
        kind: "submanifold" keeps the sites; "regular" makes every site that a tap sees;
            "transposed" and "generative" make every site that a tap reaches, inside the output
            shape or without bound.
        taps: K positions of D ints, in voxels, before dilation. A box counts them from its corner,
            row-major, the last axis fastest.
        stride, padding, dilation: D ints each.
        downsample: the output sites of a regular kernel. "spconv": every o with some tap on a site.
            "minkowski": o = floor(c / stride), whatever the kernel and padding.
    """

    kind: str
    taps: tuple[tuple[int, ...], ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    downsample: str = "spconv"

    @classmethod
    def of(
        cls,
        kind: str,
        ndim: int,
        kernel_size: KernelSize,
        *,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        downsample: str = "spconv",
        shape: str = "box",
    ) -> "Geometry":
        """A checked geometry.

        Args:
            kind: see the class.
            ndim: D, the number of spatial axes.
            kernel_size: voxels an axis, one int or D; or any list of offsets of D ints each, which
                count from the output's own place (after stride and padding).
            stride, padding, dilation: one int or D.
            downsample: see the class.
            shape: "box", or "cross" for the taps on the axes through the centre.

        Raises:
            ValueError: a size, stride or dilation below 1, a padding below 0, an even submanifold
                or cross kernel, a repeated or missing offset, an unknown word.
        """
        one_of("kind", kind, KINDS)
        taps = _taps(kind, ndim, kernel_size, one_of("kernel_shape", shape, SHAPES))
        geometry = cls(
            kind,
            taps,
            per_axis("stride", stride, ndim, 1),
            per_axis("padding", padding, ndim, 0),
            per_axis("dilation", dilation, ndim, 1),
            one_of("downsample", downsample, DOWNSAMPLES),
        )
        return geometry._submanifold() if kind == "submanifold" else geometry

    def _submanifold(self) -> "Geometry":
        # A submanifold kernel looks around its own site, so padding has nothing to say.
        if any(s != 1 for s in self.stride):
            raise ValueError(
                f"stride is {self.stride}; a submanifold convolution keeps its sites, so its stride "
                "is 1; use a regular convolution to go to a coarser grid"
            )
        zero = (0,) * len(self.stride)
        return Geometry(self.kind, self.taps, self.stride, zero, self.dilation)

    @property
    def ndim(self) -> int:
        """D, the number of spatial axes."""
        return len(self.stride)

    @property
    def is_upward(self) -> bool:
        """Whether outputs are the fine side."""
        return self.kind in ("transposed", "generative")

    @cached_property
    def offsets(self) -> tuple[tuple[int, ...], ...]:
        """K offsets of `fine = coarse * stride + offset`, in voxels of the fine side."""
        return tuple(
            tuple(t * d - p for t, d, p in zip(tap, self.dilation, self.padding, strict=True))
            for tap in self.taps
        )

    @cached_property
    def flat_offsets(self) -> list[int]:
        """The same, K x D ints in a row, as ops take them."""
        return [value for offset in self.offsets for value in offset]

    @cached_property
    def reach(self) -> tuple[tuple[int, int], ...]:
        """For every axis the smallest and the largest offset."""
        return tuple((min(axis), max(axis)) for axis in zip(*self.offsets, strict=True))

    @cached_property
    def mirror(self) -> tuple[int, ...] | None:
        """For every tap the tap that looks the opposite way, or None if some tap has none.

        Where there is a mirror, a submanifold rulebook read backwards is itself with taps renamed.
        """
        place = {offset: tap for tap, offset in enumerate(self.offsets)}
        opposite = [place.get(tuple(-v for v in offset)) for offset in self.offsets]
        return None if None in opposite else tuple(t for t in opposite if t is not None)

    @cached_property
    def cell(self) -> list[int]:
        """The offsets of all fine sites of one coarse cell, `fine // stride == coarse`, flat."""
        return [v for offset in product(*map(range, self.stride)) for v in offset]

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The spatial shape of the output on an input of spatial shape `shape`.

        Raises:
            ValueError: the kernel does not fit, so the output would be empty.
        """
        if self.kind == "submanifold":
            return shape
        span = [d * max(axis) for d, axis in zip(self.dilation, zip(*self.taps), strict=True)]
        axes = list(zip(shape, self.stride, self.padding, span, strict=True))
        if self.is_upward:
            out = tuple((n - 1) * s - 2 * p + far + 1 for n, s, p, far in axes)
        elif self.downsample == "minkowski":
            out = tuple((n - 1) // s + 1 for n, s, _, _ in axes)
        else:
            out = tuple((n + 2 * p - far - 1) // s + 1 for n, s, p, far in axes)
        if any(n < 1 for n in out):
            raise ValueError(
                f"the output would be empty: spatial_shape {shape} gives {out} with a kernel that "
                f"spans {tuple(far + 1 for far in span)}, stride {self.stride}, padding "
                f"{self.padding}; use a smaller kernel or more padding"
            )
        return out

    def __str__(self) -> str:
        size = tuple(1 + max(axis) - min(axis) for axis in zip(*self.taps, strict=True))
        parts = [f"{self.kind} kernel {size}", f"{len(self.taps)} taps"]
        for name, usual in (("stride", 1), ("padding", 0), ("dilation", 1)):
            value = getattr(self, name)
            if value != (usual,) * self.ndim:
                parts.append(f"{name} {value}")
        return ", ".join(parts)


def _taps(kind: str, ndim: int, kernel_size: KernelSize, shape: str) -> tuple[tuple[int, ...], ...]:
    if isinstance(kernel_size, Sequence) and any(isinstance(v, Sequence) for v in kernel_size):
        return _listed(kernel_size, ndim)  # type: ignore[arg-type]
    size = per_axis("kernel_size", kernel_size, ndim, 1)  # type: ignore[arg-type]
    if (kind == "submanifold" or shape == "cross") and any(s % 2 == 0 for s in size):
        what = "submanifold" if kind == "submanifold" else "cross"
        raise ValueError(f"kernel_size is {size}; a {what} kernel needs a centre, so an odd size")
    centre = tuple(s // 2 for s in size)
    taps = list(product(*map(range, size)))
    if shape == "cross":
        taps = [t for t in taps if sum(a != b for a, b in zip(t, centre, strict=True)) <= 1]
    if kind == "submanifold":
        taps = [tuple(a - b for a, b in zip(t, centre, strict=True)) for t in taps]
    return tuple(taps)


def _listed(offsets: Sequence[Sequence[int]], ndim: int) -> tuple[tuple[int, ...], ...]:
    taps = tuple(tuple(int(v) for v in offset) for offset in offsets)
    if any(len(tap) != ndim for tap in taps):
        raise ValueError(f"kernel_size lists offsets {taps}; wanted {ndim} ints each, one an axis")
    if len(set(taps)) != len(taps):
        raise ValueError(f"kernel_size lists offsets {taps}; wanted each of them once")
    return taps
