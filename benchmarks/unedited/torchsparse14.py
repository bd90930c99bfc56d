"""Layers and a U-Net, written for TorchSparse 1.4. `run.py` times it on several libraries."""

from itertools import pairwise

import torchsparse
import torchsparse.nn as spnn
from clock import report, voxels
from torch import nn


class Block(nn.Module):
    """Convolution, norm and ReLU, twice, and what came in."""

    def __init__(self, channels):
        super().__init__()
        self.first = spnn.Conv3d(channels, channels, 3)
        self.second = spnn.Conv3d(channels, channels, 3)
        self.norms = nn.ModuleList(spnn.BatchNorm(channels) for _ in range(2))
        self.relu = spnn.ReLU()

    def forward(self, x):
        y = self.relu(self.norms[0](self.first(x)))
        return self.relu(self.norms[1](self.second(y)) + x)


class Net(nn.Module):
    """A U-Net of one level for each width."""

    def __init__(self, widths):
        super().__init__()
        pairs = list(pairwise(widths))
        self.stem = spnn.Conv3d(4, widths[0], 3)
        self.blocks = nn.ModuleList(Block(width) for width in widths)
        self.down = nn.ModuleList(spnn.Conv3d(a, b, 2, 2) for a, b in pairs)
        self.up = nn.ModuleList(spnn.Conv3d(b, a, 2, 2, transposed=True) for a, b in pairs)
        self.merge = nn.ModuleList(spnn.Conv3d(2 * a, a, 3) for a, _ in pairs)

    def forward(self, x):
        x, skips = self.blocks[0](self.stem(x)), []
        for down, block in zip(self.down, self.blocks[1:], strict=True):
            skips.append(x)
            x = block(down(x))
        for up, merge in zip(self.up[::-1], self.merge[::-1], strict=True):
            x = merge(torchsparse.cat([up(x), skips.pop()]))
        return x


def main():
    coords = voxels()[:, [1, 2, 3, 0]].contiguous()
    report(
        lambda features: torchsparse.SparseTensor(features, coords),
        "F",
        lambda c, stride: spnn.Conv3d(c, c, 3, stride),
        Net,
    )


if __name__ == "__main__":
    main()
