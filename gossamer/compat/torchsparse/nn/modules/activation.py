"""Activations on the features of a tensor."""

from torch import nn

from gossamer.compat.torchsparse.nn.utils.apply import alike
from gossamer.compat.torchsparse.tensor import SparseTensor

__all__ = ["LeakyReLU", "ReLU", "SiLU"]


class ReLU(nn.ReLU):
    """torch.nn.ReLU."""

    def forward(self, input: SparseTensor) -> SparseTensor:
        return alike(input, super().forward)


class LeakyReLU(nn.LeakyReLU):
    """torch.nn.LeakyReLU."""

    def forward(self, input: SparseTensor) -> SparseTensor:
        return alike(input, super().forward)


class SiLU(nn.SiLU):
    """torch.nn.SiLU."""

    def forward(self, input: SparseTensor) -> SparseTensor:
        return alike(input, super().forward)
