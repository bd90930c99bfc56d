"""The blocks that networks share."""

from gossamer import nn
from gossamer.nn.conv import SparseConvolution


def layer(name: str, ndim: int) -> type[SparseConvolution]:
    """The layer of gossamer.nn called `name` over `ndim` axes, for instance SubMConv3d.

    Raises:
        ValueError: there is no such layer; 1 to 4 axes have one.
    """
    if not 1 <= ndim <= 4:
        raise ValueError(f"ndim is {ndim}; wanted 1 to 4")
    return getattr(nn, f"{name}{ndim}d")


def normalised(convolution: SparseConvolution) -> nn.SparseSequential:
    """A convolution, then batch normalisation, then ReLU."""
    return nn.SparseSequential(convolution, nn.BatchNorm(convolution.out_channels), nn.ReLU())


class ResidualBlock(nn.Residual):
    """Two 3-wide submanifold convolutions, and a way around them.

    Args:
        in_channels: C_in.
        out_channels: C_out; where it differs, the way around is a linear map.
        ndim: D.
    """

    def __init__(self, in_channels: int, out_channels: int, ndim: int = 3):
        conv = layer("SubMConv", ndim)
        body = nn.SparseSequential(
            *normalised(conv(in_channels, out_channels, 3, bias=False)),
            conv(out_channels, out_channels, 3, bias=False),
            nn.BatchNorm(out_channels),
        )
        around = nn.SparseSequential()
        if in_channels != out_channels:
            linear = nn.Linear(in_channels, out_channels, bias=False)
            around = nn.SparseSequential(linear, nn.BatchNorm(out_channels))
        super().__init__(body, around, nn.ReLU())
