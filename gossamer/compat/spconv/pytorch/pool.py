"""The poolings of spconv, by kind and number of axes."""

from collections.abc import Sequence
from math import prod
from typing import ClassVar

import torch
from torch import Tensor

from gossamer.compat.layers import routing
from gossamer.compat.layers.convolution import _MAX_NUM_VOXELS_DURING_TRAINING
from gossamer.compat.layers.graphs import outside_graphs
from gossamer.compat.layers.recording import keep_maximum, recorded, timed
from gossamer.compat.layers.routing import Route
from gossamer.compat.layers.sizes import sizes
from gossamer.compat.spconv.core import ConvAlgo
from gossamer.compat.spconv.cppconstants import CPU_ONLY_BUILD as CPU_ONLY_BUILD
from gossamer.compat.spconv.pytorch.core import ImplicitGemmIndiceData as ImplicitGemmIndiceData
from gossamer.compat.spconv.pytorch.core import IndiceData as IndiceData
from gossamer.compat.spconv.pytorch.core import SparseConvTensor
from gossamer.compat.spconv.pytorch.core import expand_nd as expand_nd
from gossamer.compat.spconv.pytorch.modules import SparseModule
from gossamer.compat.spconv.utils import nullcontext as nullcontext
from gossamer.nn.located import located
from gossamer.rulebook import Rulebook

PerAxis = int | Sequence[int]


