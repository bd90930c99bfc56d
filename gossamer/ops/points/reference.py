"""Points and voxels in plain PyTorch."""

from torch import Tensor
from torch.nn.functional import pad

from gossamer.ops.conv import ACCUMULATOR
from gossamer.ops.dispatch import Problem


def refuses(problem: Problem) -> str:
    return ""


def interpolate(x: Tensor, weights: Tensor, rows: Tensor) -> Tensor:
    wide = ACCUMULATOR.get(x.dtype, x.dtype)
    padded = pad(x, (0, 0, 0, 1)).to(wide)  # row -1 is zero, so a missing corner adds nothing
    return (padded[rows] * weights.to(wide).unsqueeze(2)).sum(1).to(x.dtype)


def spread(g: Tensor, weights: Tensor, rows: Tensor, count: int) -> Tensor:
    wide = ACCUMULATOR.get(g.dtype, g.dtype)
    shares = weights.to(wide).unsqueeze(2) * g.to(wide).unsqueeze(1)  # [P, J, C]
    out = g.new_zeros(count + 1, g.shape[1], dtype=wide)  # the last row takes what has no voxel
    target = rows.where(rows >= 0, count).flatten()
    return out.index_add_(0, target, shares.flatten(0, 1))[:count].to(g.dtype)


def interpolation_dots(x: Tensor, g: Tensor, rows: Tensor) -> Tensor:
    wide = ACCUMULATOR.get(x.dtype, x.dtype)
    padded = pad(x, (0, 0, 0, 1)).to(wide)
    return (padded[rows] * g.to(wide).unsqueeze(1)).sum(2).to(x.dtype)
