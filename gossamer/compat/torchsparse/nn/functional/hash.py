"""Hashes of voxels, alike on every device."""

from torch import Tensor

from gossamer.compat.pointcells.fnv import check_rows, fnv, shifted

__all__ = ["sphash"]


def sphash(coords: Tensor, offsets: Tensor | None = None) -> Tensor:
    """[N] int64: a hash of each row; with offsets [K, N], of each row moved by each of them.

    Args:
        coords: [N, 4] int, the batch index first.
        offsets: [K, 3] int, added to x, y and z.

    Raises:
        ValueError: the shapes are others.
        TypeError: coords or offsets are not int.
    """
    check_rows("coords", coords, 4)
    if offsets is None:
        return fnv(coords.unbind(1))
    return fnv(shifted(coords, check_rows("offsets", offsets, 3), (1, 2, 3)))
