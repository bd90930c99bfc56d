"""Sizes, collating and quantizing."""

from gossamer.compat.torchsparse14.utils.utils import make_ntuple as make_ntuple

__all__ = ["make_ntuple"]
