"""The blocks that networks share."""

from torch import nn as torch_nn

from gossamer import nn
from gossamer.nn.conv import SparseConvolution
from gossamer.tensor import SparseTensor


def layer(name: str, ndim: int) -> type[SparseConvolution]:
    """The layer of gossamer.nn called `name` over `ndim` axes, for instance SubMConv3d.

    Raises:
        ValueError: there is no such layer; 1 to 4 axes have one.
    """
    if not 1 <= ndim <= 4:
        raise ValueError(f"ndim is {ndim}; wanted 1 to 4")
    return getattr(nn, f"{name}{ndim}d")


def normalised(convolution: SparseConvolution) -> torch_nn.Sequential:
    """A convolution, then batch normalisation, then ReLU."""
    return torch_nn.Sequential(convolution, nn.BatchNorm(convolution.out_channels), nn.ReLU())


class ResidualBlock(torch_nn.Module):
    """Two 3-wide submanifold convolutions, and a way around them.

    Args:
        in_channels: C_in.
        out_channels: C_out; where it differs, the way around is a linear map.
        ndim: D.
    """

    def __init__(self, in_channels: int, out_channels: int, ndim: int = 3):
        super().__init__()
        conv = layer("SubMConv", ndim)
        self.body = torch_nn.Sequential(
            *normalised(conv(in_channels, out_channels, 3, bias=False)),
            conv(out_channels, out_channels, 3, bias=False),
            nn.BatchNorm(out_channels),
        )
        self.around = torch_nn.Sequential()
        if in_channels != out_channels:
            linear = nn.Linear(in_channels, out_channels, bias=False)
            self.around = torch_nn.Sequential(linear, nn.BatchNorm(out_channels))
        self.activation = nn.ReLU()

    def forward(self, x: SparseTensor) -> SparseTensor:
        """[N, C_in] -> [N, C_out] on the same sites."""
        return self.activation(self.body(x) + self.around(x))
