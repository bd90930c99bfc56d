"""The cells that points lie in: which ones there are, and which point lies in which."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gossamer.compat.minkowski.MinkowskiCommon import convert_to_int_list
from gossamer.ops.keys import unique

Array = np.ndarray | Tensor
INT32 = np.iinfo(np.int32)


def fnv_hash_vec(arr: np.ndarray) -> np.ndarray:
    """[N] uint64: the FNV-64 hash of each row of whole numbers [N, D]."""
    _check_matrix("arr", arr)
    columns = arr.astype(np.int64) if arr.dtype.kind == "f" else arr
    hashes = np.full(len(arr), 14695981039346656037, dtype=np.uint64)
    for column in columns.astype(np.uint64).T:
        hashes = (hashes * np.uint64(1099511628211)) ^ column
    return hashes


def ravel_hash_vec(arr: np.ndarray) -> np.ndarray:
    """[N] uint64: the place of each row of whole numbers [N, D] in the box around them.

    The last column counts fastest. Rows have the same number if and only if they are equal, as
    long as the box has fewer than 2**64 cells.
    """
    _check_matrix("arr", arr)
    if not len(arr):
        return np.zeros(0, dtype=np.uint64)
    wide = arr.astype(np.int64) if arr.dtype.kind == "i" else arr
    cells = (wide - wide.min(0)).astype(np.uint64)
    sizes = cells.max(0) + np.uint64(1)
    places = np.zeros(len(arr), dtype=np.uint64)
    for column, size in zip(cells.T, sizes, strict=True):
        places = places * size + column
    return places


def quantize(coords: Array) -> tuple[Any, Any]:
    """The first row of each cell, and the cell of each row.

    Args:
        coords: [N, D] int32 array, or a tensor of ints.

    Returns:
        unique_map: [U], rows in ascending order; int32 in an array, int64 in a tensor.
        inverse_map: [N], `coords[unique_map][inverse_map]` is `coords`.
    """
    maps = _distinct(_as_tensor(coords))
    return tuple(_like(coords, x) for x in maps)  # type: ignore[return-value]


def quantize_label(coords: Array, labels: Array, ignore_label: int) -> tuple[Any, Any, Any]:
    """What `quantize` returns, and the label of each cell.

    Args:
        coords: [N, D] ints.
        labels: [N] or [N, 1] ints.
        ignore_label: what a cell gets whose rows have different labels.
    """
    unique_map, inverse_map = _distinct(_as_tensor(coords))
    of_cells = _agreed(labels, unique_map, inverse_map, ignore_label)
    return tuple(_like(coords, x) for x in (unique_map, inverse_map, of_cells))  # type: ignore


def sparse_quantize(
    coordinates: Array,
    features: Array | None = None,
    labels: Array | None = None,
    ignore_label: int = -100,
    return_index: bool = False,
    return_inverse: bool = False,
    return_maps_only: bool = False,
    quantization_size: float | Sequence[float] | Array | None = None,
    device: torch.device | str = "cpu",
) -> Any:
    """The cells that points lie in, and the features and labels of these.

    Args:
        coordinates: [N, D], rounded down; a column with the number of the sample may be among them.
        features: [N, C]; a cell has those of its first point.
        labels, ignore_label: [N] or [N, 1] ints, and what a cell gets whose points differ.
        return_index, return_inverse: whether to return the maps.
        return_maps_only: whether to return the maps and nothing else.
        quantization_size: the edge of a cell, or one for each column. Default: 1.
        device: where cells and maps are to lie, if there are no labels.

    Returns:
        cells: [U, D] int32, in the order of their first points; a tensor, but for arrays with
            labels. Then the features [U, C] and the labels [U] of cells, where they were given.
        unique_map: [U] int64, the first point of each cell, with `return_index`.
        inverse_map: [N] int64, the cell of each point, with `return_inverse`.

    Raises:
        AssertionError: an argument has another type or number of rows, or `return_inverse` comes
            without `return_index`.
        ValueError: no cell is at a coordinate, an edge is not positive, or another device.
    """
    _check_alike(coordinates, features, labels)
    assert return_index or return_maps_only or not return_inverse, (
        "return_inverse is set and return_index is not; wanted both"
    )
    place, cells = _device(device), _cells(coordinates, quantization_size)
    cells, given = (cells.to(place), cells) if labels is None else (cells, coordinates)
    unique_map, inverse_map = _distinct(cells)
    maps = _like(given, unique_map), _like(given, inverse_map)
    if return_maps_only:
        return maps if return_inverse else maps[0]
    results = [_like(given, cells[unique_map])]
    if features is not None:
        results.append(_taken(features, unique_map))
    if labels is not None:
        results.append(_like(given, _agreed(labels, unique_map, inverse_map, ignore_label)))
    results += maps[: return_index + return_inverse]
    return results[0] if len(results) == 1 else tuple(results)


def unique_coordinate_map(
    coordinates: Tensor, tensor_stride: int | Sequence[int] | np.ndarray = 1
) -> tuple[Tensor, Tensor]:
    """The first row of each distinct coordinate, and for each row the number of its coordinate.

    Args:
        coordinates: [N, 1+D] ints, batch first.
        tensor_stride: an int, or D; coordinates are taken as they are.

    Returns:
        unique_map: [U] int64, in ascending order.
        inverse_map: [N] int64.
    """
    assert isinstance(coordinates, Tensor), (
        f"coordinates is {type(coordinates).__name__}; wanted a tensor"
    )
    _check_matrix("coordinates", coordinates)
    convert_to_int_list(tensor_stride, coordinates.shape[1] - 1)
    return _distinct(coordinates)


def _check_matrix(name: str, array: Any) -> None:
    assert array.ndim == 2, f"{name} is {list(array.shape)}; wanted [N, D]"


def _check_alike(coordinates: Any, features: Any, labels: Any) -> None:
    assert isinstance(coordinates, (np.ndarray, Tensor)), (
        f"coordinates is {type(coordinates).__name__}; wanted a tensor or a NumPy array"
    )
    _check_matrix("coordinates", coordinates)
    assert features is None or features.ndim == 2, (
        f"features is {list(features.shape)}; wanted [N, C]"
    )
    for name, given in (("features", features), ("labels", labels)):
        assert given is None or len(given) == len(coordinates), (
            f"{name} has {len(given)} rows and coordinates {len(coordinates)}; wanted as many"
        )


def _device(device: torch.device | str) -> torch.device:
    kind = torch.device(device) if isinstance(device, (str, torch.device)) else None
    if kind is None or kind.type not in ("cpu", "cuda"):
        raise ValueError(f"device is {device!r}; wanted 'cpu', 'cuda' or a torch.device of these")
    return kind


def _cells(coordinates: Array, edge: Any) -> Tensor:
    """[N, D] int32: coordinates in edges, rounded down."""
    if edge is not None:
        coordinates = coordinates / _edges(coordinates, edge)
    cells = _as_tensor(coordinates)
    if cells.is_floating_point():
        if not bool(cells.isfinite().all()):
            raise ValueError("coordinates has numbers that are not finite; drop those points first")
        cells = cells.double().floor()
    if cells.numel() and not INT32.min <= cells.min() <= cells.max() <= INT32.max:
        raise ValueError(
            f"cells reach from {cells.min():.4g} to {cells.max():.4g}; wanted int32; move the "
            "coordinates towards the origin, or take a larger quantization_size"
        )
    return cells.int()


def _edges(coordinates: Array, edge: Any) -> Any:
    if not np.isscalar(edge):
        if not isinstance(edge, (Sequence, np.ndarray, Tensor)):
            raise ValueError(
                f"quantization_size is {type(edge).__name__}; wanted a number, or one a column"
            )
        columns = coordinates.shape[1]
        assert len(edge) == columns, (
            f"quantization_size has {len(edge)} entries; coordinates have {columns} columns"
        )
        # float32 for tensors and float64 for arrays, as upstream divides.
        edge = [float(x) for x in edge]
        is_array = isinstance(coordinates, np.ndarray)
        edge = np.array(edge) if is_array else torch.tensor(edge, device=coordinates.device)  # type: ignore[union-attr]
    if not bool(np.all(np.asarray(edge.cpu() if isinstance(edge, Tensor) else edge) > 0)):
        raise ValueError(f"quantization_size is {edge}; wanted numbers above 0")
    return edge


def _distinct(cells: Tensor) -> tuple[Tensor, Tensor]:
    """The first row of each distinct one [U], ascending, and the number of each row's [N]."""
    if not cells.numel():
        rows = torch.arange(min(len(cells), 1), device=cells.device)
        return rows, torch.zeros(len(cells), dtype=torch.int64, device=cells.device)
    _, kind, order = unique(_keys(cells.long()))
    # `order` lists the rows of a kind as they came, so the first one has another kind before it.
    begins = torch.ones_like(order, dtype=torch.bool)
    begins[1:] = kind[order].diff() != 0
    first_of_kind = order[begins]
    comes_first = torch.zeros_like(begins)
    comes_first[first_of_kind] = True
    number = comes_first.cumsum(0) - 1
    return comes_first.nonzero().squeeze(1), number[first_of_kind][kind]


