"""TensorField: features on points between sites."""

import torch
from torch import Tensor as Dense

from gossamer.compat.coordmaps.fields import corners, points_of
from gossamer.compat.coordmaps.key import CoordinateMapKey, Name
from gossamer.compat.coordmaps.kinds import GPUMemoryAllocatorType, MinkowskiAlgorithm
from gossamer.compat.coordmaps.merging import HOW, merged, scattered, taken
from gossamer.compat.coordmaps.regions import ints
from gossamer.compat.minkowski.arguments import (
    check_alike,
    check_given,
    check_mode,
    check_rows,
    manager_for,
)
from gossamer.compat.minkowski.MinkowskiCommon import StrideType
from gossamer.compat.minkowski.MinkowskiCoordinateManager import CoordinateManager
from gossamer.compat.minkowski.MinkowskiSparseTensor import SparseTensor
from gossamer.compat.minkowski.MinkowskiTensor import SparseTensorQuantizationMode, Tensor
from gossamer.compat.rows.sites import Rows
from gossamer.compat.rows.values import Values

_SPLAT = SparseTensorQuantizationMode.SPLAT_LINEAR_INTERPOLATION
_NONE = SparseTensorQuantizationMode.NO_QUANTIZATION


def create_splat_coordinates(coordinates: Dense) -> Dense:
    """[P * 2**D, 1+D] int32: the places around each point, of which some come several times."""
    return corners(points_of("coordinates", coordinates, coordinates.shape[1] - 1)).int()


class TensorField(Tensor):
    """Features on points, one row each, in the caller's order.

    Args:
        features: [P, C] floating.
        coordinates: [P, 1+D], (batch, axes), any numbers; or else a key and a manager.
        tensor_stride: one int or D.
        coordinate_field_map_key: of points that the manager knows.
        coordinate_manager: default: a new one, or the shared one.
        quantization_mode: what `sparse` makes of several points in one cell.
        allocator_type: taken and not needed.
        minkowski_algorithm: kept by a new manager.
        requires_grad: whether the features want a gradient.
        device: where to put both.

    Raises:
        TypeError, ValueError: what was given does not fit together; the message says what.
    """

    _key_name = "coordinate_field_map_key"

    def __init__(
        self,
        features: Dense,
        coordinates: Dense | None = None,
        tensor_stride: StrideType = 1,
        coordinate_field_map_key: CoordinateMapKey | None = None,
        coordinate_manager: CoordinateManager | None = None,
        quantization_mode: SparseTensorQuantizationMode = (
            SparseTensorQuantizationMode.UNWEIGHTED_AVERAGE
        ),
        allocator_type: GPUMemoryAllocatorType | None = None,
        minkowski_algorithm: MinkowskiAlgorithm | None = None,
        requires_grad: bool | None = None,
        device: torch.device | str | int | None = None,
    ):
        check_given(features, coordinates, coordinate_field_map_key, coordinate_manager)
        check_mode(quantization_mode, _SPLAT, _NONE)
        self.quantization_mode = quantization_mode
        if device is not None:
            features = features.to(device)
            coordinates = None if coordinates is None else coordinates.to(device)
        self._manager = manager_for(coordinate_manager, coordinates, minkowski_algorithm)
        self._D = self._manager.D
        if coordinates is not None:
            check_alike(features, coordinates)
            self.coordinate_field_map_key = self._manager.insert_field(
                coordinates, ints("tensor_stride", tensor_stride, self._D, 1)
            )
            self._said = coordinates
        else:
            assert coordinate_field_map_key is not None  # or check_given would have raised
            self.coordinate_field_map_key = coordinate_field_map_key
            points = self._manager._atlas.field(coordinate_field_map_key.name)
            check_rows(features, len(points), coordinate_field_map_key)
        if requires_grad is not None:
            features.requires_grad_(requires_grad)
        self._values = Values(features)
        self._inverse_mapping: dict[CoordinateMapKey, Dense] = {}

    @property
    def coordinate_key(self) -> CoordinateMapKey:
        """The key of the points."""
        return self.coordinate_field_map_key

    def _get_coordinates(self) -> Dense:
        return self._manager.get_coordinate_field(self.coordinate_field_map_key)

    def _rows_by_sample(self) -> list[Dense]:
        return self._manager.origin_field_map(self.coordinate_field_map_key)[1]

    def _beside(self, other: Tensor) -> tuple[Dense, Dense, Rows | None] | None:
        same = self._manager is other._manager and self.coordinate_key == other.coordinate_key
        if same or (self.C.shape == other.C.shape and torch.equal(self.C, other.C)):
            return self.F, other.F, None
        return None

    def sparse(
        self,
        tensor_stride: StrideType = 1,
        coordinate_map_key: CoordinateMapKey | None = None,
        quantization_mode: SparseTensorQuantizationMode | None = None,
    ) -> SparseTensor:
        """The cells that points lie in, and what they make of their points.

        Args:
            tensor_stride: the edge of a cell, one int or D.
            coordinate_map_key: the cells to use, in place of those that have points; points in no
                cell do not count, and a cell without points is 0.
            quantization_mode: default: the field's.
        """
        mode = self.quantization_mode if quantization_mode is None else quantization_mode
        check_mode(mode, _SPLAT, _NONE)
        field, atlas = self.coordinate_field_map_key.name, self._manager._atlas
        if coordinate_map_key is None:
            stride = ints("tensor_stride", tensor_stride, self._D, 1)
            coordinate_map_key = CoordinateMapKey(*atlas.voxels(field, stride))
        name = coordinate_map_key.name
        row = atlas.row_of_point(field, name)
        self._inverse_mapping[coordinate_map_key] = row
        rows = len(atlas.at(name))
        if mode is SparseTensorQuantizationMode.RANDOM_SUBSAMPLE:
            features = taken(self.F, _first(row, rows))
        else:
            features = merged(self.F, row, rows, HOW[mode.name])
        return self._on(features, name, mode)

    def splat(self) -> SparseTensor:
        """The 2**D places around each point, with the features that lie near, D-linear."""
        atlas, points = self._manager._atlas, self._get_coordinates()
        name = atlas.splat(points)
        rows, weights = atlas.around(name, points)
        return self._on(scattered(self.F, rows, weights, len(atlas.at(name))), name, _SPLAT)

    def _on(self, features: Dense, name: Name, mode: SparseTensorQuantizationMode) -> SparseTensor:
        key = CoordinateMapKey(*name)
        new = SparseTensor(features, coordinate_map_key=key, coordinate_manager=self._manager)
        new.quantization_mode = mode
        return new

    def inverse_mapping(self, sparse_tensor_map_key: CoordinateMapKey) -> Dense:
        """[P] int64: the row of a map in whose cell each point lies, or -1 where it has none."""
        if sparse_tensor_map_key not in self._inverse_mapping:
            names = self.coordinate_field_map_key.name, sparse_tensor_map_key.name
            row = self._manager._atlas.row_of_point(*names)
            self._inverse_mapping[sparse_tensor_map_key] = row
        return self._inverse_mapping[sparse_tensor_map_key]


def _first(row: Dense, rows: int) -> Dense:
    """[N] int64: the first of the points that go to each row, or -1."""
    count = len(row)
    numbers = torch.arange(count, device=row.device)
    there = row >= 0
    first = row.new_full((rows,), count).scatter_reduce(0, row[there], numbers[there], "amin")
    return torch.where(first < count, first, -1)
