"""Sparse convolution for PyTorch: Numba on the CPU, Triton on the GPU, plain PyTorch elsewhere.

Names are fetched when they are first used, so that `gossamer --help` does not wait for torch and
the command can choose how torch's threads wait before torch is loaded.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gossamer.version import __version__

if TYPE_CHECKING:
    from gossamer import nn
    from gossamer.capture import Captured, capture
    from gossamer.coords import Coords
    from gossamer.errors import (
        CapacityError,
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
    from gossamer.tuning import tune
    from gossamer.voxels import devoxelize, voxelize

__all__ = [
    "CapacityError",
    "Captured",
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
    "capture",
    "cat",
    "devoxelize",
    "fuse",
    "nn",
    "tune",
    "use_backend",
    "voxelize",
]

# The module of each name; `nn` is one itself.
_HOMES = {
    "capture": ["Captured", "capture"],
    "coords": ["Coords"],
    "errors": [name for name in __all__ if name.endswith("Error")],
    "geometry": ["Cross", "Geometry"],
    "nn.fuse": ["fuse"],
    "ops.dispatch": ["use_backend"],
    "point_cloud": ["PointCloud"],
    "rulebook": ["Rulebook"],
    "tensor": ["SparseTensor", "cat"],
    "tuning": ["tune"],
    "voxels": ["devoxelize", "voxelize"],
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "nn":
        return import_module("gossamer.nn")
    if name not in _HOME:
        raise AttributeError(f"module 'gossamer' has no attribute {name!r}")
    value = getattr(import_module(f"gossamer.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
