"""What tensors of one forward pass share: the sites of each stride and the kernel maps between."""

from enum import Enum
from typing import Any

__all__ = [
    "TensorCache",
    "TensorCacheMode",
    "clear_global_tensor_cache",
    "get_global_tensor_cache",
    "get_tensor_cache_mode",
    "set_global_tensor_cache",
    "set_tensor_cache_mode",
]


class TensorCacheMode(Enum):
    """Whether every new tensor has a cache of its own, or all share one."""

    SEPARATE_TENSOR_CACHE = 0
    GLOBAL_TENSOR_CACHE = 1


class TensorCache:
    """Sites and kernel maps; programs hang attributes of their own on it.

    Attributes:
        cmaps: (coords, spatial_range) by stride.
        kmaps: kernel maps by (stride, kernel size, the layer's stride, dilation, padding,
            kmap_mode, downsample_mode, kind).
        hashmaps: the places of coords tensors seen so far, by stride.
    """

    def __init__(self):
        self.cmaps: dict[tuple[int, ...], tuple[Any, tuple[int, ...] | None]] = {}
        self.kmaps: dict[tuple[Any, ...], Any] = {}
        self.hashmaps: dict[tuple[int, ...], list] = {}

    def __getstate__(self) -> dict:
        """Without what costs less to build than to send."""
        return {**self.__dict__, "kmaps": {}, "hashmaps": {}}


class _Chosen:
    """The choice of this process."""

    mode = TensorCacheMode.SEPARATE_TENSOR_CACHE
    shared: TensorCache | None = None


def set_tensor_cache_mode(mode: TensorCacheMode) -> None:
    """From now on, new tensors have caches of their own or share one.

    A shared cache grows until `clear_global_tensor_cache` is called, once a forward and backward.

    Raises:
        AssertionError: mode is no TensorCacheMode.
    """
    assert isinstance(mode, TensorCacheMode), (
        f"Input must be an instance of TensorCacheMode; mode is {mode!r}"
    )
    _Chosen.mode = mode


def get_tensor_cache_mode() -> TensorCacheMode:
    """As it was set last."""
    return _Chosen.mode


def get_global_tensor_cache() -> TensorCache | None:
    """The cache that new tensors share, None before the first of them."""
    return _Chosen.shared


def set_global_tensor_cache(tensor_cache: TensorCache | None) -> None:
    """Let new tensors share this cache from now on."""
    _Chosen.shared = tensor_cache


def clear_global_tensor_cache() -> None:
    """Let new tensors share a new cache from now on."""
    _Chosen.shared = None


def cache_of_a_new_tensor() -> TensorCache:
    """A new cache, or the one that is shared."""
    if _Chosen.mode is TensorCacheMode.SEPARATE_TENSOR_CACHE:
        return TensorCache()
    _Chosen.shared = _Chosen.shared or TensorCache()
    return _Chosen.shared
