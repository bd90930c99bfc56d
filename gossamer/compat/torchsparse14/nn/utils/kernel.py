"""Where the taps of a kernel look."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gossamer.compat.torchsparse14.kernels import Kernel
from gossamer.compat.torchsparse14.places import taps

__all__ = ["get_kernel_offsets"]


def get_kernel_offsets(
    size: int | Sequence[int],
    stride: int | Sequence[int] = 1,
    dilation: int | Sequence[int] = 1,
    device: str | torch.device = "cpu",
) -> Tensor:
    """[K, 3] int32: the offsets of a kernel's taps, in the order of its weight.

    x changes fastest where the number of taps is odd, else z.

    Args:
        size: voxels an axis.
        stride: edge of a voxel.
        dilation: voxels from tap to tap.
        device: of the result.

    Raises:
        AssertionError: there are not three of some.
        ValueError: one is below 1.
    """
    kernel = Kernel.of(size, stride, dilation)
    far = torch.tensor([kernel.stride, kernel.dilation], dtype=torch.int).prod(0, dtype=torch.int)
    return (torch.tensor(taps(kernel.size), dtype=torch.int) * far).to(device)
