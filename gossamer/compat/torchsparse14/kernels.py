"""A kernel's sizes, checked."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from gossamer.checks import per_axis
from gossamer.compat.torchsparse14.utils.utils import make_ntuple

Axes = tuple[int, ...]
Sizes = int | Sequence[int] | Tensor


@dataclass(frozen=True)
class Kernel:
    """Three ints each."""

    size: Axes
    stride: Axes
    dilation: Axes

    @classmethod
    def of(cls, kernel_size: Sizes, stride: Sizes = 1, dilation: Sizes = 1) -> "Kernel":
        """A kernel of three axes, one int standing for all.

        Raises:
            AssertionError: there are not three of some.
            ValueError: one is below 1.
        """
        given = {"kernel_size": kernel_size, "stride": stride, "dilation": dilation}
        return cls(*(per_axis(name, make_ntuple(v, 3, name), 3, 1) for name, v in given.items()))

    @property
    def strided(self) -> bool:
        """Whether it leads to a coarser grid."""
        return any(s > 1 for s in self.stride)

    @property
    def pointwise(self) -> bool:
        """Whether it sees but one site, and stays there."""
        return self.size == (1, 1, 1) and not self.strided
