"""Features of points from the eight cells around them."""

from itertools import product

import torch
from torch import Tensor

from gossamer.compat.layers.graphs import outside_graphs
from gossamer.ops.points import interpolate

# What keeps a point without any cell around it from a division by zero.
TINY = 1e-8


def trilinear_weights(places: Tensor, found: Tensor, edge: float = 1) -> Tensor:
    """[P, 8]: how much each corner of a point's cell counts, 0 where there is none.

    Those that exist share what the others would have had, so constants stay constant.

    Args:
        places: [P, 3] numbers.
        found: [P, 8] int, -1 where there is no cell; the last axis of the corner changes fastest.
        edge: of a cell, in the unit of `places`.

    Returns:
        float64 for such places, else float32; without gradients.

    Raises:
        ValueError: the shapes do not fit, or the edge is not above 0.
    """
    _check(places, found, edge)
    with torch.no_grad():
        # float32 holds a place's fraction only near 0, and places reach thousands of cells.
        inner = places.double() / edge
        inner = inner - inner.floor()
        steps = torch.tensor(list(product((0, 1), repeat=3)), device=places.device)
        weights = torch.where(steps == 1, inner.unsqueeze(1), 1 - inner.unsqueeze(1)).prod(2)
        weights = weights.where(found >= 0, 0)
        weights = weights / (weights.sum(1, keepdim=True) + TINY)
    return weights if places.dtype == torch.float64 else weights.float()


def _check(places: Tensor, found: Tensor, edge: float) -> None:
    if places.ndim != 2 or places.shape[1] != 3:
        raise ValueError(
            f"coords has shape {tuple(places.shape)}; wanted [P, 3], x, y and z without the batch"
        )
    if found.shape != (places.shape[0], 8):
        raise ValueError(
            f"idx_query has shape {tuple(found.shape)}; wanted the eight corners of each of "
            f"{places.shape[0]} points"
        )
    if not edge > 0:
        raise ValueError(f"scale is {edge}; wanted the edge of a cell, above 0")


def weighted_sum(features: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """[P, C]: the sum over j of weights[p, j] * features[rows[p, j]]; negative rows add nothing.

    Args:
        features: [N, C] floating.
        rows: [P, J] int.
        weights: [P, J] numbers.

    Raises:
        ValueError: rows and weights differ in shape, or a row is not below N.
    """
    return outside_graphs(_weighted_sum, features, rows, weights)


def _weighted_sum(features: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    if rows.ndim != 2 or rows.shape != weights.shape:
        raise ValueError(
            f"idx has shape {tuple(rows.shape)} and weights {tuple(weights.shape)}; wanted both "
            "alike, one line a point and one column a corner"
        )
    if rows.numel() and (most := int(rows.max())) >= features.shape[0]:
        raise ValueError(
            f"idx reaches {most}, and feats has {features.shape[0]} rows; wanted rows of feats, or "
            "-1; were the indices made for another tensor?"
        )
    return interpolate(features, weights.to(features.dtype), rows.long().clamp(min=-1))
