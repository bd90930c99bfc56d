"""Modules that change every site's vector by itself, as torch.nn names them.

Each takes a SparseTensor, or a plain tensor as its torch.nn twin does.
"""

from torch import nn

from gossamer.tensor import SparseTensor

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "SELU",
    "AlphaDropout",
    "Dropout",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "Identity",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "PReLU",
    "RReLU",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "Tanhshrink",
    "Threshold",
]


class OnFeatures:
    """Lets a torch module take a SparseTensor: it acts on the features, the sites stay."""

    def forward(self, x):
        """The same sites carrying what the torch module makes of the features."""
        act = super().forward  # type: ignore[misc]
        return x.with_features(act(x.features)) if isinstance(x, SparseTensor) else act(x)


class AlphaDropout(OnFeatures, nn.AlphaDropout):
    """torch.nn.AlphaDropout on the features of a SparseTensor."""


class CELU(OnFeatures, nn.CELU):
    """torch.nn.CELU on the features of a SparseTensor."""


class Dropout(OnFeatures, nn.Dropout):
    """torch.nn.Dropout on the features of a SparseTensor."""


class ELU(OnFeatures, nn.ELU):
    """torch.nn.ELU on the features of a SparseTensor."""


class GELU(OnFeatures, nn.GELU):
    """torch.nn.GELU on the features of a SparseTensor."""


class GLU(OnFeatures, nn.GLU):
    """torch.nn.GLU on the features of a SparseTensor."""


class Hardshrink(OnFeatures, nn.Hardshrink):
    """torch.nn.Hardshrink on the features of a SparseTensor."""


class Hardsigmoid(OnFeatures, nn.Hardsigmoid):
    """torch.nn.Hardsigmoid on the features of a SparseTensor."""


class Hardswish(OnFeatures, nn.Hardswish):
    """torch.nn.Hardswish on the features of a SparseTensor."""


class Hardtanh(OnFeatures, nn.Hardtanh):
    """torch.nn.Hardtanh on the features of a SparseTensor."""


class Identity(OnFeatures, nn.Identity):
    """torch.nn.Identity on the features of a SparseTensor."""


class LeakyReLU(OnFeatures, nn.LeakyReLU):
    """torch.nn.LeakyReLU on the features of a SparseTensor."""


class LogSigmoid(OnFeatures, nn.LogSigmoid):
    """torch.nn.LogSigmoid on the features of a SparseTensor."""


class LogSoftmax(OnFeatures, nn.LogSoftmax):
    """torch.nn.LogSoftmax on the features of a SparseTensor."""


class Mish(OnFeatures, nn.Mish):
    """torch.nn.Mish on the features of a SparseTensor."""


class PReLU(OnFeatures, nn.PReLU):
    """torch.nn.PReLU on the features of a SparseTensor."""


class RReLU(OnFeatures, nn.RReLU):
    """torch.nn.RReLU on the features of a SparseTensor."""


class ReLU(OnFeatures, nn.ReLU):
    """torch.nn.ReLU on the features of a SparseTensor."""


class ReLU6(OnFeatures, nn.ReLU6):
    """torch.nn.ReLU6 on the features of a SparseTensor."""


class SELU(OnFeatures, nn.SELU):
    """torch.nn.SELU on the features of a SparseTensor."""


class SiLU(OnFeatures, nn.SiLU):
    """torch.nn.SiLU on the features of a SparseTensor."""


class Sigmoid(OnFeatures, nn.Sigmoid):
    """torch.nn.Sigmoid on the features of a SparseTensor."""


class Softmax(OnFeatures, nn.Softmax):
    """torch.nn.Softmax on the features of a SparseTensor."""


class Softmin(OnFeatures, nn.Softmin):
    """torch.nn.Softmin on the features of a SparseTensor."""


class Softplus(OnFeatures, nn.Softplus):
    """torch.nn.Softplus on the features of a SparseTensor."""


class Softshrink(OnFeatures, nn.Softshrink):
    """torch.nn.Softshrink on the features of a SparseTensor."""


class Softsign(OnFeatures, nn.Softsign):
    """torch.nn.Softsign on the features of a SparseTensor."""


class Tanh(OnFeatures, nn.Tanh):
    """torch.nn.Tanh on the features of a SparseTensor."""


class Tanhshrink(OnFeatures, nn.Tanhshrink):
    """torch.nn.Tanhshrink on the features of a SparseTensor."""


class Threshold(OnFeatures, nn.Threshold):
    """torch.nn.Threshold on the features of a SparseTensor."""