def _keys(cells: Tensor) -> Tensor:
    """[N] int64, different for different rows [N, D] and for no others."""
    low = cells.amin(0)
    sizes = (cells.amax(0) - low + 1).tolist()
    keys, filled = cells.new_zeros(len(cells)), 1
    for column, size in zip((cells - low).T, sizes, strict=True):
        if filled * size >= 1 << 63:
            # What there is so far, numbered anew, needs no more digits than there are rows.
            kinds, keys, _ = unique(keys)
            filled = len(kinds)
        if filled * size >= 1 << 63:
            kinds, column, _ = unique(column.contiguous())
            size = len(kinds)
        keys, filled = keys * size + column, filled * size
    return keys


def _agreed(given: Array, unique_map: Tensor, inverse_map: Tensor, ignored: int) -> Tensor:
    """[U] int64: the label of each cell's rows, or `ignored` where they have several.

    Args:
        given: [N] or [N, 1].
    """
    labels = _as_tensor(given).long().flatten()
    assert len(labels) == len(given), f"labels is {list(given.shape)}; wanted [N] or [N, 1]"
    first = labels[unique_map]
    of_cells = first.clone()
    of_cells[inverse_map[labels != first[inverse_map]]] = int(ignored)
    return of_cells


def _as_tensor(array: Array) -> Tensor:
    if isinstance(array, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(array))
    assert isinstance(array, Tensor), (
        f"got {type(array).__name__}; wanted tensors, or NumPy arrays, in all arguments"
    )
    return array


def _like(given: Array, result: Tensor) -> Array:
    """`result` in the container of `given`; upstream's arrays are of int32."""
    return result.int().numpy() if isinstance(given, np.ndarray) else result


def _taken(features: Array, rows: Tensor) -> Array:
    if isinstance(features, np.ndarray):
        return features[rows.cpu().numpy()]
    return features[rows.to(features.device)]
