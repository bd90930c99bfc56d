"""Networks of TorchSparse 2.1, which return the features of every stage."""

from gossamer.compat.torchsparse.backbones.resnet import SparseResNet21D
from gossamer.compat.torchsparse.backbones.unet import SparseResUNet42

__all__ = ["SparseResNet21D", "SparseResUNet42"]
