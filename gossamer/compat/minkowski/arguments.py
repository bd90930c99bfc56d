"""What a tensor is given: what is wanted of it, and what to say otherwise."""

import warnings

import torch
from torch import Tensor

from gossamer import checks
from gossamer.compat.coordmaps.key import CoordinateMapKey
from gossamer.compat.coordmaps.kinds import MinkowskiAlgorithm
from gossamer.compat.minkowski.MinkowskiCoordinateManager import CoordinateManager
from gossamer.compat.minkowski.MinkowskiTensor import (
    SparseTensorOperationMode,
    SparseTensorQuantizationMode,
    global_coordinate_manager,
    set_global_coordinate_manager,
    sparse_tensor_operation_mode,
)


def check_given(
    features: Tensor,
    coordinates: Tensor | None,
    key: CoordinateMapKey | None,
    manager: CoordinateManager | None,
) -> None:
    """Refuse what is of the wrong kind, too much or too little to make a tensor of.

    Raises:
        AssertionError, TypeError, ValueError: see above.
    """
    if checks.tensor("features", features).ndim != 2:
        raise ValueError(f"features has shape {tuple(features.shape)}; wanted [N, C]")
    if manager is not None and not isinstance(manager, CoordinateManager):
        raise TypeError(
            f"coordinate_manager is a {type(manager).__name__}; wanted a CoordinateManager, for "
            "instance x.coordinate_manager"
        )
    if key is not None and not isinstance(key, CoordinateMapKey):
        raise TypeError(
            f"the key is a {type(key).__name__}; wanted a CoordinateMapKey, for instance "
            "x.coordinate_map_key"
        )
    if coordinates is None:
        if key is None or manager is None:
            raise ValueError(
                "wanted coordinates, or a coordinate map key together with its coordinate_manager"
            )
    elif key is not None:
        raise AssertionError(
            "both coordinates and a coordinate map key are given; wanted one of them"
        )
    elif not isinstance(coordinates, Tensor):
        raise TypeError(
            f"coordinates is a {type(coordinates).__name__}; wanted a tensor [N, 1 + D] with the "
            "batch index first; utils.batched_coordinates makes one of a list, a sample each"
        )


def check_mode(mode: SparseTensorQuantizationMode, *but: SparseTensorQuantizationMode) -> None:
    """Refuse what is no quantization mode, or one of `but`.

    Raises:
        AssertionError: it is.
    """
    wanted = [m.name for m in SparseTensorQuantizationMode if m not in but]
    assert isinstance(mode, SparseTensorQuantizationMode) and mode not in but, (
        f"quantization_mode is {mode}; wanted a SparseTensorQuantizationMode of {wanted}"
    )


def check_alike(features: Tensor, coordinates: Tensor) -> None:
    """Refuse features and coordinates of other lengths or on other devices.

    Raises:
        ValueError: they are.
    """
    if len(features) != len(coordinates):
        raise ValueError(
            f"features has {len(features)} rows and coordinates {len(coordinates)}; wanted as many"
        )
    if features.device != coordinates.device:
        raise ValueError(
            f"features is on {features.device} and coordinates on {coordinates.device}; wanted "
            "both on one device; give device= to move both"
        )


def check_rows(features: Tensor, rows: int, key: CoordinateMapKey) -> None:
    """Refuse another number of features than there are coordinates.

    Raises:
        ValueError: it is another.
    """
    if len(features) != rows:
        raise ValueError(f"features has {len(features)} rows; {key} has {rows} coordinates")


def manager_for(
    manager: CoordinateManager | None,
    coordinates: Tensor | None,
    algorithm: MinkowskiAlgorithm | None,
) -> CoordinateManager:
    """The manager of a tensor: the one that is given, the shared one, or a new one.

    Raises:
        ValueError: it is for another number of axes, or coordinates are no matrix.
    """
    columns = None if coordinates is None else coordinates.shape[1:]
    if columns is not None and (len(columns) != 1 or not 2 <= columns[0] <= 5):
        raise ValueError(
            f"coordinates has shape {tuple(coordinates.shape)}; wanted [N, 1 + D] with the batch "  # type: ignore[union-attr]
            "index first and D from 1 to 4"
        )
    shared = sparse_tensor_operation_mode() is SparseTensorOperationMode.SHARE_COORDINATE_MANAGER
    if manager is None and shared:
        manager = global_coordinate_manager()
    if manager is None:
        assert columns is not None  # or check_given would have raised
        manager = CoordinateManager(columns[0] - 1, minkowski_algorithm=algorithm)
        if shared:
            set_global_coordinate_manager(manager)
    if columns is not None and columns[0] != manager.D + 1:
        raise ValueError(
            f"coordinates has {columns[0]} columns and the coordinate manager is for "
            f"{manager.D} axes, so wanted {manager.D + 1}; use another manager, or "
            "clear_global_coordinate_manager() where it is the shared one"
        )
    return manager


def whole(coordinates: Tensor) -> Tensor:
    """Coordinates as integers; others are rounded down, with a warning.

    Raises:
        ValueError: a number is not finite.
    """
    if coordinates.dtype in (torch.int32, torch.int64):
        return coordinates
    if not coordinates.is_floating_point():
        return coordinates.int()
    checks.finite("coordinates", coordinates)
    if not torch.equal(coordinates, coordinates.floor()):
        warnings.warn(
            f"coordinates is {coordinates.dtype} and gets rounded down; say so yourself, "
            "coordinates.floor().int(), or use a TensorField for what lies between",
            stacklevel=4,
        )
    return coordinates.floor().long()
