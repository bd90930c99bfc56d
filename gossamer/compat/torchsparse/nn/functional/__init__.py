"""Functions on tensors, rows and points."""

from gossamer.compat.torchsparse.nn.functional.activation import leaky_relu, relu, silu
from gossamer.compat.torchsparse.nn.functional.conv import conv_config as conv_config
from gossamer.compat.torchsparse.nn.functional.conv.conv import conv3d
from gossamer.compat.torchsparse.nn.functional.conv.conv_config import (
    Dataflow,
    clear_global_conv_config,
    get_default_conv_config,
    get_global_conv_config,
    set_global_conv_config,
)
from gossamer.compat.torchsparse.nn.functional.conv.conv_mode import (
    ConvMode,
    get_conv_mode,
    get_downsample_mode,
    get_kmap_mode,
    set_conv_mode,
    set_downsample_mode,
    set_kmap_mode,
)
from gossamer.compat.torchsparse.nn.functional.conv.hash import convert_transposed_out_in_map
from gossamer.compat.torchsparse.nn.functional.conv.kmap import (
    build_kernel_map,
    spdownsample,
    spupsample_generative,
    transpose_kernel_map,
)
from gossamer.compat.torchsparse.nn.functional.count import spcount
from gossamer.compat.torchsparse.nn.functional.crop import spcrop
from gossamer.compat.torchsparse.nn.functional.devoxelize import calc_ti_weights, spdevoxelize
from gossamer.compat.torchsparse.nn.functional.hash import sphash
from gossamer.compat.torchsparse.nn.functional.pooling import global_avg_pool, global_max_pool
from gossamer.compat.torchsparse.nn.functional.query import sphashquery
from gossamer.compat.torchsparse.nn.functional.voxelize import spvoxelize

__all__ = [
    "ConvMode",
    "Dataflow",
    "build_kernel_map",
    "calc_ti_weights",
    "clear_global_conv_config",
    "conv3d",
    "conv_config",
    "convert_transposed_out_in_map",
    "get_conv_mode",
    "get_default_conv_config",
    "get_downsample_mode",
    "get_global_conv_config",
    "get_kmap_mode",
    "global_avg_pool",
    "global_max_pool",
    "leaky_relu",
    "relu",
    "set_conv_mode",
    "set_downsample_mode",
    "set_global_conv_config",
    "set_kmap_mode",
    "silu",
    "spcount",
    "spcrop",
    "spdevoxelize",
    "spdownsample",
    "sphash",
    "sphashquery",
    "spupsample_generative",
    "spvoxelize",
    "transpose_kernel_map",
]
