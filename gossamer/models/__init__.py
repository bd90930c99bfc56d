"""Networks for whole tasks: one paper, one file, read top to bottom."""

from gossamer.models.minkunet import MinkUNet
from gossamer.models.second import SECONDEncoder

__all__ = ["MinkUNet", "SECONDEncoder"]
