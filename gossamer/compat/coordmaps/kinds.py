"""The kinds of things that a caller can ask for by name."""

from enum import Enum


class Kind(Enum):
    """A name with a number behind it, which `int` gives."""

    def __int__(self) -> int:
        return self.value

    def __index__(self) -> int:
        return self.value


class RegionType(Kind):
    """The shape of a kernel."""

    HYPER_CUBE = 0
    HYPER_CROSS = 1
    CUSTOM = 2
    HYBRID = 3


class CoordinateMapType(Kind):
    """Where coordinates were to be kept; here they lie where the caller's tensor lies."""

    CPU = 0
    CUDA = 1


class GPUMemoryAllocatorType(Kind):
    """Who was to allocate memory; here it is always PyTorch."""

    PYTORCH = 0
    CUDA = 1


class MinkowskiAlgorithm(Kind):
    """What to save, memory or time; here the backend decides."""

    DEFAULT = 0
    MEMORY_EFFICIENT = 1
    SPEED_OPTIMIZED = 2


class ConvolutionMode(Kind):
    """How a product was to be computed; here the backend decides."""

    DEFAULT = 0
    DIRECT_GEMM = 1
    COPY_GEMM = 2


class BroadcastMode(Kind):
    """What happens to a sample's vector and its sites."""

    ELEMENTWISE_ADDITON = 0
    ELEMENTWISE_MULTIPLICATION = 1


class PoolingMode(Kind):
    """What a pooling makes of several rows; of the global ones, every way gives the same."""

    LOCAL_SUM_POOLING = 0
    LOCAL_AVG_POOLING = 1
    LOCAL_MAX_POOLING = 2
    GLOBAL_SUM_POOLING_DEFAULT = 3
    GLOBAL_AVG_POOLING_DEFAULT = 4
    GLOBAL_MAX_POOLING_DEFAULT = 5
    GLOBAL_SUM_POOLING_KERNEL = 6
    GLOBAL_AVG_POOLING_KERNEL = 7
    GLOBAL_MAX_POOLING_KERNEL = 8
    GLOBAL_SUM_POOLING_PYTORCH_INDEX = 9
    GLOBAL_AVG_POOLING_PYTORCH_INDEX = 10
    GLOBAL_MAX_POOLING_PYTORCH_INDEX = 11

    @property
    def reduction(self) -> str:
        """One of "sum", "mean" and "max"."""
        return ("sum", "mean", "max")[self.value % 3]
