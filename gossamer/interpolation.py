"""Features at places between sites: D-linear interpolation, and the site a place lies in."""

from itertools import product
from math import prod

import torch
from torch import Tensor

from gossamer import checks
from gossamer.coords import Coords
from gossamer.ops.conv import ACCUMULATOR
from gossamer.ops.keys import find
from gossamer.ops.points import interpolate


def rows_at(sites: Coords, sample: Tensor, cell: Tensor, steps: Tensor) -> Tensor:
    """[P, J] int64: the row of the site at each cell plus each step, or -1 where there is none.

    Args:
        sites: N sites.
        sample: [P] int64, of each cell, in [0, batch_size).
        cell: [P, D] int64.
        steps: [J, D] int64, each 0 or 1.
    """
    lower, upper = (cell.new_tensor(corner) for corner in sites.box.lists)
    size, place = upper - lower, cell - lower
    # Keys are row-major, so a step adds the same to all of them: no key a corner is put together.
    cells = [prod((size[axis:]).tolist()) for axis in range(sites.ndim + 1)]
    strides = cell.new_tensor(cells[1:])
    keys = (sample * cells[0] + (place * strides).sum(1)).unsqueeze(1) + (steps * strides).sum(1)
    inside = torch.ones_like(keys, dtype=torch.bool)
    for axis, extent in enumerate(size.tolist()):
        here = place[:, axis : axis + 1]
        either = torch.cat([(here >= 0) & (here < extent), (here >= -1) & (here < extent - 1)], 1)
        inside &= either.index_select(1, steps[:, axis])
    return find(sites.keys(), torch.where(inside, keys, -1))  # no site has key -1


def at_places(sites: Coords, features: Tensor, points: Tensor, *, renormalize: bool) -> Tensor:
    """[P, C]: the features at `points`, from the 2**D sites around each.

    Args:
        sites: N sites.
        features: [N, C], theirs.
        points: [P, 1+D] floating, (batch, axes), in voxels; a whole number is a site's own place.
        renormalize: divide by the weight of the corners that exist, so that constants stay
            constant at the edge; otherwise absent corners count as zero.

    Raises:
        ValueError: points are not [P, 1+D], not finite, or of a sample that there is not.
    """
    checks.finite("points", checks.floating("points", points, 2))
    if points.shape[1] != sites.ndim + 1:
        raise ValueError(
            f"points has shape {tuple(points.shape)}; wanted [P, {sites.ndim + 1}], the batch "
            "index first"
        )
    # float32 holds voxel numbers only up to 2**24, half types far fewer.
    base = points[:, 1:].detach().double().floor()
    wide = ACCUMULATOR.get(features.dtype, features.dtype)
    inner = (points[:, 1:].double() - base).to(wide)  # [P, D] in [0, 1)
    steps = torch.tensor(list(product((0, 1), repeat=sites.ndim)), device=points.device)
    sample = points[:, 0].detach().long()
    checks.samples("column 0 of points, the batch,", sample, sites.batch_size)
    rows = rows_at(sites, sample, base.long(), steps)
    weights = torch.where(steps == 1, inner.unsqueeze(1), 1 - inner.unsqueeze(1)).prod(2)
    weights = torch.where(rows >= 0, weights, 0)
    if renormalize:
        weights = weights / weights.sum(1, keepdim=True).clamp(min=1e-12)
    return interpolate(features, weights.to(features.dtype), rows)
