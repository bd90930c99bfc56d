"""Kernel maps on their own."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from gossamer.compat.torchsparse.nn.functional.conv.conv_config import Dataflow
from gossamer.compat.torchsparse.nn.functional.conv.hash.query import convert_transposed_out_in_map
from gossamer.compat.torchsparse.tensor import get_allow_negative_coordinates
from gossamer.compat.torchsparse.utils.utils import make_divisible, make_ntuple
from gossamer.compat.voxelnets import maps
from gossamer.compat.voxelnets.kernel import KMAP_MODES, Kernel
from gossamer.compat.voxelnets.maps import TILE, KernelMap
from gossamer.compat.voxelnets.places import Place

__all__ = ["build_kernel_map", "transpose_kernel_map"]


def build_kernel_map(
    _coords: Tensor,
    input_node_num: int,
    kernel_size: int | Sequence[int] = 2,
    stride: int | Sequence[int] = 2,
    padding: int | Sequence[int] = 0,
    hashmap_keys: Tensor | None = None,
    hashmap_vals: Tensor | None = None,
    spatial_range: Sequence[int] | None = None,
    mode: str = "hashmap",
    dataflow: Dataflow = Dataflow.ImplicitGEMM,
    downsample_mode: str = "spconv",
    training: bool = False,
    ifsort: bool = False,
    generative: bool = False,
    split_mask_num: int = 1,
    split_mask_num_bwd: int = 1,
) -> KernelMap:
    """The kernel map of a layer on these coordinates, under the keys that `KernelMap` names.

    Args:
        _coords: [N, 4] int32, (batch, x, y, z).
        input_node_num: N.
        kernel_size, stride, padding: one int or 3. With stride 1 the sites stay.
        spatial_range: (B, X, Y, Z) of the input.
        mode: as `set_kmap_mode` takes it.
        downsample_mode: as `set_downsample_mode` takes it.
        generative: whether to lead to all children on a finer grid.
        hashmap_keys, hashmap_vals, dataflow, training, ifsort, split_mask_num,
            split_mask_num_bwd: without meaning here.

    Raises:
        ValueError: an unknown mode, or as `conv3d` has it.
    """
    if mode not in KMAP_MODES:
        raise ValueError(f"unknown mode: {mode!r}; wanted one of {', '.join(KMAP_MODES)}")
    size, step, pad = (make_ntuple(value, 3) for value in (kernel_size, stride, padding))
    kernel = Kernel(size, step, pad, (1, 1, 1), mode, downsample_mode)
    place, negative = Place.of(_coords, 3), get_allow_negative_coordinates()
    if input_node_num != len(place):
        raise ValueError(f"input_node_num is {input_node_num}; _coords has {len(place)} rows")
    within = None if spatial_range is None else make_ntuple(spatial_range, 4)
    place.check(within, negative)
    if generative:
        return maps.upwards(place, kernel, within, negative)
    if kernel.keeps_sites:
        return maps.around(place, kernel, within)
    return maps.downwards(place, kernel, within, negative)


def transpose_kernel_map(
    kmap: Any,
    ifsort: bool = False,
    training: bool = False,
    split_mask_num: int = 1,
    split_mask_num_bwd: int = 1,
) -> Any:
    """The same kernel map with "out_in_map_t" [N up to a multiple of 128, K], read backwards.

    Args:
        kmap: a kernel map with "out_in_map" and "sizes".
        ifsort, training, split_mask_num, split_mask_num_bwd: without meaning here.

    Raises:
        ValueError: there is no kernel map.
    """
    if kmap is None:
        raise ValueError(
            "kmap is None; wanted a kernel map, for instance of F.build_kernel_map; a transposed "
            "layer needs none from before"
        )
    rows = make_divisible(kmap["sizes"][0], TILE)
    kmap["out_in_map_t"] = convert_transposed_out_in_map(kmap["out_in_map"], rows)
    kmap["out_in_map_bwd_t"] = kmap["out_in_map"]
    return kmap
