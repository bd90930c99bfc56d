"""Functions on voxels and points."""

from gossamer.compat.torchsparse14.nn.functional.activation import leaky_relu, relu
from gossamer.compat.torchsparse14.nn.functional.conv import conv3d
from gossamer.compat.torchsparse14.nn.functional.count import spcount
from gossamer.compat.torchsparse14.nn.functional.crop import spcrop
from gossamer.compat.torchsparse14.nn.functional.devoxelize import calc_ti_weights, spdevoxelize
from gossamer.compat.torchsparse14.nn.functional.downsample import spdownsample
from gossamer.compat.torchsparse14.nn.functional.hash import sphash
from gossamer.compat.torchsparse14.nn.functional.pooling import global_avg_pool, global_max_pool
from gossamer.compat.torchsparse14.nn.functional.query import sphashquery
from gossamer.compat.torchsparse14.nn.functional.voxelize import spvoxelize

__all__ = [
    "calc_ti_weights",
    "conv3d",
    "global_avg_pool",
    "global_max_pool",
    "leaky_relu",
    "relu",
    "spcount",
    "spcrop",
    "spdevoxelize",
    "spdownsample",
    "sphash",
    "sphashquery",
    "spvoxelize",
]
