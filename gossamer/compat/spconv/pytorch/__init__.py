"""`spconv.pytorch`: what programs import as spconv.

Names are fetched when they are first used, because submodules here import one another's parents.
"""

from importlib import import_module
from typing import Any

_AXES = (1, 2, 3, 4)
_HOMES = {
    "core": ["SparseConvTensor"],
    "modules": [
        "SparseModule",
        "SparseSequential",
        "SparseBatchNorm",
        "SparseReLU",
        "SparseIdentity",
        "assign_name_for_sparse_modules",
    ],
    "conv": [
        f"{kind}{axes}d"
        for kind in ("SparseConv", "SubMConv", "SparseConvTranspose", "SparseInverseConv")
        for axes in _AXES
    ],
    "pool": [
        *(f"SparseMaxPool{axes}d" for axes in _AXES),
        *(f"SparseAvgPool{axes}d" for axes in _AXES[:3]),
        "SparseGlobalMaxPool",
        "SparseGlobalAvgPool",
    ],
    "identity": ["Identity"],
    "tables": ["AddTable", "ConcatTable", "JoinTable"],
}
_HOME = {name: f"{__name__}.{home}" for home, names in _HOMES.items() for name in names}
_HOME["ConvAlgo"] = "gossamer.compat.spconv.core"
_HOME["ToDense"] = _HOME["RemoveGrid"] = "gossamer.compat.layers.dense"
_SUBMODULES = (
    *_HOMES,
    "constants",
    "cppcore",
    "functional",
    "hash",
    "ops",
    "spatial",
    "utils",
)

__all__ = sorted([*_HOME, *_SUBMODULES])  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return import_module(f"{__name__}.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'spconv.pytorch' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
