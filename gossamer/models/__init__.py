"""Networks for whole tasks: one paper, one file, read top to bottom."""

from gossamer.models.minkunet import MinkUNet

__all__ = ["MinkUNet"]
