"""From points to voxels, in NumPy."""

from collections.abc import Sequence
from typing import Any

from gossamer.compat.torchsparse.utils import quantize

__all__ = ["sparse_quantize"]


def sparse_quantize(
    coords: Any,
    voxel_size: float | Sequence[float] = 1,
    *,
    return_index: bool = False,
    return_inverse: bool = False,
) -> Any:
    """The voxels that points lie in, each once, sorted, from the lowest on each axis on.

    Upstream shifts them so, and which voxels a strided layer puts together depends on it.
    Arguments, what else is returned and errors are those of 2.1's function.
    """
    voxels, *more = quantize.sparse_quantize(
        coords, voxel_size, return_index=True, return_inverse=True
    )
    voxels = voxels - voxels.min(axis=0) if len(voxels) else voxels
    wanted = [
        array for array, asked in zip(more, (return_index, return_inverse), strict=True) if asked
    ]
    return [voxels, *wanted] if wanted else voxels
