"""MinkUNet: the sparse U-Net that semantic segmentation of point clouds is measured by.

Choy, Gwak, Savarese: 4D Spatio-Temporal ConvNets: Minkowski Convolutional Neural Networks, CVPR
2019, in the form and with the channel plan of Tang, Liu, Zhao et al.: Searching Efficient 3D
Architectures with Sparse Point-Voxel Convolution, ECCV 2020.

           sites                 channels of x
    stem    fine    -------------- plan[0] ------------------+
    down    1/2         ---------- plan[1] --------------+   |
            1/4             ------ plan[2] ----------+   |   |
            1/8                 -- plan[3] ------+   |   |   |
            1/16                   plan[4]       |   |   |   |
    up      1/8                    plan[5] <- cat+   |   |   |
            1/4                    plan[6] <----- cat+   |   |
            1/2                    plan[7] <--------- cat+   |
            fine                   plan[8] <------------- cat+
    head    fine                   out_channels
"""

from torch import nn as torch_nn

from gossamer import nn
from gossamer.models.blocks import ResidualBlock, layer, normalised
from gossamer.tensor import SparseTensor, cat

PLAN = (32, 32, 64, 128, 256, 256, 128, 96, 96)


class MinkUNet(torch_nn.Module):
    """A score a class for every site: four steps down, four steps back up, skips between.

    Args:
        in_channels: C of the input.
        out_channels: the number of classes.
        width: multiplies the channel plan; 1.0 is the published network, 21.7 M parameters.
        ndim: D, 1 to 4.

    Raises:
        ValueError: a channel count below 1, a width that leaves a layer without channels, or no
            layers for `ndim` axes.
    """

    def __init__(self, in_channels: int, out_channels: int, width: float = 1.0, ndim: int = 3):
        super().__init__()
        plan = [int(width * channels) for channels in PLAN]
        if min(plan) < 1:
            raise ValueError(
                f"width is {width}; wanted at least {1 / min(PLAN)}, one channel a layer"
            )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.width, self.ndim = width, ndim
        conv = layer("SubMConv", ndim)
        self.stem = nn.SparseSequential(
            *normalised(conv(in_channels, plan[0], 3, bias=False)),
            *normalised(conv(plan[0], plan[0], 3, bias=False)),
        )
        self.down = torch_nn.ModuleList(
            Down(plan[level], plan[level + 1], ndim) for level in range(4)
        )
        self.up = torch_nn.ModuleList(
            Up(plan[4 + level], plan[3 - level], plan[5 + level], ndim) for level in range(4)
        )
        self.head = nn.Linear(plan[8], out_channels)

    def forward(self, x: SparseTensor) -> SparseTensor:
        """[N, in_channels] -> [N, out_channels] on the same sites."""
        x = self.stem(x)
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(x)
        for up in self.up:
            x = up(x, skips.pop())
        return self.head(x)


class Down(torch_nn.Module):
    """Onto a grid half as fine, then two residual blocks."""

    def __init__(self, in_channels: int, out_channels: int, ndim: int):
        super().__init__()
        conv = layer("SparseConv", ndim)
        # floor(c / 2) keeps the last row of a grid with an odd extent, which spconv's rule drops.
        halve = conv(in_channels, in_channels, 2, stride=2, bias=False, downsample="minkowski")
        self.coarsen = normalised(halve)
        self.blocks = nn.SparseSequential(
            ResidualBlock(in_channels, out_channels, ndim),
            ResidualBlock(out_channels, out_channels, ndim),
        )

    def forward(self, x: SparseTensor) -> SparseTensor:
        """[N, in_channels] -> [M, out_channels], M sites at twice the stride."""
        return self.blocks(self.coarsen(x))


class Up(torch_nn.Module):
    """Back onto the sites that `Down` came from, joined by what was there, then two blocks."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int, ndim: int):
        super().__init__()
        conv = layer("SparseInverseConv", ndim)
        self.refine = normalised(conv(in_channels, out_channels, 2, bias=False))
        self.blocks = nn.SparseSequential(
            ResidualBlock(out_channels + skip_channels, out_channels, ndim),
            ResidualBlock(out_channels, out_channels, ndim),
        )

    def forward(self, x: SparseTensor, skip: SparseTensor) -> SparseTensor:
        """[M, in_channels] and the skip's [N, skip_channels] -> [N, out_channels]."""
        return self.blocks(cat([self.refine(x), skip]))
