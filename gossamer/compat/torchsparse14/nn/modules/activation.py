"""Activations."""

from torch import nn

from gossamer.compat.torchsparse14.nn.utils.apply import alike
from gossamer.compat.torchsparse14.tensor import SparseTensor

__all__ = ["LeakyReLU", "ReLU"]


class ReLU(nn.ReLU):
    """torch.nn.ReLU on the features."""

    def forward(self, input: SparseTensor) -> SparseTensor:
        """The same rows, with negative features made 0."""
        return alike(input, super().forward)


class LeakyReLU(nn.LeakyReLU):
    """torch.nn.LeakyReLU on the features."""

    def forward(self, input: SparseTensor) -> SparseTensor:
        """The same rows, with negative features made small."""
        return alike(input, super().forward)
