"""The max poolings of spconv 1.2, by number of axes."""

from collections.abc import Sequence
from typing import ClassVar

from gossamer.compat.older import kernels
from gossamer.compat.spconv.core import ConvAlgo
from gossamer.compat.spconv.pytorch import pool

PerAxis = int | Sequence[int]


class SparseMaxPool(pool.SparseMaxPool):
    """The largest value a channel of what the kernel sees, also where all are negative.

    Args:
        ndim: D.
        kernel_size, stride, padding, dilation: one int or D; a stride of None is the kernel size.
        subm: whether outputs are the input's sites.
    """

    def __init__(
        self,
        ndim: int,
        kernel_size: PerAxis,
        stride: PerAxis | None = None,
        padding: PerAxis = 0,
        dilation: PerAxis = 1,
        subm: bool = False,
    ):
        super().__init__(
            ndim, kernel_size, stride, padding, dilation, subm=subm, algo=ConvAlgo.Native
        )

    def _geometry(self):
        if not self.subm:
            return super()._geometry()
        return kernels.submanifold(tuple(self.kernel_size), tuple(self.dilation))


class _Leaf(SparseMaxPool):
    axes: ClassVar[int]

    def __init__(
        self,
        kernel_size: PerAxis,
        stride: PerAxis | None = None,
        padding: PerAxis = 0,
        dilation: PerAxis = 1,
    ):
        super().__init__(self.axes, kernel_size, stride, padding, dilation)


class SparseMaxPool2d(_Leaf):
    """SparseMaxPool over 2 axes."""

    axes = 2


class SparseMaxPool3d(_Leaf):
    """SparseMaxPool over 3 axes."""

    axes = 3
