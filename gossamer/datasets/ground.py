"""Where the ground is under a scan, estimated from the lowest points around."""

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, max_pool2d

CELL = 2.0  # metres: a beam of a spinning sensor meets the ground at least once in most cells
WINDOW = 11  # cells: a house stands on less than 22 m, so some ground shows around it
LOW = 0.05  # share of a cell's points that may lie below the ground: echoes that took a detour
MOST_CELLS = 4_000_000


def height_above_ground(positions: Tensor) -> Tensor:
    """[P] float32: how high each point lies above the ground below it, metres.

    The lowest points of each cell of a grid, opened (eroded, then dilated) over WINDOW cells, are
    the ground: an opening keeps slopes and takes away all that is narrower than its window.

    Args:
        positions: [P, 3] float, metres, z up, finite.
    """
    if not len(positions):
        return positions.new_zeros(0, dtype=torch.float32)
    flat, z = positions[:, :2].double(), positions[:, 2].double()
    # Single far returns are not worth a large grid; they share its border cells.
    low, high = _quantiles(flat, 0.002), _quantiles(flat, 0.998)
    edge = max(CELL, float(((high - low).prod() / MOST_CELLS).sqrt()))
    shape = [int(cells) for cells in ((high - low) / edge).floor() + 1]
    place = ((flat - low) / edge).clamp(torch.zeros(2), flat.new_tensor(shape) - 1e-3)
    rows = place.floor().long()
    ground = _opened(_lowest(rows[:, 0] * shape[1] + rows[:, 1], z, shape))
    return (z - _between_centres(ground, place)).float()


def _quantiles(values: Tensor, share: float) -> Tensor:
    """[D]: the value below which `share` of each column lies."""
    return values.sort(0).values[round(share * (len(values) - 1))]


def _lowest(cell: Tensor, z: Tensor, shape: list[int]) -> Tensor:
    """[X, Y] float64: the height below which LOW of each cell's points lie, inf where none do."""
    by_height = z.argsort()
    order = by_height[cell[by_height].argsort(stable=True)]
    occupied, counts = cell[order].unique_consecutive(return_counts=True)
    first = counts.cumsum(0) - counts
    grid = z.new_full((shape[0] * shape[1],), torch.inf)
    grid[occupied] = z[order[first + (LOW * counts).long()]]
    return grid.view(*shape)


def _opened(heights: Tensor) -> Tensor:
    """[X, Y]: the opening of `heights`, in which inf stands for a cell without points."""
    eroded = -_highest(-heights)
    opened = _highest(torch.where(eroded.isinf(), -torch.inf, eroded))
    return torch.where(opened.isinf(), 0.0, opened)


def _highest(grid: Tensor) -> Tensor:
    return max_pool2d(grid[None], WINDOW, stride=1, padding=WINDOW // 2)[0]


def _between_centres(grid: Tensor, place: Tensor) -> Tensor:
    """[P]: `grid` [X, Y] at places [P, 2], in cells, bilinearly between the cells' centres."""
    share = 2 * place / place.new_tensor(grid.shape) - 1
    # grid_sample wants the last axis first.
    sampled = grid_sample(
        grid[None, None], share.flip(1)[None, None], padding_mode="border", align_corners=False
    )
    return sampled[0, 0, 0]
