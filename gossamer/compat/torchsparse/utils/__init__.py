"""Small helpers of TorchSparse 2.1."""

from gossamer.compat.torchsparse.utils.to_dense import to_dense
from gossamer.compat.torchsparse.utils.utils import make_divisible, make_ntuple, make_tensor

__all__ = ["make_divisible", "make_ntuple", "make_tensor", "to_dense"]
