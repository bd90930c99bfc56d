"""What TorchSparse's formulas say, by trying all sites, and by dense convolution."""

from itertools import product
from math import ceil, floor

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from gossamer.compat import torchsparse
from gossamer.compat.torchsparse.nn import functional as F
from gossamer.compat.torchsparse.tensor import set_allow_negative_coordinates
from gossamer.compat.torchsparse.utils import make_ntuple
from gossamer.compat.torchsparse.utils.tensor_cache import (
    TensorCacheMode,
    clear_global_tensor_cache,
    set_tensor_cache_mode,
)

BATCH, SIDE = 3, 7
MODES = {
    "on the fly": ("hashmap_on_the_fly", "spconv"),
    "hashmap": ("hashmap", "spconv"),
    "minkowski": ("hashmap", "minkowski"),
}


@pytest.fixture
def defaults():
    """No choice of one test reaches another."""
    yield
    F.set_conv_mode(0)
    F.set_kmap_mode("hashmap_on_the_fly")
    F.set_downsample_mode("spconv")
    F.conv_config.clear_global_conv_config()
    set_allow_negative_coordinates(False)
    set_tensor_cache_mode(TensorCacheMode.SEPARATE_TENSOR_CACHE)
    clear_global_tensor_cache()


def rows(count: int = 60, low: int = 0, side: int = SIDE, seed: int = 0) -> Tensor:
    """[count, 4] int32, unique and in no order; sample 1 has none."""
    dice = torch.Generator().manual_seed(seed)
    cells = torch.tensor(list(product((0, BATCH - 1), *[range(low, low + side)] * 3)))
    return cells[torch.randperm(len(cells), generator=dice)[:count]].int()


def tensor(
    coords: Tensor, channels: int = 3, spatial_range=None, dtype=torch.float64, grad: bool = False
) -> torchsparse.SparseTensor:
    feats = torch.randn(len(coords), channels, dtype=dtype, requires_grad=grad)
    return torchsparse.SparseTensor(feats, coords, spatial_range=spatial_range)


def config(mode: str, **fields) -> dict:
    kmap, downsample = MODES[mode]
    return {"kmap_mode": kmap, "downsample_mode": downsample, **fields}


def taps(size) -> list[tuple[int, ...]]:
    """Positions in the window, by row of the weight."""
    if size[0] * size[1] * size[2] % 2:
        return [(x, y, z) for z in range(size[2]) for y in range(size[1]) for x in range(size[0])]
    return list(product(*map(range, size)))


def filters(weight: Tensor, size) -> Tensor:
    """[C_in, C_out, *size]: a weight [K, C_in, C_out] laid out on its window."""
    laid = weight.new_zeros(*weight.shape[1:], *size)
    for number, (x, y, z) in enumerate(taps(size)):
        laid[:, :, x, y, z] = weight[number]
    return laid


def anchor(size, stride, padding, dilation, mode: str) -> tuple[int, ...]:
    """How far before its output a window begins."""
    on_the_fly = MODES[mode][0] == "hashmap_on_the_fly"
    even = size[0] * size[1] * size[2] % 2 == 0
    if on_the_fly and max(stride) > 1:
        return tuple(padding)
    if on_the_fly and even:
        return (0, 0, 0)
    return tuple((k - 1) // 2 * d for k, d in zip(size, dilation, strict=True))


def floors(size, stride, mode: str) -> bool:
    kmap, downsample = MODES[mode]
    whole = all(s in (1, k) for s, k in zip(stride, size, strict=True))
    return kmap == "hashmap" and (whole or downsample == "minkowski")


def sites(coords: Tensor, size, stride, padding, dilation, mode, spatial_range=None, low=None):
    """The output sites of a strided layer, sorted.

    `low` is the smallest output where coordinates below 0 are allowed.
    """
    points = coords.tolist()
    if floors(size, stride, mode):
        return sorted({(b, *(c // s for c, s in zip(p, stride, strict=True))) for b, *p in points})
    span = [d * (k - 1) for k, d in zip(size, dilation, strict=True)]
    extent = [1 + max(p[1 + axis] for p in points) for axis in range(3)]
    extent = extent if spatial_range is None else spatial_range[1:]
    axes = list(zip(extent, stride, padding, span, strict=True))
    most = [floor((n - 1 + 2 * p - far) / s) for n, s, p, far in axes]
    found = set()
    for b, *point in points:
        for tap in taps(size):
            places = [
                (c + p - t * d) / s
                for c, p, t, d, s in zip(point, padding, tap, dilation, stride, strict=True)
            ]
            whole = all(o == floor(o) for o in places)
            least = (0, 0, 0) if low is None else low
            if whole and all(a <= o <= e for a, o, e in zip(least, places, most, strict=True)):
                found.add((b, *map(int, places)))
    return sorted(found)


def dense(coords: Tensor, feats: Tensor, before, sizes) -> Tensor:
    """[B, C, *sizes]: every row `before` cells from where its coordinates say."""
    grid = feats.new_zeros(BATCH, *sizes, feats.shape[1])
    place = coords.long() + torch.tensor([0, *before])
    return grid.index_put(tuple(place.unbind(1)), feats, accumulate=True).movedim(-1, 1)


def convolved(coords, feats, weight, size, stride, dilation, begin, out: Tensor) -> Tensor:
    """[M, C_out]: y[o] = sum over d of x[o * stride - begin + d * dilation] @ w[d]."""
    # Empty cells ahead, whole strides of them, so that no output is below 0.
    steps = [max(1, ceil((3 - int(coords.min())) / s)) for s in stride]
    ahead = [n * s + b for n, s, b in zip(steps, stride, begin, strict=True)]
    place = out.long() + torch.tensor([0, *steps])
    most = zip(place.amax(0).tolist()[1:], stride, size, dilation, strict=True)
    seen = [o * s + (k - 1) * d + 1 for o, s, k, d in most]
    there = (coords.amax(0)[1:] + torch.tensor(ahead) + 1).tolist()
    grid = dense(coords, feats, ahead, list(map(max, seen, there)))
    kernel = filters(weight, size).transpose(0, 1)
    y = functional.conv3d(grid, kernel, stride=stride, dilation=dilation)
    b, *cell = place.unbind(1)
    return y.movedim(1, -1)[b, cell[0], cell[1], cell[2]]


def transposed(coords, feats, weight, size, stride, dilation, begin, out: Tensor) -> Tensor:
    """[M, C_out]: y[o * stride - begin + d * dilation] += x[o] @ w[d], at `out`."""
    y = functional.conv_transpose3d(
        dense(coords, feats, (4, 4, 4), (14, 14, 14)),
        filters(weight, size),
        stride=stride,
        dilation=dilation,
    )
    place = out.long() + torch.tensor([0, *(4 * s + b for s, b in zip(stride, begin, strict=True))])
    b, *cell = place.unbind(1)
    return y.movedim(1, -1)[b, cell[0], cell[1], cell[2]]


def weight_of(size, c_in: int = 3, c_out: int = 2, dtype=torch.float64, grad=False) -> Tensor:
    k = make_ntuple(size, 3)
    return torch.randn(k[0] * k[1] * k[2], c_in, c_out, dtype=dtype, requires_grad=grad)
