"""From points to voxels, in NumPy."""

from gossamer.compat.torchsparse.utils.quantize import sparse_quantize as sparse_quantize

__all__ = ["sparse_quantize"]
