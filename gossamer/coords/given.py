"""Coordinates as a caller gives them: what is wanted of them, and what to say otherwise."""

import torch
from torch import Tensor

from gossamer.checks import is_int, sample_range, tensor
from gossamer.errors import DuplicateSitesError


def check_rows(coords: Tensor) -> int:
    """D of `coords`, if they are int [N, 1 + D]."""
    if tensor("coords", coords).dtype not in (torch.int32, torch.int64):
        raise TypeError(
            f"coords is {coords.dtype}; wanted int32 or int64; floor positions to voxels first, "
            "for instance with gossamer.voxelize"
        )
    if coords.ndim != 2 or not 2 <= coords.shape[1] <= 5:
        raise ValueError(
            f"coords has shape {tuple(coords.shape)}; wanted [N, 1 + D] with the batch index first "
            "and D from 1 to 4"
        )
    return coords.shape[1] - 1


def batch_size_of(batch_size: int | None, least: int, most: int) -> int:
    """B, where batch indices lie in [least, most]."""
    if batch_size is None:
        batch_size = max(int(most >= least), most + 1)  # at least 1 where there are rows
    if not is_int(batch_size) or batch_size < 0:
        raise ValueError(f"batch_size is {batch_size!r}; wanted an int, 0 or more")
    sample_range("column 0 of coords, the batch,", least, most, batch_size)
    return batch_size


def report_duplicates(coords: Tensor, row: Tensor, order: Tensor) -> None:
    """Raise with two rows that are equal; `row` and `order` as in `Coords.under`."""
    repeated = (row[order].diff() == 0).nonzero()[0, 0]
    first, second = int(order[repeated]), int(order[repeated + 1])
    raise DuplicateSitesError(
        f"coords rows {first} and {second} are both {coords[first].tolist()}; wanted every site "
        "once; merge points that share a voxel with gossamer.voxelize"
    )
