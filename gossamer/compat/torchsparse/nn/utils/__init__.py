"""Functions on features, and the offsets of kernels."""

from gossamer.compat.torchsparse.nn.utils.apply import fapply
from gossamer.compat.torchsparse.nn.utils.kernel import get_kernel_offsets

__all__ = ["fapply", "get_kernel_offsets"]
