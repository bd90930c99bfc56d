"""Pooling layers, 1 to 4 spatial dimensions: local, their transposes, and global."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from gossamer.geometry import Geometry, KernelSize
from gossamer.nn.located import located
from gossamer.tensor import SparseTensor

PerAxis = int | Sequence[int]


class SparsePool(nn.Module):
    """What the local pooling layers share.

    Args:
        kernel_size: voxels an axis, one int or one an axis; a Cross; or a list of offsets.
        stride: one int or one an axis. Default: the kernel size, as in torch.
        padding, dilation: one int or one an axis.
        downsample: "spconv" or "minkowski", as in SparseConv.
    """

    ndim: ClassVar[int]
    reduce: ClassVar[str]

    def __init__(
        self,
        kernel_size: KernelSize,
        stride: PerAxis | None = None,
        padding: PerAxis = 0,
        dilation: PerAxis = 1,
        *,
        downsample: str = "spconv",
    ):
        super().__init__()
        self.geometry = Geometry.of(
            "regular",
            self.ndim,
            kernel_size,
            stride=kernel_size if stride is None else stride,  # type: ignore[arg-type]
            padding=padding,
            dilation=dilation,
            downsample=downsample,
        )

    @located
    def forward(self, x: SparseTensor) -> SparseTensor:
        """[N, C] -> [M, C], on the sites that the kernel leads to."""
        rulebook = x.sites.rulebook(self.geometry)
        features = rulebook.reduce(x.features, self.reduce)
        return SparseTensor(features, x.sites.output(self.geometry))

    def extra_repr(self) -> str:
        return str(self.geometry)


class SparseMaxPool(SparsePool):
    """The largest value a channel that a kernel sees, also where all are negative."""

    reduce = "max"


class SparseAvgPool(SparsePool):
    """The mean a channel over the sites that a kernel sees; empty places do not count."""

    reduce = "mean"


class SparseSumPool(SparsePool):
    """The sum a channel over the sites that a kernel sees."""

    reduce = "sum"


class SparseUnpool(nn.Module):
    """Pooling backwards, onto the sites that the input's sites were made from.

    Each of those sites gets what `reduce` makes of the coarse sites whose kernel saw it: with
    kernels that do not overlap, a copy of its one coarse site.
    """

    reduce: ClassVar[str]

    @located
    def forward(self, x: SparseTensor) -> SparseTensor:
        """[M, C] -> [N, C]."""
        rulebook = x.sites.back()
        assert x.sites.origin is not None  # or back() would have raised
        return SparseTensor(rulebook.reduce(x.features, self.reduce), x.sites.origin.coords)


class SparseMaxUnpool(SparseUnpool):
    """The largest of the coarse values that reach a site."""

    reduce = "max"


class SparseAvgUnpool(SparseUnpool):
    """The mean of the coarse values that reach a site."""

    reduce = "mean"


class SparseSumUnpool(SparseUnpool):
    """The sum of the coarse values that reach a site: the transpose of SparseSumPool."""

    reduce = "sum"


class SparseGlobalPool(nn.Module):
    """One vector a sample, [B, C]; zero for a sample without sites."""

    reduce: ClassVar[str]

    def forward(self, x: SparseTensor) -> Tensor:
        """[N, C] -> [B, C]."""
        return x.sites.per_sample().reduce(x.features, self.reduce)


class SparseGlobalMaxPool(SparseGlobalPool):
    """The largest value a channel of each sample."""

    reduce = "max"


class SparseGlobalAvgPool(SparseGlobalPool):
    """The mean a channel over the sites of each sample."""

    reduce = "mean"


class SparseGlobalSumPool(SparseGlobalPool):
    """The sum a channel over the sites of each sample."""

    reduce = "sum"


class SparseMaxPool1d(SparseMaxPool):
    """SparseMaxPool over 1 axis."""

    ndim = 1


class SparseMaxPool2d(SparseMaxPool):
    """SparseMaxPool over 2 axes."""

    ndim = 2


class SparseMaxPool3d(SparseMaxPool):
    """SparseMaxPool over 3 axes."""

    ndim = 3


class SparseMaxPool4d(SparseMaxPool):
    """SparseMaxPool over 4 axes."""

    ndim = 4


class SparseAvgPool1d(SparseAvgPool):
    """SparseAvgPool over 1 axis."""

    ndim = 1


class SparseAvgPool2d(SparseAvgPool):
    """SparseAvgPool over 2 axes."""

    ndim = 2


class SparseAvgPool3d(SparseAvgPool):
    """SparseAvgPool over 3 axes."""

    ndim = 3


class SparseAvgPool4d(SparseAvgPool):
    """SparseAvgPool over 4 axes."""

    ndim = 4


class SparseSumPool1d(SparseSumPool):
    """SparseSumPool over 1 axis."""

    ndim = 1


class SparseSumPool2d(SparseSumPool):
    """SparseSumPool over 2 axes."""

    ndim = 2


class SparseSumPool3d(SparseSumPool):
    """SparseSumPool over 3 axes."""

    ndim = 3


class SparseSumPool4d(SparseSumPool):
    """SparseSumPool over 4 axes."""

    ndim = 4
