"""SparseTensor: features on integer coordinates that a coordinate manager knows."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor as Dense

from gossamer.compat.coordmaps.fields import points_of
from gossamer.compat.coordmaps.grids import Grid
from gossamer.compat.coordmaps.key import CoordinateMapKey, Name
from gossamer.compat.coordmaps.kinds import GPUMemoryAllocatorType, MinkowskiAlgorithm
from gossamer.compat.coordmaps.maps import CoordinateMap
from gossamer.compat.coordmaps.merging import HOW, merged, scattered, taken, weighed
from gossamer.compat.coordmaps.regions import ints
from gossamer.compat.minkowski.arguments import (
    check_alike,
    check_given,
    check_mode,
    check_rows,
    manager_for,
    whole,
)
from gossamer.compat.minkowski.MinkowskiCommon import StrideType
from gossamer.compat.minkowski.MinkowskiCoordinateManager import CoordinateManager
from gossamer.compat.minkowski.MinkowskiTensor import (
    COORDINATE_MANAGER_DIFFERENT_ERROR,
    SparseTensorQuantizationMode,
    Tensor,
)
from gossamer.compat.rows.sites import Rows
from gossamer.compat.rows.values import Values


class SparseTensor(Tensor):
    """Features on sites, in the caller's order, coordinates that come again left out.

    Args:
        features: [R, C] floating.
        coordinates: [R, 1+D], (batch, axes), whole numbers; or else a key and a manager.
        tensor_stride: what coordinates are multiples of, one int or D.
        coordinate_map_key: of coordinates that the manager knows.
        coordinate_manager: default: a new one, or the shared one.
        quantization_mode: what one coordinate makes of several rows; RANDOM_SUBSAMPLE takes the
            first.
        allocator_type: taken and not needed.
        minkowski_algorithm: kept by a new manager.
        requires_grad: whether the features want a gradient.
        device: where to put both.

    Attributes:
        unique_index: [N] int64, the first of the R rows at each coordinate.
        inverse_mapping: [R] int64, the row of each of the R rows.

    Raises:
        AssertionError, TypeError, ValueError: what was given does not fit together; the message
            says what.
    """

    unique_index: Dense | None
    inverse_mapping: Dense

    def __init__(
        self,
        features: Dense,
        coordinates: Dense | None = None,
        tensor_stride: StrideType = 1,
        coordinate_map_key: CoordinateMapKey | None = None,
        coordinate_manager: CoordinateManager | None = None,
        quantization_mode: SparseTensorQuantizationMode = (
            SparseTensorQuantizationMode.RANDOM_SUBSAMPLE
        ),
        allocator_type: GPUMemoryAllocatorType | None = None,
        minkowski_algorithm: MinkowskiAlgorithm | None = None,
        requires_grad: bool | None = None,
        device: torch.device | str | int | None = None,
    ):
        check_given(features, coordinates, coordinate_map_key, coordinate_manager)
        check_mode(quantization_mode)
        self.quantization_mode = quantization_mode
        if device is not None:
            features = features.to(device)
            coordinates = None if coordinates is None else coordinates.to(device)
        self._manager = manager_for(coordinate_manager, coordinates, minkowski_algorithm)
        self._D = self._manager.D
        if coordinates is not None:
            check_alike(features, coordinates)
            stride = ints("tensor_stride", tensor_stride, self._D, 0)
            features = self._placed(coordinates, features, stride)
        else:
            assert coordinate_map_key is not None  # or check_given would have raised
            self.coordinate_map_key = coordinate_map_key
            check_rows(features, len(self._map), coordinate_map_key)
        if requires_grad is not None:
            features.requires_grad_(requires_grad)
        self._values = Values(features)

    def _placed(self, coordinates: Dense, features: Dense, stride: tuple[int, ...]) -> Dense:
        """The features on the coordinates without repeats, which become this tensor's."""
        atlas, mode = self._manager._atlas, self.quantization_mode
        if mode is SparseTensorQuantizationMode.SPLAT_LINEAR_INTERPOLATION:
            return self._splatted(points_of("coordinates", coordinates, self._D), features)
        name, unique, back = atlas.insert(whole(coordinates), stride)
        self.unique_index = unique
        self.coordinate_map_key, self.inverse_mapping = CoordinateMapKey(*name), back
        repeat = len(unique) != len(back)
        if not repeat or mode is SparseTensorQuantizationMode.NO_QUANTIZATION:
            return features
        if mode is SparseTensorQuantizationMode.RANDOM_SUBSAMPLE:
            return features[unique]
        return merged(features, back, len(unique), HOW[mode.name])

    def _splatted(self, points: Dense, features: Dense) -> Dense:
        atlas = self._manager._atlas
        name = atlas.splat(points)
        self.coordinate_map_key, self.unique_index = CoordinateMapKey(*name), None
        rows, weights = atlas.around(name, points)
        self.inverse_mapping = rows[:, 0]
        return scattered(features, rows, weights, len(atlas.at(name)))

    @property
    def _map(self) -> CoordinateMap:
        return self._manager._atlas.at(self.coordinate_map_key.name)

    def _moved(self, values: Values, name: Name) -> "SparseTensor":
        """A tensor on another map of the same manager: how a layer makes its output."""
        new = SparseTensor.__new__(SparseTensor)
        new.quantization_mode = SparseTensorQuantizationMode.RANDOM_SUBSAMPLE
        new._manager, new._D, new._values = self._manager, self._D, values
        new.coordinate_map_key = CoordinateMapKey(*name)
        return new

    def _beside(self, other: Tensor) -> tuple[Dense, Dense, Rows | None] | None:
        mine, its = self._values, other._values
        if self._manager is other._manager and self.coordinate_map_key == other.coordinate_map_key:
            if mine.rows is None and its.rows is None:
                return mine.on_rows, its.on_rows, None
            rows = self._map.rows
            return mine.onto(rows, "first"), its.onto(rows, "first"), rows
        assert isinstance(other, SparseTensor)
        if not self._map.same_sites(other._map):
            return None
        rows, its_rows = self._map.rows, other._map.rows
        return mine.onto(rows, "first"), its.onto(its_rows, "first"), rows

    def _on_union(self, other: Tensor, function: Callable[[Dense, Dense], Dense]):
        """Rows only here stay as they are; rows only there are `function` of 0 and theirs."""
        assert self._manager is other._manager, COORDINATE_MANAGER_DIFFERENT_ERROR
        if self.shape[1] < other.shape[1]:
            raise ValueError(
                f"the operands have {self.shape[1]} and {other.shape[1]} channels on different "
                "sites; wanted as many in both, or one in the second"
            )
        names = [x.coordinate_map_key.name for x in (self, other)]
        name, (here, there) = self._manager._atlas.unite(names)
        rows = len(self._manager._atlas.at(name))
        mine, its = self.F, other.F
        dtype = torch.promote_types(mine.dtype, its.dtype)
        total = mine.new_zeros(rows, mine.shape[1], dtype=dtype)
        total = total.index_copy(0, here, mine.to(dtype))
        total = total.index_copy(0, there, function(total.index_select(0, there), its).to(dtype))
        return self._moved(Values(total), name)

    def sparse(
        self,
        min_coords: Dense | None = None,
        max_coords: Dense | None = None,
        contract_coords: bool = True,
    ) -> tuple[Dense, Dense, Dense]:
        """As a torch sparse tensor [B, axes, C].

        Args:
            min_coords: D ints, the first cell. Default: the smallest coordinate.
            max_coords: D ints, the last cell. Default: the largest coordinate.
            contract_coords: whether a cell is a tensor stride wide.

        Returns:
            the tensor; [1, D] int32 the first cell, in cells; [D] int32 the tensor stride.

        Raises:
            ValueError: a site outside, or a first or last cell that is no multiple of the tensor
                stride.
        """
        grid = Grid(self.C, tuple(self.tensor_stride), contract_coords)
        lowest = grid.lowest if min_coords is None else grid.corner("min_coords", min_coords)
        highest = None if max_coords is None else grid.corner("max_coords", max_coords)
        made = grid.sparse(self.F, lowest, highest)
        return made, grid.in_cells(lowest)[None], torch.IntTensor(self.tensor_stride)

    def dense(
        self,
        shape: Sequence[int] | None = None,
        min_coordinate: Dense | int | None = None,
        contract_stride: bool = True,
    ) -> tuple[Dense, Dense, Dense]:
        """As a dense tensor [B, C, axes], 0 where there is no site.

        Args:
            shape: of the result; its C is put right. Default: as large as need be.
            min_coordinate: D ints, the coordinate of the first cell. Default: the origin.
            contract_stride: whether a cell is a tensor stride wide.

        Returns:
            the tensor; [D] int32 the coordinate of its first cell; [D] int32 the tensor stride.

        Raises:
            ValueError: a site outside; or there is neither a shape nor a site.
        """
        grid = Grid(self.C, tuple(self.tensor_stride), contract_stride)
        lowest = grid.corner("min_coordinate", 0 if min_coordinate is None else min_coordinate)
        made = grid.dense(self.F, lowest, shape)
        return made, lowest, torch.IntTensor(self.tensor_stride)

    def features_at_coordinates(self, query_coordinates: Dense) -> Dense:
        """[P, C]: the features at points [P, 1+D] floating, (batch, axes), D-linear; 0 outside."""
        points = points_of("query_coordinates", query_coordinates, self._D)
        rows, weights = self._manager._atlas.around(self.coordinate_map_key.name, points)
        return weighed(self.F, rows, weights)

    def interpolate(self, X):
        """A TensorField of the features at the points of `X`."""
        return X._with(Values(self.features_at_coordinates(X.C)))

    def slice(self, X):
        """A TensorField of the features of the cell that each point of `X` lies in.

        Args:
            X: the TensorField, or the SparseTensor, that this one was computed from.

        Raises:
            ValueError: `X` lies on other sites, or was not made from coordinates.
        """
        if not isinstance(X, SparseTensor):
            return X._with(Values(taken(self.F, X.inverse_mapping(self.coordinate_map_key))))
        from gossamer.compat.minkowski.MinkowskiTensorField import TensorField

        back = self._row_of_given(X)
        return TensorField(
            taken(self.F, back), coordinates=self.C[back], coordinate_manager=self._manager
        )

    def cat_slice(self, X):
        """As `slice`, with the features of `X` behind them."""
        if not isinstance(X, SparseTensor):
            mine = self.slice(X)
            return X._with(Values(torch.cat([mine.F, X.F], 1)))
        mine = self.slice(X)
        return mine._with(Values(torch.cat([mine.F, taken(X.F, X.inverse_mapping)], 1)))

    def _row_of_given(self, X: "SparseTensor") -> Dense:
        """[R] int64: the row here of each row that `X` was made from."""
        if not hasattr(X, "inverse_mapping"):
            raise ValueError(
                "X was not made from coordinates, so there are no rows to go back to; slice with "
                "the tensor that the network was given"
            )
        if self._manager is X._manager and self.coordinate_map_key == X.coordinate_map_key:
            return X.inverse_mapping
        row = self._map.find(X.C.long())
        if (row < 0).any():
            raise ValueError(
                f"this tensor is on {self.coordinate_map_key} and X on {X.coordinate_map_key}, "
                "which has sites that are not here; slice at the resolution of X"
            )
        return row[X.inverse_mapping]


