"""Spatial helpers."""

from gossamer.compat.spconv.pytorch.core import SparseConvTensor
from gossamer.compat.spconv.pytorch.modules import SparseModule


class RemoveDuplicate(SparseModule):
    """Keeps of several rows at one site the first, in key order; there are no rulebooks after."""

    def forward(self, x: SparseConvTensor) -> SparseConvTensor:
        rows = x._place().sites.rows
        if not rows.repeat:
            return x
        kept = rows.first()
        return SparseConvTensor(
            x.features[kept], x.indices[kept], x.spatial_shape, x.batch_size, x.grid
        )
