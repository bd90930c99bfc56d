"""A kernel of TorchSparse: the order of its taps, where its windows lie, and the sites it makes.

Taps are counted with axis 0 fastest where there is an odd number of them, and with the last axis
fastest where it is even. A window begins where padding says ("hashmap_on_the_fly", as torch has
it) or so that its middle, the left one of two, is on the output ("hashmap").
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

from gossamer.checks import one_of, per_axis
from gossamer.compat.layers import taps
from gossamer.compat.layers.taps import Tap
from gossamer.geometry import DOWNSAMPLES, Geometry

Axes = tuple[int, ...]
KMAP_MODES = ("hashmap_on_the_fly", "hashmap")


def in_order(lows: Sequence[int], size: Sequence[int]) -> tuple[Tap, ...]:
    """The K positions of a box, as rows of a weight stand for them.

    Args:
        lows: D ints, the corner of the box.
        size: D ints, cells an axis.
    """
    return taps.box(lows, size, first_fastest=prod(size) % 2 == 1)


@dataclass(frozen=True)
class Kernel:
    """Everything that decides a kernel map.

    Args:
        size, stride, dilation: D ints each, 1 or more.
        padding: D ints, 0 or more.
        kmap_mode: one of KMAP_MODES.
        downsample_mode: "spconv" or "minkowski"; counts only where kmap_mode is "hashmap".

    Raises:
        ValueError: a size, stride or dilation below 1, a padding below 0, no whole numbers, or an
            unknown mode.
    """

    size: Axes
    stride: Axes
    padding: Axes
    dilation: Axes
    kmap_mode: str = KMAP_MODES[0]
    downsample_mode: str = "spconv"

    def __post_init__(self):
        per_axis("kernel_size", self.size, len(self.size), 1)
        for name in ("stride", "dilation", "padding"):
            per_axis(name, getattr(self, name), len(self.size), int(name != "padding"))
        one_of("kmap_mode", self.kmap_mode, KMAP_MODES)
        one_of("downsample_mode", self.downsample_mode, DOWNSAMPLES)

    @classmethod
    @lru_cache(maxsize=1024)
    def of(cls, *sizes_and_modes: Any) -> "Kernel":
        """The kernel of these arguments, kept: a layer asks for it each time it runs."""
        return cls(*sizes_and_modes)

    @property
    def volume(self) -> int:
        """K."""
        return prod(self.size)

    @property
    def keeps_sites(self) -> bool:
        """Whether outputs are the inputs' sites."""
        return all(s == 1 for s in self.stride)

    @property
    def floors(self) -> bool:
        """Whether output sites are floor(c / stride), whatever the kernel and padding."""
        whole = all(s in (1, k) for s, k in zip(self.stride, self.size, strict=True))
        return self.kmap_mode == "hashmap" and (self.downsample_mode == "minkowski" or whole)

    @property
    def span(self) -> Axes:
        """How far the last tap is from the first, D ints."""
        return tuple((k - 1) * d for k, d in zip(self.size, self.dilation, strict=True))

    @property
    def middle(self) -> Axes:
        """The left one of the middle taps, D ints."""
        return tuple((k - 1) // 2 for k in self.size)

    @property
    def windows(self) -> Geometry:
        """Which fine site each coarse one sees through each tap; output sites if it `floors`."""
        return _windows(self, "regular")

    @property
    def children(self) -> Geometry:
        """`windows` from the coarse side: which fine sites each coarse one reaches."""
        return _windows(self, "generative")

    @property
    def reached(self) -> Geometry:
        """The sites of spconv's rule: every one whose padded window meets a site."""
        return _reached(self)

    @property
    def around(self) -> Geometry:
        """What a site sees of its neighbours where sites are kept."""
        return _around(self)

    def coarse_stride(self, stride: Axes) -> Axes:
        """The tensor stride after a layer, of an input at `stride`."""
        return tuple(a * b for a, b in zip(stride, self.stride, strict=True))

    def fine_stride(self, stride: Axes) -> Axes:
        """The tensor stride after a transposed layer, of an input at `stride`."""
        # Past the grid of the first tensor there is no smaller unit.
        return tuple(max(1, a // b) for a, b in zip(stride, self.stride, strict=True))

    def coarse_shape(self, shape: Axes) -> Axes:
        """The extent of the output on an input of extent `shape`; below 1 where nothing is left."""
        axes = zip(shape, self.stride, self.padding, self.span, strict=True)
        if self.keeps_sites:
            return shape
        if self.floors:
            return tuple(-(-n // s) for n, s, _, _ in axes)
        return tuple((n + 2 * p - far - 1) // s + 1 for n, s, p, far in axes)

    def fine_shape(self, shape: Axes) -> Axes:
        """The extent of the transposed kernel's output on an input of extent `shape`."""
        axes = zip(shape, self.stride, self.padding, self.span, strict=True)
        return tuple((n - 1) * s - 2 * p + far + 1 for n, s, p, far in axes)


@lru_cache(maxsize=1024)
def _windows(kernel: Kernel, kind: str) -> Geometry:
    begin = kernel.padding
    if kernel.kmap_mode == "hashmap":
        begin = tuple(m * d for m, d in zip(kernel.middle, kernel.dilation, strict=True))
    floors = kernel.floors and kind == "regular"
    return _geometry(kernel, kind, begin, "minkowski" if floors else "spconv")


@lru_cache(maxsize=1024)
def _reached(kernel: Kernel) -> Geometry:
    return _geometry(kernel, "regular", kernel.padding, "spconv")


def _geometry(kernel: Kernel, kind: str, padding: Axes, downsample: str) -> Geometry:
    cells = in_order((0,) * len(kernel.size), kernel.size)
    options = {"stride": kernel.stride, "dilation": kernel.dilation, "downsample": downsample}
    return Geometry.of(kind, len(kernel.size), cells, padding=padding, **options)


@lru_cache(maxsize=1024)
def _around(kernel: Kernel) -> Geometry:
    # A kernel of an even number of taps that is built on the fly begins at its own site, also along
    # axes where it is odd.
    centred = kernel.volume % 2 == 1 or kernel.kmap_mode == "hashmap"
    lows = tuple(-m if centred else 0 for m in kernel.middle)
    cells = in_order(lows, kernel.size)
    return Geometry.of("submanifold", len(kernel.size), cells, dilation=kernel.dilation)
