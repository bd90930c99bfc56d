"""Autocast for sparse layers: the dtype that torch.autocast asks for, in training and in eval."""

import torch
from torch import Tensor


def in_autocast_dtype(features: Tensor, *others: Tensor | None) -> list:
    """`features` and parameters in the dtype that autocast asks for, or as they are outside it.

    float64 stays float64, as torch's own layers have it.
    """
    device = features.device.type
    if not torch.is_autocast_enabled(device) or features.dtype == torch.float64:
        return [features, *others]
    dtype = torch.get_autocast_dtype(device)
    return [None if t is None else t.to(dtype) for t in (features, *others)]
