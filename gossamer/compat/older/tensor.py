"""The tensor of spconv 1.x, whose features are assigned."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn

from gossamer.compat.spconv.pytorch import core


class SparseConvTensor(core.SparseConvTensor):
    """Features on the sites of a grid, in the order of rows its caller gave.

    Features may be assigned, and a SparseSequential assigns them too: what its first modules make
    of the features, its input has from then on, where those modules are not sparse. Tensors that
    come from one another share one `indice_dict`.

    Args:
        features: [N, C].
        indices: [N, 1+D] int32, (batch, axes). Rows may repeat.
        spatial_shape: D ints, in any sequence, array or tensor.
        batch_size: B.
        grid: kept as it is.

    Raises:
        AssertionError: features or indices are not two-dimensional, indices are not int32, the
            number of axes differs, batch_size is below 1.
    """

    def __init__(
        self,
        features: Tensor,
        indices: Tensor,
        spatial_shape: Sequence[int] | np.ndarray | Tensor,
        batch_size: int,
        grid: Tensor | None = None,
    ):
        super().__init__(features, indices, spatial_shape, batch_size, grid)

    @property
    def features(self) -> Tensor:
        """[N, C], in the order of `indices`."""
        return super().features

    @features.setter
    def features(self, value: Tensor) -> None:
        self._features = value

    @property
    def sparity(self) -> float:
        """The share of the grid's cells that have a row."""
        return self._count() / float(self.spatial_size) / self.batch_size

    def _mapped(self, links: Sequence[nn.Module]) -> tuple["SparseConvTensor", int]:
        new, taken = super()._mapped(links)
        self._values = new._values
        return self, taken
