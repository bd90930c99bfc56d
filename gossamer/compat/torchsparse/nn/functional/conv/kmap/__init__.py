"""Kernel maps, and the sites that kernels lead to."""

from gossamer.compat.torchsparse.nn.functional.conv.kmap.build_kmap import (
    build_kernel_map,
    transpose_kernel_map,
)
from gossamer.compat.torchsparse.nn.functional.conv.kmap.downsample import spdownsample
from gossamer.compat.torchsparse.nn.functional.conv.kmap.upsample import spupsample_generative

__all__ = [
    "build_kernel_map",
    "spdownsample",
    "spupsample_generative",
    "transpose_kernel_map",
]
