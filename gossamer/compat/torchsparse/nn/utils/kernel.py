"""The offsets of kernels."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gossamer.compat.torchsparse.utils.utils import make_ntuple
from gossamer.compat.voxelnets.kernel import in_order

__all__ = ["get_kernel_offsets"]


def get_kernel_offsets(
    size: int | Sequence[int],
    stride: int | Sequence[int] = 1,
    dilation: int | Sequence[int] = 1,
    device: Any = "cpu",
) -> Tensor:
    """[K, 3] int32: the offset of each tap from the middle one, in the order of a weight's rows.

    Args:
        size: cells an axis, one int or 3.
        stride, dilation: what offsets are multiplied by, one int or 3.
        device: of the result.
    """
    sizes = make_ntuple(size, ndim=3)
    cells = in_order([-((k - 1) // 2) for k in sizes], sizes)
    steps = zip(make_ntuple(stride, ndim=3), make_ntuple(dilation, ndim=3), strict=True)
    scale = torch.tensor([s * d for s, d in steps], dtype=torch.int32, device=device)
    return torch.tensor(cells, dtype=torch.int32, device=device) * scale
