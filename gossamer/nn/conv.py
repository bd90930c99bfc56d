"""Convolution layers, 1 to 4 spatial dimensions."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import nn

from gossamer import checks
from gossamer.coords import Coords
from gossamer.geometry import Geometry, KernelSize
from gossamer.nn.located import located
from gossamer.nn.product import multiply
from gossamer.ops.conv import Epilogue
from gossamer.rulebook import Rulebook
from gossamer.tensor import SparseTensor

PerAxis = int | Sequence[int]


class SparseConvolution(nn.Module):
    """What all convolution layers share: parameters and the way through a rulebook.

    Args:
        in_channels: C_in.
        out_channels: C_out.
        kernel_size: voxels an axis, one int or one an axis; a Cross; or a list of offsets.
        stride, padding, dilation: one int or one an axis.
        groups: how many parts the channels fall into; C_in for a depthwise layer.
        bias: whether to add a learned vector.
        downsample: the output sites of a strided layer: "spconv" makes every site that a tap sees,
            "minkowski" takes floor(c / stride).

    Attributes:
        weight: [K, C_in/groups, C_out], taps row-major, the last axis fastest.
        bias: [C_out], or None.

    Raises:
        ValueError: a channel count that `groups` does not divide, or what `Geometry.of` refuses.
    """

    ndim: ClassVar[int]
    kind: ClassVar[str]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: KernelSize,
        stride: PerAxis = 1,
        padding: PerAxis = 0,
        dilation: PerAxis = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        downsample: str = "spconv",
    ):
        super().__init__()
        self.geometry = Geometry.of(
            self.kind,
            self.ndim,
            kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            downsample=downsample,
        )
        self._make_parameters(in_channels, out_channels, groups, bias)

    def _make_parameters(
        self, in_channels: int, out_channels: int, groups: int, bias: bool
    ) -> None:
        for name, value in (("in_channels", in_channels), ("out_channels", out_channels)):
            if value < 1 or groups < 1 or value % groups:
                raise ValueError(f"{name} is {value} with {groups} groups; wanted a multiple of it")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        taps = len(self.geometry.taps)
        self.weight = nn.Parameter(torch.empty(taps, in_channels // groups, out_channels))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew, uniformly, as torch.nn's convolutions do."""
        fan_in = self.weight.shape[0] * self.weight.shape[1]
        bound = fan_in**-0.5
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: SparseTensor) -> SparseTensor:
        """[N, in_channels] -> [M, out_channels], on the sites that the geometry leads to."""
        return self.multiplied(x)

    @located
    def multiplied(self, x: SparseTensor, then: Epilogue | None = None) -> SparseTensor:
        """The same, with `then` in place of the bias."""
        checks.channels("the input", x.channels, self.in_channels)
        rulebook, sites = self.route(x.sites)
        y = multiply(x.features, rulebook, self.weight, self.bias, self.groups, then)
        return SparseTensor(y, sites)

    def route(self, sites: Coords) -> tuple[Rulebook, Coords]:
        """The rulebook from `sites` and the sites it leads to."""
        return sites.rulebook(self.geometry), sites.output(self.geometry)

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}", str(self.geometry)]
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        return ", ".join([*parts, *([] if self.bias is not None else ["bias=False"])])


class SparseConv(SparseConvolution):
    """Convolution onto every site that a tap sees, so sparsity dilates or coarsens."""

    kind = "regular"


class SubMConv(SparseConvolution):
    """Submanifold convolution: outputs are the input's sites, the odd kernel is centred on each.

    `padding` has nothing to say here and is accepted because other libraries' code passes it.
    """

    kind = "submanifold"


class SparseConvTranspose(SparseConvolution):
    """Transposed convolution onto every site reached, inside the output shape if there is one."""

    kind = "transposed"


class SparseGenerativeConvTranspose(SparseConvolution):
    """Transposed convolution onto every site reached, without bound but the given one.

    Args:
        spatial_shape: D ints to stay inside, the output's spatial_shape. Default: no bound; then
            the output has no spatial_shape either.
    """

    kind = "generative"

    def __init__(self, *args, spatial_shape: Sequence[int] | None = None, **options):
        super().__init__(*args, **options)
        given = spatial_shape is not None
        self.spatial_shape = (
            checks.per_axis("spatial_shape", spatial_shape, self.ndim, 1) if given else None
        )

    def route(self, sites: Coords) -> tuple[Rulebook, Coords]:
        """The rulebook from `sites` and the sites it leads to."""
        out = sites.output(self.geometry, self.spatial_shape)
        return sites.rulebook(self.geometry, self.spatial_shape), out


