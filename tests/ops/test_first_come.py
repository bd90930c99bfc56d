"""Voxels in the order of their first points, against a loop over the points."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossamer.ops.dispatch import use_backend
from gossamer.ops.points import first_come


def by_a_loop(points: np.ndarray, lower, edges, size, most):
    numbers, counts = {}, []
    voxel, place = [], []
    start, edge = np.array(lower, points.dtype), np.array(edges, points.dtype)
    for point in points:
        cell = np.floor((point[: len(size)] - start) / edge)
        if not ((cell >= 0) & (cell < np.array(size))).all():
            voxel.append(-1)
            place.append(0)
            continue
        key = tuple(int(c) for c in cell)
        if key not in numbers and len(numbers) < most:
            numbers[key] = len(counts)
            counts.append(0)
        v = numbers.get(key, -1)
        voxel.append(v)
        place.append(counts[v] if v >= 0 else 0)
        if v >= 0:
            counts[v] += 1
    cells = np.array(list(numbers), np.int32).reshape(-1, len(size))
    return np.array(voxel, np.int64), np.array(place, np.int64), cells


@pytest.mark.parametrize("name", ["reference", "numba"])
@given(
    ndim=st.integers(1, 4),
    count=st.sampled_from([0, 1, 2, 50, 400]),
    most=st.sampled_from([1, 2, 30, 1000]),
    double=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_it_is_what_a_loop_over_the_points_finds(name, ndim, count, most, double, seed):
    rng = np.random.default_rng(seed)
    size = [int(n) for n in rng.integers(1, 6, ndim)]
    edges, lower = [0.1, 0.05, 0.3, 1.0][:ndim], [-0.2, 0.0, 1.5, -3.0][:ndim]
    points = rng.uniform(-0.2, 1.2, (count, ndim + 1))
    points[:, :ndim] = np.array(lower) + points[:, :ndim] * np.array(size) * np.array(edges)
    on_border = rng.random(count) < 0.5
    steps = np.round((points[on_border, :ndim] - lower) / edges)
    points[on_border, :ndim] = lower + steps * edges
    points = points.astype(np.float64 if double else np.float32)
    with use_backend(name):
        ours = first_come(torch.from_numpy(points), lower, edges, size, most)
    for mine, theirs in zip(ours, by_a_loop(points, lower, edges, size, most), strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs)
        assert mine.numpy().dtype == theirs.dtype


def test_what_is_no_place_in_the_grid_has_no_voxel(backend):
    nowhere = [torch.nan, torch.inf, -torch.inf, 1e30, -1e30, -1e-30, 4.0, 2.0**31, 2.0**40]
    points = torch.tensor([[x] for x in nowhere] + [[0.0]])
    voxel, place, cells = first_come(points, [0.0], [1.0], [4], 9)
    assert voxel.tolist() == [-1] * len(nowhere) + [0]
    assert place.eq(0).all()
    assert cells.tolist() == [[0]]


def test_a_grid_of_2_to_the_62_cells_costs_no_memory(backend):
    size = [2**31 - 1, 2**31 - 1]
    points = torch.tensor([[2.0**31 - 2, 2.0**31 - 2], [0, 0], [5, 7], [0, 0]], dtype=torch.float64)
    voxel, _, cells = first_come(points, [0.0, 0.0], [1.0, 1.0], size, 9)
    assert voxel.tolist() == [0, 1, 2, 1]
    assert cells.tolist() == [[2**31 - 2] * 2, [0, 0], [5, 7]]


def test_neighbouring_and_far_keys_find_their_slots(backend):
    """More voxels than a table of slots would hold if many shared one."""
    points = torch.cartesian_prod(*[torch.arange(0.0, 40) * step for step in (1, 64, 512)])
    shuffled = points[torch.randperm(len(points), generator=torch.Generator().manual_seed(0))]
    twice = torch.cat([shuffled, shuffled])
    voxel, place, cells = first_come(twice, [0.0] * 3, [1.0] * 3, [40, 4096, 32768], 10**6)
    number = torch.arange(len(points))
    assert torch.equal(voxel, torch.cat([number, number]))
    assert torch.equal(place, (torch.arange(len(twice)) >= len(points)).long())
    assert torch.equal(cells, shuffled.int())
