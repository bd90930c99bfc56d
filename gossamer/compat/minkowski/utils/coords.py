"""Which sites of a tensor went into which of another."""

from torch import Tensor

from gossamer.compat.minkowski.MinkowskiSparseTensor import SparseTensor


def get_coords_map(x: SparseTensor, y: SparseTensor) -> tuple[Tensor, Tensor]:
    """The rows of `x` and, for each, the row of `y` whose voxel it lies in.

    Args:
        x: a tensor.
        y: one that strided layers made of it.

    Raises:
        AssertionError: the two have different coordinate managers.
    """
    assert x.coordinate_manager is y.coordinate_manager, (
        "x and y have different coordinate managers; wanted a y that layers made of x"
    )
    return x.coordinate_manager.stride_map(x.coordinate_map_key, y.coordinate_map_key)