class _Pool(SparseModule):
    """What poolings of any kind and number of axes share.

    Args:
        ndim: D.
        kernel_size, stride, padding, dilation: one int or D; a stride of None is the kernel size.
        indice_key: under which the rulebook is kept, for an inverse convolution.
        subm: whether outputs are the input's sites.
        algo: which arrays that rulebook offers.
        record_voxel_count: whether to keep the largest number of outputs seen.
        name: under which its times are recorded.
    """

    how: ClassVar[str]
    kind: ClassVar[str]

    def __init__(
        self,
        ndim: int,
        kernel_size: PerAxis = 3,
        stride: PerAxis | None = 1,
        padding: PerAxis = 0,
        dilation: PerAxis = 1,
        indice_key: str | None = None,
        subm: bool = False,
        algo: ConvAlgo | None = None,
        record_voxel_count: bool = False,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.ndim = ndim
        self.kernel_size = sizes("kernel_size", ndim, kernel_size)
        self.stride = list(self.kernel_size) if stride is None else sizes("stride", ndim, stride)
        self.padding, self.dilation = (
            sizes("padding", ndim, padding),
            sizes("dilation", ndim, dilation),
        )
        self.subm, self.indice_key = subm, indice_key
        self.record_voxel_count = record_voxel_count
        if record_voxel_count and not subm:
            most = torch.zeros(1, dtype=torch.int32)
            self.register_buffer(_MAX_NUM_VOXELS_DURING_TRAINING, most)
        few = prod(self.kernel_size) <= 128
        default = ConvAlgo.MaskImplicitGemm if few else ConvAlgo.Native
        self.algo = default if algo is None else algo

    def extra_repr(self) -> str:
        names = ("kernel_size", "stride", "padding", "dilation", "algo")
        return ", ".join(f"{name}={getattr(self, name)}" for name in names)

    def get_max_num_voxels(self) -> Tensor | None:
        """[1] int32: the largest number of outputs seen, where it is recorded."""
        return getattr(self, _MAX_NUM_VOXELS_DURING_TRAINING, None)

    def _load_from_state_dict(self, state_dict, prefix, *rest):
        name = prefix + _MAX_NUM_VOXELS_DURING_TRAINING
        if self.get_max_num_voxels() is not None and name not in state_dict:
            state_dict[name] = torch.zeros(1, dtype=torch.int32)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def forward(self, input: SparseConvTensor) -> SparseConvTensor:
        """[N, C] -> [M, C], on the sites that the kernel leads to."""
        if not isinstance(input, SparseConvTensor):
            raise TypeError(f"input is a {type(input).__name__}; wanted a SparseConvTensor")
        with timed(input, self._sparse_unique_name):
            return outside_graphs(self._pooled, input)

    @located
    def _pooled(self, x: SparseConvTensor) -> SparseConvTensor:
        if not x.benchmark:
            return self._through(x, self._route(x))
        names = ("kernel_size", "stride", "padding", "dilation")
        params = {
            **{name: getattr(self, name) for name in names},
            "channels": x._values.at_hand.shape[1],
        }
        about = {"type": self.kind, "params": params}
        return recorded(x, self.name, about, self._route, self._through)

    def _route(self, x: SparseConvTensor) -> Route:
        if self.indice_key is not None and self.indice_key in x.indice_dict:
            raise ValueError(
                f"indice key {self.indice_key} exists: another layer before this one has it; "
                "choose another"
            )
        return routing.new(x, self, self._geometry())

    def _geometry(self):
        if not self.subm:
            return routing.geometry_of(self, "regular")
        return routing.geometry_of(self, "submanifold")

    def _through(self, x: SparseConvTensor, route: Route) -> SparseConvTensor:
        link, target, indice_dict = route
        new = x._written(self._reduced(x, route), link.target, target)
        new.indice_dict = indice_dict
        if self.record_voxel_count:
            keep_maximum(self.get_max_num_voxels(), len(target))
        return new

    def _reduced(self, x: SparseConvTensor, route: Route) -> Tensor:
        """[M, C] on sites. Of rows that share a site every one counts."""
        rows, rulebook = route.link.source, route.link.rulebook
        if self.how == "max":
            return rulebook.reduce(x._values.onto(rows, "max"), "max")
        if not rows.repeat:
            return rulebook.reduce(x._values.onto(rows, "sum"), "mean")
        ones = torch.ones_like(x.features[:, :1])
        count = rulebook.reduce(rows.onto(ones, "sum"), "sum")
        return rulebook.reduce(x._values.onto(rows, "sum"), "sum") / count.clamp(min=1)


class SparseMaxPool(_Pool):
    """The largest value a channel of what the kernel sees, also where all are negative."""

    how, kind = "max", "SparseMaxPool"


class SparseAvgPool(_Pool):
    """The mean a channel over the rows that the kernel sees; empty places do not count."""

    how, kind = "mean", "SparseAvgPool"


class _Leaf(_Pool):
    axes: ClassVar[int]

    def __init__(
        self,
        kernel_size: PerAxis,
        stride: PerAxis | None = None,
        padding: PerAxis = 0,
        dilation: PerAxis = 1,
        indice_key: str | None = None,
        algo: ConvAlgo | None = None,
        record_voxel_count: bool = False,
        name: str | None = None,
    ):
        super().__init__(
            self.axes,
            kernel_size,
            stride,
            padding,
            dilation,
            indice_key,
            algo=algo,
            record_voxel_count=record_voxel_count,
            name=name,
        )


class SparseMaxPool1d(_Leaf, SparseMaxPool):
    """SparseMaxPool over 1 axis."""

    axes = 1


class SparseMaxPool2d(_Leaf, SparseMaxPool):
    """SparseMaxPool over 2 axes."""

    axes = 2


class SparseMaxPool3d(_Leaf, SparseMaxPool):
    """SparseMaxPool over 3 axes."""

    axes = 3


class SparseMaxPool4d(_Leaf, SparseMaxPool):
    """SparseMaxPool over 4 axes."""

    axes = 4


class SparseAvgPool1d(_Leaf, SparseAvgPool):
    """SparseAvgPool over 1 axis."""

    axes = 1


class SparseAvgPool2d(_Leaf, SparseAvgPool):
    """SparseAvgPool over 2 axes."""

    axes = 2


class SparseAvgPool3d(_Leaf, SparseAvgPool):
    """SparseAvgPool over 3 axes."""

    axes = 3


class SparseGlobalMaxOrAvgPool(SparseModule):
    """One vector a sample, [B, C]; zero for a sample without sites.

    Args:
        is_mean: the mean over the rows of a sample, or their maximum.
        name: of the module.
    """

    def __init__(self, is_mean: bool, name: str | None = None):
        super().__init__(name=name)
        self.is_mean = is_mean

    def forward(self, input: SparseConvTensor) -> Tensor:
        """[N, C] -> [B, C]."""
        return outside_graphs(self._over_samples, input)

    def _over_samples(self, input: SparseConvTensor) -> Tensor:
        sample, order = input._place().sites.indices()[:, 0].long().sort(stable=True)
        rulebook = Rulebook.sending(order, sample, input.batch_size, len(sample))
        return rulebook.reduce(input.features, "mean" if self.is_mean else "max")


class SparseGlobalMaxPool(SparseGlobalMaxOrAvgPool):
    """The largest value a channel of each sample."""

    def __init__(self, name: str | None = None):
        super().__init__(is_mean=False, name=name)


class SparseGlobalAvgPool(SparseGlobalMaxOrAvgPool):
    """The mean a channel over the rows of each sample."""

    def __init__(self, name: str | None = None):
        super().__init__(is_mean=True, name=name)


ALL_POOL_LAYERS = {
    SparseMaxPool,
    SparseMaxPool1d,
    SparseMaxPool2d,
    SparseMaxPool3d,
    SparseMaxPool4d,
    SparseAvgPool,
    SparseAvgPool1d,
    SparseAvgPool2d,
    SparseAvgPool3d,
}
