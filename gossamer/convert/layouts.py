"""How the numbers of a sparse convolution's weight lie in memory, library by library.

    native       [K, C_in, C_out]     taps row-major, the last axis fastest
    KRSC         [C_out, *k, C_in]    spconv 2.1 to 2.3
    RSKC         [*k, C_out, C_in]    spconv 2.0, and 2.1 for some kernels
    RSCK         [*k, C_in, C_out]    spconv 1.x, mmcv
    torchsparse  [K, C_in, C_out]     the first axis fastest if K is odd, the last one if it is even
    minkowski    [K, C_in, C_out]     the first axis fastest
    linear       [C_out, C_in]        torch.nn.Linear, a convolution of one tap

All of them are the same numbers in another order, so every change can be undone to the bit, and
whatever has a weight's shape (its momentum, say) is changed as the weight is.
"""

from dataclasses import dataclass
from math import prod
from typing import Literal

from torch import Tensor

Size = tuple[int, ...]


@dataclass(frozen=True)
class Kernel:
    """What is known of a kernel.

    Args:
        taps: K.
        size: taps an axis; None where nothing says.
        plain: whether the layer multiplies features by its one tap without looking at sites, as
            one of stride 1 does. spconv 2 then takes the numbers as they lie in memory.
    """

    taps: int
    size: Size | None
    plain: bool


@dataclass(frozen=True)
class Grid:
    """A layout with an axis of the tensor for every axis of the kernel.

    Args:
        order: K, C for output and input channels, RS for the kernel's axes.
    """

    order: Literal["KRSC", "RSKC", "RSCK"]
    shaped: bool = True

    def first_fastest(self, taps: int) -> bool:
        """Whether neighbours in memory differ in the first axis of the kernel."""
        return False

    def taps_of(self, stored: Tensor, kernel: Kernel) -> Tensor:
        """[K, C_in, C_out] from the layout."""
        if self.order == "KRSC":
            out_channels, in_channels = stored.shape[0], stored.shape[-1]
            if not kernel.plain:
                return stored.reshape(out_channels, -1, in_channels).permute(1, 2, 0)
        else:
            out_channels, in_channels = stored.shape[-2:]
            if self.order == "RSCK":
                out_channels, in_channels = in_channels, out_channels
            elif not kernel.plain:
                return stored.reshape(-1, out_channels, in_channels).mT
        return stored.reshape(-1, in_channels, out_channels)

    def stored(self, taps: Tensor, kernel: Kernel) -> Tensor:
        """The layout from [K, C_in, C_out]."""
        assert kernel.size is not None  # Turn.needs_size says so beforehand
        _, in_channels, out_channels = taps.shape
        shapes = {
            "KRSC": (out_channels, *kernel.size, in_channels),
            "RSKC": (*kernel.size, out_channels, in_channels),
            "RSCK": (*kernel.size, in_channels, out_channels),
        }
        if not kernel.plain:
            turned = {"KRSC": taps.permute(2, 0, 1), "RSKC": taps.mT, "RSCK": taps}
            taps = turned[self.order]
        return taps.reshape(shapes[self.order])


@dataclass(frozen=True)
class Listed:
    """A layout [K, C_in, C_out].

    Args:
        fastest: the axis in which neighbours in memory differ: the last one, the first one, or the
            first one where the number of taps is odd.
        flat: which layers of one tap are stored as [C_in, C_out]: none, plain ones, or all.
    """

    fastest: Literal["last", "first", "first if odd"]
    flat: Literal["none", "plain", "all"]
    shaped: bool = False

    def first_fastest(self, taps: int) -> bool:
        """Whether neighbours in memory differ in the first axis of the kernel."""
        return self.fastest == "first" or (self.fastest == "first if odd" and taps % 2 == 1)

    def taps_of(self, stored: Tensor, kernel: Kernel) -> Tensor:
        """[K, C_in, C_out], in the order of the layout."""
        return stored if stored.ndim == 3 else stored.unsqueeze(0)

    def stored(self, taps: Tensor, kernel: Kernel) -> Tensor:
        """The layout from [K, C_in, C_out]."""
        flat = kernel.taps == 1 and (self.flat == "all" or (self.flat == "plain" and kernel.plain))
        return taps.squeeze(0) if flat else taps


@dataclass(frozen=True)
class Linear:
    """The layout of torch.nn.Linear, for a convolution of one tap."""

    shaped: bool = False

    def first_fastest(self, taps: int) -> bool:
        """There is one tap, so no."""
        return False

    def taps_of(self, stored: Tensor, kernel: Kernel) -> Tensor:
        """[1, C_in, C_out] from the layout."""
        return stored.mT.unsqueeze(0)

    def stored(self, taps: Tensor, kernel: Kernel) -> Tensor:
        """The layout from [1, C_in, C_out]."""
        return taps.squeeze(0).mT


Layout = Grid | Listed | Linear

LAYOUTS: dict[str, Layout] = {
    "native": Listed("last", "none"),
    "KRSC": Grid("KRSC"),
    "RSKC": Grid("RSKC"),
    "RSCK": Grid("RSCK"),
    "torchsparse": Listed("first if odd", "plain"),
    "torchsparse14": Listed("first if odd", "all"),
    "minkowski": Listed("first", "plain"),
    "linear": Linear(),
}


@dataclass(frozen=True)
class Turn:
    """A weight in one layout, into another.

    Args:
        source, target: names of LAYOUTS.
        kernel: the layer's kernel.
    """

    source: str
    target: str
    kernel: Kernel

    @property
    def moves(self) -> bool:
        """Whether anything is done at all."""
        return self.source != self.target

    @property
    def needs_size(self) -> bool:
        """Whether the number of taps alone does not say where each of them goes."""
        return self.moves and (LAYOUTS[self.target].shaped or self._mirrors)

    @property
    def _mirrors(self) -> bool:
        taps = self.kernel.taps
        source, target = LAYOUTS[self.source], LAYOUTS[self.target]
        return taps > 1 and source.first_fastest(taps) != target.first_fastest(taps)

    def __call__(self, stored: Tensor) -> Tensor:
        """The weight, or what else has its shape, in the other layout."""
        if not self.moves:
            return stored
        taps = LAYOUTS[self.source].taps_of(stored, self.kernel)
        if self._mirrors:
            assert self.kernel.size is not None  # needs_size says so beforehand
            first = LAYOUTS[self.source].first_fastest(self.kernel.taps)
            taps = _mirrored(taps, self.kernel.size[::-1] if first else self.kernel.size)
        return LAYOUTS[self.target].stored(taps, self.kernel).contiguous()


def _mirrored(taps: Tensor, size: Size) -> Tensor:
    """[K, C_in, C_out] with the kernel's axes counted the other way around."""
    assert prod(size) == taps.shape[0]
    axes = len(size)
    spread = taps.unflatten(0, size)
    return spread.permute(*reversed(range(axes)), axes, axes + 1).flatten(0, axes - 1)
