"""What a sample has as a whole, brought to each of its sites."""

from typing import Any

import torch
from torch import Tensor

from gossamer.compat.coordmaps.kinds import BroadcastMode
from gossamer.compat.layers.passing import written
from gossamer.compat.minkowski.MinkowskiCommon import MinkowskiModuleBase
from gossamer.compat.minkowski.MinkowskiSparseTensor import SparseTensor
from gossamer.compat.minkowski.rowwise import located
from gossamer.compat.rows.samples import spread
from gossamer.coords import Coords

ADDITION = BroadcastMode.ELEMENTWISE_ADDITON
MULTIPLICATION = BroadcastMode.ELEMENTWISE_MULTIPLICATION


def _broadcast(features: Tensor, at_sites: Tensor, operation_type: BroadcastMode) -> Tensor:
    if features.shape[1] != at_sites.shape[1]:
        raise ValueError(
            f"input has {features.shape[1]} channels and input_glob {at_sites.shape[1]}; wanted as "
            "many in both"
        )
    return features + at_sites if operation_type is ADDITION else features * at_sites


class MinkowskiBroadcastFunction:
    """The sum or product of rows and what their samples have, where a Function is wanted."""

    @staticmethod
    def apply(
        input_features: Tensor,
        input_features_global: Tensor,
        operation_type: BroadcastMode,
        in_coords_key: Any,
        glob_coords_key: Any,
        coords_manager: Any,
    ) -> Tensor:
        """[N, C].

        Args:
            input_features: [N, C].
            input_features_global: [S, C].
            operation_type: a `BroadcastMode`.
            in_coords_key, glob_coords_key: where the rows of both lie, in `coords_manager`.
            coords_manager: a `CoordinateManager`.

        Raises:
            ValueError: numbers of channels differ, or a sample has no row of its own, or several.
        """
        _check_mode(operation_type)
        found = coords_manager._atlas.at(in_coords_key.name)
        batch = coords_manager.get_coordinates(glob_coords_key)[:, 0]
        at_sites = _spread(input_features_global, batch, found.sites.coords)
        return _broadcast(input_features, found.rows.back(at_sites), operation_type)


class MinkowskiBroadcastBase(MinkowskiModuleBase):
    """Rows by an operation with what their samples have.

    Args:
        operation_type: a `BroadcastMode`.
    """

    def __init__(self, operation_type: BroadcastMode):
        super().__init__()
        _check_mode(operation_type)
        self.operation_type = operation_type
        self.broadcast = MinkowskiBroadcastFunction()

    @located
    def forward(self, input: SparseTensor, input_glob: SparseTensor) -> SparseTensor:
        """The sites of `input`.

        Args:
            input: of C channels.
            input_glob: of as many, one row a sample, as global pooling makes it.

        Raises:
            AssertionError: one of them is no SparseTensor.
            ValueError: numbers of channels differ, or a sample of `input` has no row, or several.
        """
        _check_sparse(input, input_glob)
        at_sites, rows = _to_sites(input, input_glob), input._map.rows
        features = input._values.onto(rows, "first")
        return input._with(written(_broadcast(features, at_sites, self.operation_type), rows))

    def __repr__(self) -> str:
        return type(self).__name__


class MinkowskiBroadcastAddition(MinkowskiBroadcastBase):
    """Adds to each row what its sample has."""

    def __init__(self):
        super().__init__(ADDITION)


class MinkowskiBroadcastMultiplication(MinkowskiBroadcastBase):
    """Multiplies each row by what its sample has."""

    def __init__(self):
        super().__init__(MULTIPLICATION)


class MinkowskiBroadcast(MinkowskiModuleBase):
    """Gives each row what its sample has, in place of its own features."""

    @located
    def forward(self, input: SparseTensor, input_glob: SparseTensor) -> SparseTensor:
        """The sites of `input` with the features of `input_glob`, one row a sample."""
        _check_sparse(input, input_glob)
        return input._with(written(_to_sites(input, input_glob), input._map.rows))

    def __repr__(self) -> str:
        return type(self).__name__


class MinkowskiBroadcastConcatenation(MinkowskiBroadcast):
    """Puts what a sample has behind the features of each of its rows."""

    @located
    def forward(self, input: SparseTensor, input_glob: SparseTensor) -> SparseTensor:
        """The sites of `input` with the channels of both; `input_glob` has one row a sample."""
        _check_sparse(input, input_glob)
        at_sites, rows = _to_sites(input, input_glob), input._map.rows
        both = torch.cat([input._values.onto(rows, "first"), at_sites], dim=1)
        return input._with(written(both, rows))


def _to_sites(input: SparseTensor, input_glob: SparseTensor) -> Tensor:
    return _spread(input_glob.F, input_glob.C[:, 0], input._map.sites.coords)


def _spread(vectors: Tensor, batch: Tensor, sites: Coords) -> Tensor:
    samples, counts = batch.unique(return_counts=True)
    if len(samples) != len(batch):
        several = samples[counts > 1].tolist()
        raise ValueError(
            f"input_glob has several rows for the samples {several}; wanted one a sample, as "
            "MinkowskiGlobalPooling makes them"
        )
    return spread(vectors, batch, sites)


def _check_sparse(input: Any, input_glob: Any) -> None:
    for name, given in (("input", input), ("input_glob", input_glob)):
        assert isinstance(given, SparseTensor), (
            f"{name} is {type(given).__name__}; wanted a SparseTensor"
        )


def _check_mode(operation_type: Any) -> None:
    assert isinstance(operation_type, BroadcastMode), (
        f"operation_type is {operation_type!r}; wanted a BroadcastMode"
    )
