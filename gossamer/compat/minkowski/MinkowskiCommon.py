"""What the layers of this facade share: one number an axis, and their base class."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import Module

from gossamer.compat.coordmaps.regions import ints

StrideType = int | Sequence[int] | np.ndarray | torch.Tensor


def convert_to_int_list(arg: StrideType, dimension: int) -> list[int]:
    """`dimension` ints of one int, a sequence, an array or a tensor.

    Raises:
        TypeError: it is none of these.
        ValueError: another number of ints.
    """
    return list(ints("a size", arg, dimension, -(1 << 31)))


def convert_to_int_tensor(arg: StrideType, dimension: int) -> Tensor:
    """As `convert_to_int_list`, [dimension] int32."""
    return torch.tensor(convert_to_int_list(arg, dimension), dtype=torch.int32)


class MinkowskiModuleBase(Module):
    """The base of all layers, by which programs tell them apart."""
