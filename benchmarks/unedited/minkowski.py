"""Layers and a U-Net, written for MinkowskiEngine 0.5. `run.py` times it on several libraries."""

from itertools import pairwise

import MinkowskiEngine as ME
from clock import report, voxels
from torch import nn


class Block(nn.Module):
    """Convolution, norm and ReLU, twice, and what came in."""

    def __init__(self, channels):
        super().__init__()
        self.first = ME.MinkowskiConvolution(channels, channels, kernel_size=3, dimension=3)
        self.second = ME.MinkowskiConvolution(channels, channels, kernel_size=3, dimension=3)
        self.norms = nn.ModuleList(ME.MinkowskiBatchNorm(channels) for _ in range(2))
        self.relu = ME.MinkowskiReLU()

    def forward(self, x):
        y = self.relu(self.norms[0](self.first(x)))
        return self.relu(self.norms[1](self.second(y)) + x)


class Net(nn.Module):
    """A U-Net of one level for each width."""

    def __init__(self, widths):
        super().__init__()
        pairs = list(pairwise(widths))
        self.stem = ME.MinkowskiConvolution(4, widths[0], kernel_size=3, dimension=3)
        self.blocks = nn.ModuleList(Block(width) for width in widths)
        self.down = nn.ModuleList(
            ME.MinkowskiConvolution(a, b, kernel_size=2, stride=2, dimension=3) for a, b in pairs
        )
        self.up = nn.ModuleList(
            ME.MinkowskiConvolutionTranspose(b, a, kernel_size=2, stride=2, dimension=3)
            for a, b in pairs
        )
        self.merge = nn.ModuleList(
            ME.MinkowskiConvolution(2 * a, a, kernel_size=3, dimension=3) for a, _ in pairs
        )

    def forward(self, x):
        x, skips = self.blocks[0](self.stem(x)), []
        for down, block in zip(self.down, self.blocks[1:], strict=True):
            skips.append(x)
            x = block(down(x))
        for up, merge in zip(self.up[::-1], self.merge[::-1], strict=True):
            x = merge(ME.cat(up(x), skips.pop()))
        return x


def main():
    coords = voxels()
    report(
        lambda features: ME.SparseTensor(features, coords),
        "F",
        lambda c, stride: ME.MinkowskiConvolution(c, c, kernel_size=3, stride=stride, dimension=3),
        Net,
    )


if __name__ == "__main__":
    main()