class SparseInverseConv(SparseConvolution):
    """Convolution back onto the sites that the input's sites were made from.

    The layer that made them needs no name: a strided Coords knows where it came from. Stride,
    padding and dilation are that layer's; where they are given here they are checked against it.

    Args:
        in_channels, out_channels, kernel_size, groups, bias: as in SparseConvolution; the kernel
            has the taps of the layer it undoes.
        stride, padding, dilation: None, or what that layer has.
    """

    kind = "regular"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: KernelSize,
        stride: PerAxis | None = None,
        padding: PerAxis | None = None,
        dilation: PerAxis | None = None,
        groups: int = 1,
        bias: bool = True,
    ):
        nn.Module.__init__(self)
        given = {"stride": stride, "padding": padding, "dilation": dilation}
        self._given: dict = {name: value for name, value in given.items() if value is not None}
        self.geometry = Geometry.of(self.kind, self.ndim, kernel_size, **self._given)
        self._make_parameters(in_channels, out_channels, groups, bias)

    def route(self, sites: Coords) -> tuple[Rulebook, Coords]:
        """The rulebook that leads back, and the sites it leads to."""
        rulebook = sites.back()
        assert sites.origin is not None  # or back() would have raised
        made_by = sites.origin.geometry
        if len(made_by.taps) != len(self.geometry.taps) or made_by.taps != self.geometry.taps:
            raise ValueError(f"this layer is a {self.geometry}; the sites were made by a {made_by}")
        for name in self._given:
            if getattr(made_by, name) != getattr(self.geometry, name):
                raise ValueError(
                    f"{name} is {getattr(self.geometry, name)}; the layer that made these sites "
                    f"has {getattr(made_by, name)}; leave it out to take that one"
                )
        return rulebook, sites.origin.coords


class SparseConv1d(SparseConv):
    """SparseConv over 1 axis."""

    ndim = 1


class SparseConv2d(SparseConv):
    """SparseConv over 2 axes."""

    ndim = 2


class SparseConv3d(SparseConv):
    """SparseConv over 3 axes."""

    ndim = 3


class SparseConv4d(SparseConv):
    """SparseConv over 4 axes."""

    ndim = 4


class SubMConv1d(SubMConv):
    """SubMConv over 1 axis."""

    ndim = 1


class SubMConv2d(SubMConv):
    """SubMConv over 2 axes."""

    ndim = 2


class SubMConv3d(SubMConv):
    """SubMConv over 3 axes."""

    ndim = 3


class SubMConv4d(SubMConv):
    """SubMConv over 4 axes."""

    ndim = 4


class SparseConvTranspose1d(SparseConvTranspose):
    """SparseConvTranspose over 1 axis."""

    ndim = 1


class SparseConvTranspose2d(SparseConvTranspose):
    """SparseConvTranspose over 2 axes."""

    ndim = 2


class SparseConvTranspose3d(SparseConvTranspose):
    """SparseConvTranspose over 3 axes."""

    ndim = 3


class SparseConvTranspose4d(SparseConvTranspose):
    """SparseConvTranspose over 4 axes."""

    ndim = 4


class SparseGenerativeConvTranspose1d(SparseGenerativeConvTranspose):
    """SparseGenerativeConvTranspose over 1 axis."""

    ndim = 1


class SparseGenerativeConvTranspose2d(SparseGenerativeConvTranspose):
    """SparseGenerativeConvTranspose over 2 axes."""

    ndim = 2


class SparseGenerativeConvTranspose3d(SparseGenerativeConvTranspose):
    """SparseGenerativeConvTranspose over 3 axes."""

    ndim = 3


class SparseGenerativeConvTranspose4d(SparseGenerativeConvTranspose):
    """SparseGenerativeConvTranspose over 4 axes."""

    ndim = 4


class SparseInverseConv1d(SparseInverseConv):
    """SparseInverseConv over 1 axis."""

    ndim = 1


class SparseInverseConv2d(SparseInverseConv):
    """SparseInverseConv over 2 axes."""

    ndim = 2


class SparseInverseConv3d(SparseInverseConv):
    """SparseInverseConv over 3 axes."""

    ndim = 3


class SparseInverseConv4d(SparseInverseConv):
    """SparseInverseConv over 4 axes."""

    ndim = 4
