"""`MinkowskiEngineBackend._C`: what of the compiled module programs import by name."""

import numpy as np
import torch
from torch import Tensor

from gossamer.compat.coordmaps.key import CoordinateMapKey as CoordinateMapKey
from gossamer.compat.coordmaps.kinds import BroadcastMode as BroadcastMode
from gossamer.compat.coordmaps.kinds import ConvolutionMode as ConvolutionMode
from gossamer.compat.coordmaps.kinds import CoordinateMapType as CoordinateMapType
from gossamer.compat.coordmaps.kinds import GPUMemoryAllocatorType as GPUMemoryAllocatorType
from gossamer.compat.coordmaps.kinds import MinkowskiAlgorithm as MinkowskiAlgorithm
from gossamer.compat.coordmaps.kinds import PoolingMode as PoolingMode
from gossamer.compat.coordmaps.kinds import RegionType as RegionType
from gossamer.compat.minkowski.utils.quantization import quantize, quantize_label


def is_cuda_available() -> bool:
    """Whether torch sees a GPU."""
    return torch.cuda.is_available()


def cuda_version() -> int:
    """The version of CUDA that torch was built with, 12040 for 12.4; -1 without CUDA."""
    major, _, minor = (torch.version.cuda or "").partition(".")
    return int(major) * 1000 + int(minor or 0) * 10 if major else -1


def cudart_version() -> int:
    """The version of CUDA's runtime; it is torch's."""
    return cuda_version()


def get_gpu_memory_info() -> tuple[int, int]:
    """Free and total bytes of the current GPU.

    Raises:
        RuntimeError: there is no GPU.
    """
    if not torch.cuda.is_available():
        raise RuntimeError("torch sees no GPU, so there is no GPU memory to tell of")
    return torch.cuda.mem_get_info()


def quantize_np(coords: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first row [U] of each distinct one of `coords` [N, D], and each row's number [N]."""
    return quantize(np.asarray(coords))


def quantize_th(coords: Tensor) -> tuple[Tensor, Tensor]:
    """The first row [U] of each distinct one of `coords` [N, D], and each row's number [N]."""
    return quantize(coords)


def quantize_label_np(
    coords: np.ndarray, labels: np.ndarray, invalid_label: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What `quantize_np` returns, and the labels [U], `invalid_label` where rows disagree."""
    return quantize_label(np.asarray(coords), np.asarray(labels), invalid_label)


def quantize_label_th(
    coords: Tensor, labels: Tensor, invalid_label: int
) -> tuple[Tensor, Tensor, Tensor]:
    """What `quantize_th` returns, and the labels [U], `invalid_label` where rows disagree."""
    return quantize_label(coords, labels, invalid_label)
