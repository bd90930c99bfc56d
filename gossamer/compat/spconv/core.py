"""The enumerations of `spconv.core`.

An algorithm decides here which arrays a cached rulebook offers, never which kernel runs.
"""

from enum import Enum

from gossamer.compat.spconv.constants import NDIM_DONT_CARE, SPCONV_INT8_DEBUG

__all__ = ["NDIM_DONT_CARE", "SPCONV_INT8_DEBUG", "AlgoHint", "ConvAlgo"]


class ConvAlgo(Enum):
    """How upstream walks a rulebook."""

    Native = 0
    MaskImplicitGemm = 1
    MaskSplitImplicitGemm = 2


class AlgoHint(Enum):
    """What upstream tunes a kernel for; the first name is spelt as it is there."""

    NoHint = 0b000
    Fowrard = 0b001
    BackwardInput = 0b010
    BackwardWeight = 0b100
