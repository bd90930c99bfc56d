"""Laws of points and voxels on a GPU, in Triton's interpreter."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from gossamer.ops.dispatch import use_backend
from gossamer.ops.points import first_come, interpolate, interpolation_dots, spread

pytestmark = [pytest.mark.interpreter, pytest.mark.usefixtures("garbage", "on_triton")]

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
SITES = 7
# points, corners, channels
SHAPES = [(0, 8, 3), (1, 1, 1), (41, 8, 17), (130, 3, 33), (300, 2, 3), (5, 4, 130)]


@pytest.fixture
def on_triton():
    with use_backend("triton"):
        yield


def values(*shape: int, dtype: torch.dtype, seed: int) -> Tensor:
    dice = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=dice, dtype=torch.float64).to(dtype)


def corners(points: int, each: int) -> Tensor:
    """Rows of sites, of which one is nobody's, and -1."""
    rows = torch.randint(-1, SITES - 1, (points, each), generator=torch.Generator().manual_seed(1))
    rows[: points // 2, 0] = 2  # a site of many points
    return rows


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("points", "each", "channels"), SHAPES)
def test_the_three_ops_are_the_derivatives_of_one_sum(points, each, channels, dtype):
    rows = corners(points, each)
    x, g = (
        values(SITES, channels, dtype=dtype, seed=2),
        values(points, channels, dtype=dtype, seed=3),
    )
    weights = values(points, each, dtype=dtype, seed=4)
    matrix = (rows.unsqueeze(2) == torch.arange(SITES)).double()
    exact = {"x": x.double(), "g": g.double(), "w": weights.double(), "m": matrix}
    inner = torch.finfo(torch.promote_types(dtype, torch.float32)).eps
    roundings = 2 * max(points * each, channels) * inner + torch.finfo(dtype).eps

    def agree(ours: Tensor, formula: str, names: str) -> None:
        operands = [exact[name] for name in names]
        magnitude = torch.einsum(formula, *(t.abs() for t in operands))
        assert ours.dtype == dtype
        assert ((ours - torch.einsum(formula, *operands)).abs() <= roundings * magnitude).all()

    agree(interpolate(x, weights, rows), "pj,pjn,nc->pc", "wmx")
    agree(spread(g, weights, rows, SITES), "pj,pjn,pc->nc", "wmg")
    agree(interpolation_dots(x, g, rows), "pjn,nc,pc->pj", "mxg")


def test_a_row_of_minus_one_adds_nothing_not_even_a_nan():
    nan = torch.full((4, 3), torch.nan)
    weights, rows = torch.full((4, 2), torch.nan), torch.full((4, 2), -1)
    assert (interpolate(nan, weights, rows) == 0).all()
    assert (interpolation_dots(nan, nan, rows) == 0).all()
    assert (spread(nan, weights, rows, 5) == 0).all()


def test_spread_has_the_same_bits_every_time():
    rows = corners(200, 4)
    g = values(200, 3, dtype=torch.float32, seed=0)
    weights = values(200, 4, dtype=torch.float32, seed=1)
    assert torch.equal(spread(g, weights, rows, SITES), spread(g, weights, rows, SITES))


def by_hand(points: Tensor, lower: list, edges: list, size: list, most: int):
    """Voxel and place of each point, and the cells, by a loop in the dtype of the points."""
    cloud, known, place, cells = points.numpy(), {}, [], []
    voxel, met = [], {}
    for row in cloud[:, : len(size)]:
        at = [
            math.floor(cell) if math.isfinite(cell) else -1
            for cell in (row - np.array(lower, row.dtype)) / np.array(edges, row.dtype)
        ]
        if all(0 <= cell < n for cell, n in zip(at, size, strict=True)):
            number = known.setdefault(tuple(at), len(known))
            if number < most:
                if number == len(cells):
                    cells.append(at)
                voxel.append(number)
                place.append(met.get(number, 0))
                met[number] = place[-1] + 1
                continue
        voxel.append(-1)
        place.append(0)
    return voxel, place, cells


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("most", [0, 1, 9, 1000])
@pytest.mark.parametrize(("count", "columns"), [(0, 3), (1, 4), (300, 5)])
def test_first_come_is_what_a_loop_over_the_points_finds(count, columns, most, dtype):
    points = values(count, columns, dtype=dtype, seed=5)
    if count > 1:
        points[7, 1], points[8, 0], points[9] = math.nan, math.inf, 1e30
        points[10, :3] = torch.tensor([-1.0, -1.25, 0.25])  # the first corner itself
    box = [-1.0, -1.25, 0.25], [0.3, 0.7, 0.9], [7, 4, 2]
    voxel, place, cells = first_come(points, *box, most)
    expected = by_hand(points, *box, most)
    assert [voxel.tolist(), place.tolist(), cells.tolist()] == list(expected)
    assert (voxel.dtype, place.dtype, cells.dtype) == (torch.int64, torch.int64, torch.int32)
    assert count < 300 or most < 1000 or max(expected[1]) > 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_cell_is_floored_with_the_bits_of_the_points_dtype(dtype):
    """Bounds that no float has, and points on the borders between cells."""
    edge, lower = 0.1, -3.3
    points = (torch.arange(2000, dtype=torch.float64) * edge / 2 + lower).to(dtype).unsqueeze(1)
    voxel, _, cells = first_come(points, [lower], [edge], [5000], 5000)
    number = np.floor(
        (points.numpy()[:, 0] - points.numpy().dtype.type(lower)) / points.numpy().dtype.type(edge)
    )
    found = cells[voxel.clamp(min=0), 0].where(voxel >= 0, -1)
    assert found.tolist() == [int(n) if n >= 0 else -1 for n in number]


def test_a_grid_of_2_to_the_62_cells_keeps_far_points_apart():
    side = 2**31
    places = [[side - 1, side - 1], [0, side - 1], [side - 1, 0]]
    points = torch.tensor(places, dtype=torch.float64)
    voxel, _, cells = first_come(points, [0.0, 0.0], [1.0, 1.0], [side, side], 9)
    assert voxel.tolist() == [0, 1, 2]
    assert cells.tolist() == places
