"""Sums of tensors on different sites."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import Module

from gossamer.compat.coordmaps.key import CoordinateMapKey
from gossamer.compat.coordmaps.merging import merged
from gossamer.compat.layers.graphs import outside_graphs
from gossamer.compat.minkowski.MinkowskiCoordinateManager import CoordinateManager
from gossamer.compat.minkowski.MinkowskiSparseTensor import SparseTensor
from gossamer.compat.minkowski.MinkowskiTensor import COORDINATE_MANAGER_DIFFERENT_ERROR
from gossamer.compat.rows.values import Values
from gossamer.nn.located import located


class MinkowskiUnionFunction:
    """The sum of matrices of features on the union of their coordinates, by keys."""

    @staticmethod
    def apply(
        in_coords_keys: Sequence[CoordinateMapKey],
        out_coords_key: CoordinateMapKey,
        coordinate_manager: CoordinateManager,
        *in_feats: Tensor,
    ) -> Tensor:
        """[M, C], on the rows of the output's key.

        Args:
            in_coords_keys: the inputs'.
            out_coords_key: a key without a name, which gets it.
            coordinate_manager: of all.
            in_feats: [N, C] each, on the rows of its key.

        Raises:
            AssertionError: fewer than two inputs, or not as many as keys.
            ValueError: the inputs differ in channels, or the output's key has a name.
        """
        assert len(in_feats) > 1, f"got {len(in_feats)} inputs; wanted two or more"
        assert len(in_feats) == len(in_coords_keys), (
            f"got {len(in_feats)} inputs and {len(in_coords_keys)} keys; wanted a key each"
        )
        widths = [features.shape[1] for features in in_feats]
        if len(set(widths)) > 1:
            raise ValueError(f"the inputs have {widths} channels; wanted as many in each")
        maps = coordinate_manager.union_map(in_coords_keys, out_coords_key)
        rows = coordinate_manager.size(out_coords_key)
        places = torch.cat([pairs[1] for pairs in maps])
        return merged(torch.cat(in_feats), places, rows, "sum")


class MinkowskiUnion(Module):
    """The sum of tensors, each counted as 0 where it has no site."""

    def __init__(self):
        super().__init__()
        self.union = MinkowskiUnionFunction()

    def forward(self, *inputs: SparseTensor) -> SparseTensor:
        """Tensors [N, C] -> [M, C], on sorted rows; on the first one's where all have its sites.

        Raises:
            AssertionError: fewer than two tensors; on different sites of different managers.
            TypeError: one is no SparseTensor.
            ValueError: they differ in channels.
        """
        assert len(inputs) > 1, f"got {len(inputs)} tensors; wanted two or more"
        return outside_graphs(self._united, inputs)

    @located
    def _united(self, inputs: Sequence[SparseTensor]) -> SparseTensor:
        for x in inputs:
            if not isinstance(x, SparseTensor):
                raise TypeError(f"an input is a {type(x).__name__}; wanted SparseTensors")
        first = inputs[0]
        if all(first._map.same_sites(x._map) for x in inputs[1:]):
            return sum(inputs[1:], start=first)
        for x in inputs[1:]:
            assert x._manager is first._manager, COORDINATE_MANAGER_DIFFERENT_ERROR
        key = CoordinateMapKey(first.D + 1)
        keys = [x.coordinate_map_key for x in inputs]
        total = self.union.apply(keys, key, first._manager, *(x.F for x in inputs))
        return first._moved(Values(total), key.name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"
