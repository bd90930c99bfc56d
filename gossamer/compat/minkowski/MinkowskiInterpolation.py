"""Features at points between sites."""

from typing import Any

from torch import Tensor

from gossamer.compat.coordmaps.fields import points_of
from gossamer.compat.coordmaps.key import CoordinateMapKey
from gossamer.compat.coordmaps.merging import weighed
from gossamer.compat.layers.graphs import outside_graphs
from gossamer.compat.minkowski.MinkowskiCommon import MinkowskiModuleBase
from gossamer.compat.minkowski.MinkowskiCoordinateManager import CoordinateManager, present
from gossamer.compat.minkowski.MinkowskiSparseTensor import SparseTensor
from gossamer.nn.located import located


class MinkowskiInterpolationFunction:
    """D-linear interpolation of a matrix of features, by key."""

    @staticmethod
    def apply(
        input_features: Tensor,
        tfield: Tensor,
        in_coordinate_map_key: CoordinateMapKey,
        coordinate_manager: CoordinateManager | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The features at points, and of each site that counts for one: row, point, weight.

        Args:
            input_features: [N, C], on the rows of the key.
            tfield: [P, 1+D] floating, (batch, axes).
            in_coordinate_map_key: the input's.
            coordinate_manager: its.

        Returns:
            [P, C]; and [Q] each, int64, int64 and floating. A corner without a site counts as 0,
            and the others weigh no more for that.
        """
        assert coordinate_manager is not None, "wanted the coordinate_manager of the key"
        points = points_of("tfield", tfield, coordinate_manager.D)
        rows, weights = coordinate_manager._atlas.around(in_coordinate_map_key.name, points)
        features = weighed(input_features, rows, weights)
        return features, *present(rows, weights.detach(), points.dtype)


class MinkowskiInterpolation(MinkowskiModuleBase):
    """Features at points, D-linear.

    Args:
        return_kernel_map: whether to give the rows and points that belong together.
        return_weights: whether to give their weights.
    """

    def __init__(self, return_kernel_map: bool = False, return_weights: bool = False):
        super().__init__()
        self.return_kernel_map, self.return_weights = return_kernel_map, return_weights
        self.interp = MinkowskiInterpolationFunction()

    def forward(self, input: SparseTensor, tfield: Tensor) -> Any:
        """[N, C] at points [P, 1+D] -> [P, C], or a tuple of that and what was asked for.

        Raises:
            TypeError, ValueError: the input is no SparseTensor, or the points are not finite, or
                not [P, 1+D].
        """
        return outside_graphs(self._interpolated, input, tfield)

    @located
    def _interpolated(self, x: SparseTensor, tfield: Tensor) -> Any:
        if not isinstance(x, SparseTensor):
            raise TypeError(f"input is a {type(x).__name__}; wanted a SparseTensor")
        place = x.coordinate_map_key, x._manager
        features, rows, points, weights = self.interp.apply(x.F, tfield, *place)
        asked: list[Any] = [features]
        if self.return_kernel_map:
            asked.append((rows, points))
        if self.return_weights:
            asked.append(weights)
        return tuple(asked) if len(asked) > 1 else features

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"
