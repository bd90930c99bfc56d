"""SECOND's sparse middle encoder: voxels of a scan become a bird's-eye view for a detector.

Yan, Mao, Li: SECOND: Sparsely Embedded Convolutional Detection, Sensors 2018. The published grid
for KITTI, 5 x 5 x 10 cm voxels, gives

           grid (z, y, x)        channels
    stem   41 x 1600 x 1408      16
    1      41 x 1600 x 1408      16
    2      21 x  800 x  704      32
    3      11 x  400 x  352      64
    4       5 x  200 x  176      64
    out     2 x  200 x  176      128
    view        200 x  176       256
"""

from torch import Tensor
from torch import nn as torch_nn

from gossamer import nn
from gossamer.nn.conv import SparseConvolution
from gossamer.tensor import SparseTensor

PLAN = (16, 16, 32, 64, 64, 128)


class SECONDEncoder(torch_nn.Module):
    """A bird's-eye view an eighth as fine as the grid: four stages, then height into channels.

    The grid's axes are (z, y, x), and it must be bounded, since the view is dense.

    Args:
        in_channels: C of the input.

    Raises:
        ValueError: a channel count below 1.
    """

    def __init__(self, in_channels: int):
        super().__init__()
        self.in_channels = in_channels
        stem, one, two, three, four, out = PLAN
        self.stem = _normalised(nn.SubMConv3d(in_channels, stem, 3, bias=False))
        self.stages = nn.SparseSequential(
            _normalised(nn.SubMConv3d(stem, one, 3, bias=False)),
            _stage(one, two, padding=(1, 1, 1)),
            _stage(two, three, padding=(1, 1, 1)),
            # The published grid is 11 high here; without padding the next one is 5 and not 6.
            _stage(three, four, padding=(0, 1, 1)),
        )
        self.out = _normalised(nn.SparseConv3d(four, out, (3, 1, 1), stride=(2, 1, 1), bias=False))
        self.to_view = nn.ToBEV(axis=0)

    def forward(self, x: SparseTensor) -> Tensor:
        """[N, in_channels] on a grid (Z, Y, X) -> [B, 128 * Z', Y / 8, X / 8]."""
        return self.to_view(self.out(self.stages(self.stem(x))))


def _stage(
    in_channels: int, out_channels: int, padding: tuple[int, int, int]
) -> nn.SparseSequential:
    """Onto a grid half as fine, then two submanifold convolutions there."""
    down = nn.SparseConv3d(in_channels, out_channels, 3, stride=2, padding=padding, bias=False)
    return nn.SparseSequential(
        _normalised(down),
        _normalised(nn.SubMConv3d(out_channels, out_channels, 3, bias=False)),
        _normalised(nn.SubMConv3d(out_channels, out_channels, 3, bias=False)),
    )


def _normalised(convolution: SparseConvolution) -> nn.SparseSequential:
    """A convolution, batch normalisation as published (epsilon, momentum), ReLU."""
    norm = nn.BatchNorm(convolution.out_channels, eps=1e-3, momentum=0.01)
    return nn.SparseSequential(convolution, norm, nn.ReLU())
