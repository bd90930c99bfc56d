"""Cells that stand on one another, seen from above."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gossamer.compat.rows.samples import by_sample
from gossamer.compat.rows.sites import Sites
from gossamer.nn.product import multiply
from gossamer.ops.keys import unique
from gossamer.ops.rows import onto_grid
from gossamer.rulebook import Rulebook


def merged(indices: Tensor, samples: int) -> tuple[Tensor, Tensor]:
    """Rows without repeats, and where each one went.

    Args:
        indices: [N, 1+D] int, batch first.
        samples: B.

    Returns:
        rows: [M, 1+D] int32, sorted, unique.
        group: [N] int64, the row of each index.
    """
    sites = Sites.of(indices.int().contiguous(), None, samples)
    group = sites.rows.site
    if group is None:
        group = torch.arange(len(indices), device=indices.device)
    return sites.coords.rows, group


def grouped(features: Tensor, group: Tensor, groups: int, how: str) -> Tensor:
    """[M, C]: the "sum", "mean" or "max" of the rows of each group.

    Args:
        features: [N, C].
        group: [N] int64.
        groups: M.
        how: one of the three.
    """
    return by_sample(group, groups).reduce(features, how)


def flattened(
    features: Tensor,
    height: Tensor,
    group: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    groups: int,
) -> Tensor:
    """[M, C_out]: over the rows of each group, the sum of features @ weight[height] + bias.

    Args:
        features: [N, C_in].
        height: [N] int64, which of the K weights.
        group: [N] int64, in [0, groups).
        weight: [K, C_in, C_out].
        bias: [1, C_out], which counts once a row.
        groups: M.

    Raises:
        ValueError: there is no weight for a height.
    """
    least, most = (int(height.min()), int(height.max())) if len(height) else (0, -1)
    if least < 0 or most >= len(weight):
        raise ValueError(
            f"heights go from {least} to {most}, and there are {len(weight)} kernels; wanted "
            "coordinates from 0 on, one kernel each"
        )
    rows = torch.arange(len(group), device=group.device)
    triples = torch.stack([height, rows, group], dim=1)
    rulebook = Rulebook.of_triples(triples, len(weight), len(group), groups)
    y = multiply(features, rulebook, weight, None)
    if bias is None:
        return y
    return y + torch.bincount(group, minlength=groups).unsqueeze(1).to(y.dtype) * bias.to(y.dtype)


def numbered(columns: Sequence[Tensor], shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The cells of a dense grid that rows lie in, and which row lies in which.

    Args:
        columns: 1+D of [N] int64, batch first.
        shape: D cells an axis.

    Returns:
        cells: [M] int64, sorted: batch * cells of a sample + cell, row-major.
        group: [N] int64, the row of `cells`.

    Raises:
        ValueError: a row lies outside of the grid.
    """
    number, *axes = columns
    for axis, (column, size) in enumerate(zip(axes, shape, strict=True)):
        least, most = (int(column.min()), int(column.max())) if len(column) else (0, -1)
        if least < 0 or most >= size:
            raise ValueError(
                f"axis {axis} of the map has cells 0 to {size - 1}, and coords minus offset go "
                f"from {least} to {most}; crop the input, or enlarge shape"
            )
        number = number * size + column
    cells, group, _ = unique(number)
    return cells, group


def on_map(features: Tensor, cells: Tensor, samples: int, shape: Sequence[int]) -> Tensor:
    """[B, C, *shape]: features [M, C] on cells as `numbered` has them, 0 elsewhere."""
    size = torch.Size(shape).numel()
    return onto_grid(features, cells, samples, size).view(samples, features.shape[1], *shape)
