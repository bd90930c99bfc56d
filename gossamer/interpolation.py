"""Features at places between sites: D-linear interpolation, and the site a place lies in."""

from itertools import product

import torch
from torch import Tensor

from gossamer import checks
from gossamer.coords import Coords
from gossamer.ops.conv import ACCUMULATOR
from gossamer.ops.keys import find, pack
from gossamer.ops.points import interpolate


def rows_at(sites: Coords, wanted: Tensor) -> Tensor:
    """int64 [...]: the row of each wanted (batch, axes) [..., 1+D] int64 among `sites`, or -1."""
    box = sites.box
    lower, upper = (wanted.new_tensor(corner) for corner in box.lists)
    place, sample = wanted[..., 1:], wanted[..., 0]
    inside = ((place >= lower) & (place < upper)).all(-1)
    inside = inside & (sample >= 0) & (sample < sites.batch_size)
    safe = torch.where(inside.unsqueeze(-1), wanted, 0)
    keys = pack(safe.flatten(0, -2), *box.lists).view(inside.shape)
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
    corners = base.long().unsqueeze(1) + steps  # [P, 2**D, D]
    sample = points[:, :1].detach().long()
    checks.samples("column 0 of points, the batch,", sample, sites.batch_size)
    sample = sample.unsqueeze(1).expand(-1, len(steps), 1)
    rows = rows_at(sites, torch.cat([sample, corners], dim=2))
    weights = torch.where(steps == 1, inner.unsqueeze(1), 1 - inner.unsqueeze(1)).prod(2)
    weights = torch.where(rows >= 0, weights, 0)
    if renormalize:
        weights = weights / weights.sum(1, keepdim=True).clamp(min=1e-12)
    return interpolate(features, weights.to(features.dtype), rows)
