"""Geometry: everything about a kernel that decides which site feeds which.

All kinds come down to one relation between a fine and a coarse set of sites,

    fine = coarse * stride + offset[k]

A regular or submanifold kernel reads the fine site and writes the coarse one; a transposed or
generative kernel reads the coarse site and writes the fine one. A Geometry is also the name under
which a rulebook is cached.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby, product

from gossamer.checks import is_int, one_of, per_axis

KINDS = ("submanifold", "regular", "transposed", "generative")
DOWNSAMPLES = ("spconv", "minkowski")


@dataclass(frozen=True)
class Cross:
    """A kernel size that keeps only the taps on the axes through the centre.

    Args:
        size: voxels an axis, one odd int or D.
    """

    size: int | tuple[int, ...]


KernelSize = int | Sequence[int] | Sequence[Sequence[int]] | Cross


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

    Attributes:
        offsets: K offsets of `fine = coarse * stride + offset`, in voxels of the fine side.
        reach: for every axis the smallest and the largest offset.
        mirror: for every tap the tap that looks the opposite way, or None if some tap has none.
            Where there is one, a submanifold rulebook read backwards is itself with taps renamed.
        planes: how many planes the kernel has, if each is a run of equally many taps that agree in
            the axis that changes slowest, the first or the last; else 1.
        significance: the rank of every tap by its distance from the middle, the farthest highest.
    """

    kind: str
    taps: tuple[tuple[int, ...], ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    downsample: str = "spconv"
    # Worked out once and not on first use, because torch.compile can't follow a cached_property.
    offsets: tuple[tuple[int, ...], ...] = field(init=False, repr=False, compare=False)
    reach: tuple[tuple[int, int], ...] = field(init=False, repr=False, compare=False)
    mirror: tuple[int, ...] | None = field(init=False, repr=False, compare=False)
    planes: int = field(init=False, repr=False, compare=False)
    significance: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        offsets = tuple(
            tuple(t * d - p for t, d, p in zip(tap, self.dilation, self.padding, strict=True))
            for tap in self.taps
        )
        reach = tuple((min(axis), max(axis)) for axis in zip(*offsets, strict=True))
        object.__setattr__(self, "offsets", offsets)
        object.__setattr__(self, "reach", reach)
        object.__setattr__(self, "mirror", _mirror(offsets))
        object.__setattr__(self, "planes", _planes(self.taps))
        object.__setattr__(self, "significance", _significance(offsets, reach))

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
    ) -> "Geometry":
        """A checked geometry.

        Args:
            kind: see the class.
            ndim: D, the number of spatial axes.
            kernel_size: voxels an axis, one int or D; a Cross of such; or any list of offsets of D
                ints each, which count from the output's own place (after stride and padding).
            stride, padding, dilation: one int or D.
            downsample: see the class.

        Raises:
            ValueError: a size, stride or dilation below 1, a padding below 0, an even submanifold
                or cross kernel, a repeated or missing offset, an unknown word.
        """
        one_of("kind", kind, KINDS)
        taps = _taps(kind, ndim, kernel_size)
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
                f"stride is {self.stride}; a submanifold convolution keeps its sites, so its "
                "stride is 1; use a regular convolution to go to a coarser grid"
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

    @property
    def flat_offsets(self) -> list[int]:
        """`offsets` as ops take them, K x D ints in a row."""
        return [value for offset in self.offsets for value in offset]

    @property
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
        # A tap before the output's own place counts as padding on both sides, so that a list of
        # offsets around a centre keeps the grid as it is, as a padded box does.
        span = [
            d * (max(axis) + min(axis))
            for d, axis in zip(self.dilation, zip(*self.taps, strict=True), strict=True)
        ]
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


def _taps(kind: str, ndim: int, kernel_size: KernelSize) -> tuple[tuple[int, ...], ...]:
    if isinstance(kernel_size, Sequence) and any(isinstance(v, Sequence) for v in kernel_size):
        return _listed(kernel_size, ndim)  # type: ignore[arg-type]
    crossed = isinstance(kernel_size, Cross)
    edges = kernel_size.size if isinstance(kernel_size, Cross) else kernel_size
    size = per_axis("kernel_size", edges, ndim, 1)  # type: ignore[arg-type]
    if (kind == "submanifold" or crossed) and any(s % 2 == 0 for s in size):
        what = "cross" if crossed else "submanifold"
        raise ValueError(f"kernel_size is {size}; a {what} kernel needs a centre, so an odd size")
    centre = tuple(s // 2 for s in size)
    taps = list(product(*map(range, size)))
    if crossed:
        taps = [t for t in taps if sum(a != b for a, b in zip(t, centre, strict=True)) <= 1]
    if kind == "submanifold":
        taps = [tuple(a - b for a, b in zip(t, centre, strict=True)) for t in taps]
    return tuple(taps)


def _mirror(offsets: tuple[tuple[int, ...], ...]) -> tuple[int, ...] | None:
    place = {offset: tap for tap, offset in enumerate(offsets)}
    opposite = [place.get(tuple(-v for v in offset)) for offset in offsets]
    return None if None in opposite else tuple(t for t in opposite if t is not None)


def _planes(taps: tuple[tuple[int, ...], ...]) -> int:
    return max(_runs([tap[axis] for tap in taps]) for axis in (0, -1))


def _runs(places: list[int]) -> int:
    """Into how many runs of equal length `places` falls, none of them twice; else 1."""
    runs = [len(list(run)) for _, run in groupby(places)]
    return len(runs) if len(runs) == len(set(places)) and len(set(runs)) == 1 else 1


def _significance(
    offsets: tuple[tuple[int, ...], ...], reach: tuple[tuple[int, int], ...]
) -> tuple[int, ...]:
    # Twice the distance, so that the middle of an even kernel is a whole number too.
    apart = [
        sum(abs(2 * v - low - high) for v, (low, high) in zip(offset, reach, strict=True))
        for offset in offsets
    ]
    rank = {
        tap: place for place, tap in enumerate(sorted(range(len(apart)), key=apart.__getitem__))
    }
    return tuple(rank[tap] for tap in range(len(apart)))


def _listed(offsets: Sequence[Sequence[int]], ndim: int) -> tuple[tuple[int, ...], ...]:
    taps = tuple(tuple(offset) if isinstance(offset, Sequence) else () for offset in offsets)
    if any(len(tap) != ndim or not all(map(is_int, tap)) for tap in taps):
        raise ValueError(
            f"kernel_size lists offsets {offsets}; wanted {ndim} ints each, one an axis"
        )
    if len(set(taps)) != len(taps):
        raise ValueError(f"kernel_size lists offsets {taps}; wanted each of them once")
    return taps
