"""One int for every axis."""

from gossamer.compat.torchsparse.utils.utils import make_ntuple as make_ntuple

__all__ = ["make_ntuple"]
