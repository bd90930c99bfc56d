"""Between torch's tensors and those of `cumm.tensorview`."""

import torch
from torch import Tensor

from gossamer.compat.cumm import tensorview as tv


def torch_tensor_to_tv(ten: Tensor) -> tv.Tensor:
    """A tensor of host memory as one of tensorview, sharing memory.

    Raises:
        ValueError: it lies on another device, or is not contiguous.
    """
    if ten.device.type != "cpu" or not ten.is_contiguous():
        raise ValueError(
            f"ten is on {ten.device} with strides {ten.stride()}; wanted a contiguous one on the "
            "CPU; write ten.cpu().contiguous()"
        )
    return tv.from_numpy(ten.detach().numpy())


def get_current_stream() -> int:
    """The number of the current CUDA stream; 0 without a GPU."""
    return torch.cuda.current_stream().cuda_stream if torch.cuda.is_available() else 0


def get_arch() -> tuple[int, int]:
    """The compute capability of the current GPU; (0, 0) without one."""
    return torch.cuda.get_device_capability() if torch.cuda.is_available() else (0, 0)
