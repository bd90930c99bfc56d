"""Small inputs, the same in every process."""

import math

import torch
from torch import Tensor


def dice(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def voxels(shape: tuple[int, ...], count: int, batch: int = 2, seed: int = 0) -> Tensor:
    """[count * batch, 1+D] int32: distinct sites of one clump, in no order, scan after scan."""
    scans = []
    for scan in range(batch):
        rolls = dice(seed + scan)
        # A third of the grid on each axis, so that sites have neighbours.
        cell = tuple(max(4, size // 3) for size in shape)
        places = torch.randperm(math.prod(cell), generator=rolls)[:count]
        sites = torch.stack(torch.unravel_index(places, cell), dim=1)
        scans.append(torch.cat([torch.full((len(sites), 1), scan), sites], dim=1))
    return torch.cat(scans).int()


def features(rows: int, channels: int, seed: int = 7) -> Tensor:
    """[rows, channels] of the default dtype, in [0, 1)."""
    return torch.rand(rows, channels, generator=dice(seed))