def _get_coordinate_map_key(
    input: SparseTensor,
    coordinates: Dense | CoordinateMapKey | SparseTensor | None = None,
    tensor_stride: StrideType = 1,
    expand_coordinates: bool = False,
) -> CoordinateMapKey:
    """The key that a layer's outputs go to; one without a name where nobody said where.

    Args:
        input: the layer's input, whose manager gets coordinates that it has not.
        coordinates: [N, 1+D] int, or a key, or a tensor on the sites that are wanted.
        tensor_stride: of coordinates that come as a tensor.
        expand_coordinates: whether the layer makes new sites in any case.

    Raises:
        TypeError: coordinates are something else.
    """
    if coordinates is None or expand_coordinates:
        return CoordinateMapKey(input._D + 1)
    if isinstance(coordinates, Dense):
        key, _ = input._manager.insert_and_map(coordinates, tensor_stride)
        return key
    if isinstance(coordinates, CoordinateMapKey):
        return coordinates
    if not isinstance(coordinates, SparseTensor):
        raise TypeError(
            f"coordinates is a {type(coordinates).__name__}; wanted a tensor [N, 1 + D], a "
            "CoordinateMapKey or a SparseTensor"
        )
    if coordinates._manager is not input._manager:
        name = input._manager._atlas.add(coordinates._map)
        return CoordinateMapKey(*name)
    return coordinates.coordinate_map_key
