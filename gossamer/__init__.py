"""Sparse convolution for PyTorch: Numba on the CPU, Triton on the GPU, plain PyTorch elsewhere."""

from gossamer import nn
from gossamer.coords import Coords
from gossamer.errors import (
    CheckpointError,
    DuplicateSitesError,
    FormatError,
    KeyRangeError,
    NoBackendError,
)
from gossamer.geometry import Cross, Geometry
from gossamer.nn.fuse import fuse
from gossamer.ops.dispatch import use_backend
from gossamer.point_cloud import PointCloud
from gossamer.rulebook import Rulebook
from gossamer.tensor import SparseTensor, cat
from gossamer.version import __version__
from gossamer.voxels import devoxelize, voxelize

__all__ = [
    "CheckpointError",
    "Coords",
    "Cross",
    "DuplicateSitesError",
    "FormatError",
    "Geometry",
    "KeyRangeError",
    "NoBackendError",
    "PointCloud",
    "Rulebook",
    "SparseTensor",
    "__version__",
    "cat",
    "devoxelize",
    "fuse",
    "nn",
    "use_backend",
    "voxelize",
]
