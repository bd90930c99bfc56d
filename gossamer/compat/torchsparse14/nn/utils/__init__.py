"""Functions on features, and the offsets of kernels."""

from gossamer.compat.torchsparse14.nn.utils.apply import fapply as fapply
from gossamer.compat.torchsparse14.nn.utils.kernel import get_kernel_offsets as get_kernel_offsets

__all__ = ["fapply", "get_kernel_offsets"]
