"""Activations and dropouts, as torch.nn has them, on the features of every site or point.

A layer is made with the arguments of torch's, which it keeps as `module`.
"""

from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from gossamer.compat.minkowski.MinkowskiCommon import MinkowskiModuleBase
from gossamer.compat.minkowski.MinkowskiSparseTensor import SparseTensor
from gossamer.compat.minkowski.MinkowskiTensorField import TensorField
from gossamer.compat.minkowski.rowwise import located, on_rows

AnyTensor = TypeVar("AnyTensor", SparseTensor, TensorField)


class MinkowskiNonlinearityBase(MinkowskiModuleBase):
    """A module of torch.nn for every row.

    Args:
        args, kwargs: as `MODULE` takes them.
    """

    MODULE: Any = None

    def __init__(self, *args, **kwargs):
        super().__init__()
        self.module = self.MODULE(*args, **kwargs)

    @located
    def forward(self, input: AnyTensor) -> AnyTensor:
        """The same sites or points, with new features."""
        return on_rows(input, self.module)

    def __repr__(self) -> str:
        return type(self).__name__ + "()"


class MinkowskiELU(MinkowskiNonlinearityBase):
    """torch.nn.ELU."""

    MODULE = nn.ELU


class MinkowskiHardshrink(MinkowskiNonlinearityBase):
    """torch.nn.Hardshrink."""

    MODULE = nn.Hardshrink


class MinkowskiHardsigmoid(MinkowskiNonlinearityBase):
    """torch.nn.Hardsigmoid."""

    MODULE = nn.Hardsigmoid


class MinkowskiHardtanh(MinkowskiNonlinearityBase):
    """torch.nn.Hardtanh."""

    MODULE = nn.Hardtanh


class MinkowskiHardswish(MinkowskiNonlinearityBase):
    """torch.nn.Hardswish."""

    MODULE = nn.Hardswish


class MinkowskiLeakyReLU(MinkowskiNonlinearityBase):
    """torch.nn.LeakyReLU."""

    MODULE = nn.LeakyReLU


class MinkowskiLogSigmoid(MinkowskiNonlinearityBase):
    """torch.nn.LogSigmoid."""

    MODULE = nn.LogSigmoid


class MinkowskiPReLU(MinkowskiNonlinearityBase):
    """torch.nn.PReLU."""

    MODULE = nn.PReLU


class MinkowskiReLU(MinkowskiNonlinearityBase):
    """torch.nn.ReLU."""

    MODULE = nn.ReLU


class MinkowskiReLU6(MinkowskiNonlinearityBase):
    """torch.nn.ReLU6."""

    MODULE = nn.ReLU6


class MinkowskiRReLU(MinkowskiNonlinearityBase):
    """torch.nn.RReLU."""

    MODULE = nn.RReLU


class MinkowskiSELU(MinkowskiNonlinearityBase):
    """torch.nn.SELU."""

    MODULE = nn.SELU


class MinkowskiCELU(MinkowskiNonlinearityBase):
    """torch.nn.CELU."""

    MODULE = nn.CELU


class MinkowskiGELU(MinkowskiNonlinearityBase):
    """torch.nn.GELU."""

    MODULE = nn.GELU


class MinkowskiSigmoid(MinkowskiNonlinearityBase):
    """torch.nn.Sigmoid."""

    MODULE = nn.Sigmoid


class MinkowskiSiLU(MinkowskiNonlinearityBase):
    """torch.nn.SiLU."""

    MODULE = nn.SiLU


class MinkowskiSoftplus(MinkowskiNonlinearityBase):
    """torch.nn.Softplus."""

    MODULE = nn.Softplus


class MinkowskiSoftshrink(MinkowskiNonlinearityBase):
    """torch.nn.Softshrink."""

    MODULE = nn.Softshrink


class MinkowskiSoftsign(MinkowskiNonlinearityBase):
    """torch.nn.Softsign."""

    MODULE = nn.Softsign


class MinkowskiTanh(MinkowskiNonlinearityBase):
    """torch.nn.Tanh."""

    MODULE = nn.Tanh


class MinkowskiTanhshrink(MinkowskiNonlinearityBase):
    """torch.nn.Tanhshrink."""

    MODULE = nn.Tanhshrink


class MinkowskiThreshold(MinkowskiNonlinearityBase):
    """torch.nn.Threshold."""

    MODULE = nn.Threshold


class MinkowskiSoftmin(MinkowskiNonlinearityBase):
    """torch.nn.Softmin; over the channels with dim=1."""

    MODULE = nn.Softmin


class MinkowskiSoftmax(MinkowskiNonlinearityBase):
    """torch.nn.Softmax; over the channels with dim=1."""

    MODULE = nn.Softmax


class MinkowskiLogSoftmax(MinkowskiNonlinearityBase):
    """torch.nn.LogSoftmax; over the channels with dim=1."""

    MODULE = nn.LogSoftmax


class MinkowskiAdaptiveLogSoftmaxWithLoss(MinkowskiNonlinearityBase):
    """torch.nn.AdaptiveLogSoftmaxWithLoss, which needs to know the classes."""

    MODULE = nn.AdaptiveLogSoftmaxWithLoss

    def forward(self, input: SparseTensor | TensorField, target: Tensor):  # type: ignore[override]
        """Torch's pair: `output` [N], the log probability of each row's class, and `loss`.

        Args:
            input: of `in_features` channels.
            target: [N] int64, the class of each row.
        """
        return self.module(input.F, target)


class MinkowskiDropout(MinkowskiNonlinearityBase):
    """torch.nn.Dropout, of single numbers."""

    MODULE = nn.Dropout


class MinkowskiAlphaDropout(MinkowskiNonlinearityBase):
    """torch.nn.AlphaDropout, of single numbers."""

    MODULE = nn.AlphaDropout


class MinkowskiSinusoidal(MinkowskiModuleBase):
    """`coef * sin(x @ kernel + bias)`, all three learned.

    Args:
        in_channel: channels of the input.
        out_channel: channels of the result.
    """

    def __init__(self, in_channel: int, out_channel: int):
        super().__init__()
        self.in_channel = in_channel
        self.out_channel = out_channel
        self.kernel = nn.Parameter(torch.rand(in_channel, out_channel))
        self.bias = nn.Parameter(torch.rand(1, out_channel))
        self.coef = nn.Parameter(torch.rand(1, out_channel))

    @located
    def forward(self, input: AnyTensor) -> AnyTensor:
        """The same sites or points, with `out_channel` channels."""
        return on_rows(input, self._wave, self.in_channel)

    def _wave(self, features: Tensor) -> Tensor:
        return torch.sin(features.mm(self.kernel) + self.bias) * self.coef
