"""Convolution, and what it is made of."""

from gossamer.compat.torchsparse.nn.functional.conv import conv_config as conv_config
from gossamer.compat.torchsparse.nn.functional.conv.conv import conv3d
from gossamer.compat.torchsparse.nn.functional.conv.conv_config import Dataflow
from gossamer.compat.torchsparse.nn.functional.conv.conv_mode import (
    ConvMode,
    get_conv_mode,
    get_downsample_mode,
    get_kmap_mode,
    set_conv_mode,
    set_downsample_mode,
    set_kmap_mode,
)
from gossamer.compat.torchsparse.nn.functional.conv.hash import (
    convert_transposed_out_in_map,
    sphash,
    sphashquery,
)
from gossamer.compat.torchsparse.nn.functional.conv.kmap import (
    build_kernel_map,
    spdownsample,
    spupsample_generative,
    transpose_kernel_map,
)

__all__ = [
    "ConvMode",
    "Dataflow",
    "build_kernel_map",
    "conv3d",
    "conv_config",
    "convert_transposed_out_in_map",
    "get_conv_mode",
    "get_downsample_mode",
    "get_kmap_mode",
    "set_conv_mode",
    "set_downsample_mode",
    "set_kmap_mode",
    "spdownsample",
    "sphash",
    "sphashquery",
    "spupsample_generative",
    "transpose_kernel_map",
]
