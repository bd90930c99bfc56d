"""Leaving out sites."""

import torch
from torch import Tensor

from gossamer import checks
from gossamer.compat.coordmaps.key import CoordinateMapKey, Name
from gossamer.compat.coordmaps.merging import taken
from gossamer.compat.layers.graphs import outside_graphs
from gossamer.compat.minkowski.MinkowskiCommon import MinkowskiModuleBase
from gossamer.compat.minkowski.MinkowskiCoordinateManager import CoordinateManager
from gossamer.compat.minkowski.MinkowskiSparseTensor import SparseTensor
from gossamer.compat.rows.values import Values
from gossamer.nn.located import located


class MinkowskiPruningFunction:
    """The rows of a matrix of features that a mask keeps, by keys."""

    @staticmethod
    def apply(
        in_feat: Tensor,
        mask: Tensor,
        in_coords_key: CoordinateMapKey,
        out_coords_key: CoordinateMapKey | None = None,
        coords_manager: CoordinateManager | None = None,
    ) -> Tensor:
        """[M, C], on the rows of the output's key.

        Args:
            in_feat: [N, C], on the rows of the input's key.
            mask: [N] bool, the rows to keep.
            in_coords_key: the input's.
            out_coords_key: the output's; one without a name gets it, and in one that has a name
                the mask was said before.
            coords_manager: of both.
        """
        assert coords_manager is not None, "wanted the coords_manager of the keys"
        atlas, source = coords_manager._atlas, in_coords_key.name
        if out_coords_key is not None and out_coords_key.is_key_set():
            rows = atlas.at(source).find(atlas.at(out_coords_key.name).coordinates().long())
            return taken(in_feat, rows)
        mask = kept(mask, len(atlas.at(source)), in_feat.device)
        name = atlas.prune(source, mask)
        if out_coords_key is not None:
            out_coords_key.set_key(*name)
        return in_feat[mask]


def kept(mask: Tensor, rows: int, device: torch.device) -> Tensor:
    """`mask` as [N] bool on `device`.

    Raises:
        TypeError: it is no tensor of bools.
        ValueError: it has not N of them.
    """
    if checks.tensor("mask", mask).dtype not in (torch.bool, torch.uint8):
        raise TypeError(f"mask is {mask.dtype}; wanted torch.bool, for instance scores > 0")
    mask = mask.squeeze(1) if mask.ndim == 2 and mask.shape[1] == 1 else mask
    if mask.shape != (rows,):
        raise ValueError(f"mask has shape {tuple(mask.shape)}; wanted [{rows}], one bool a row")
    return mask.bool().to(device)


class MinkowskiPruning(MinkowskiModuleBase):
    """The rows that a mask keeps, in their order; there may be none."""

    def __init__(self):
        super().__init__()
        self.pruning = MinkowskiPruningFunction()

    def forward(self, input: SparseTensor, mask: Tensor) -> SparseTensor:
        """[N, C] -> [M, C].

        Args:
            input: the features.
            mask: [N] bool.

        Raises:
            TypeError, ValueError: the mask is no tensor of N bools.
        """
        return outside_graphs(self._pruned, input, mask)

    @located
    def _pruned(self, x: SparseTensor, mask: Tensor) -> SparseTensor:
        if not isinstance(x, SparseTensor):
            raise TypeError(f"input is a {type(x).__name__}; wanted a SparseTensor")
        atlas = x._manager._atlas
        mask = kept(mask, len(x), x.device)
        name = atlas.prune(x.coordinate_map_key.name, mask)
        return x._moved(self._left(x, mask, name), name)

    def _left(self, x: SparseTensor, mask: Tensor, name: Name) -> Values:
        rows = x._values.rows
        if rows is None:
            return Values(x.F[mask])
        on_sites = mask if rows.order is None else mask[rows.order]
        return Values(x._values.at_hand[on_sites], x._manager._atlas.at(name).rows)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"
