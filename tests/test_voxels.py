"""From points to voxels and back, against NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import gossamer
from gossamer import SparseTensor
from tests.scenes import covering

REDUCTIONS = {
    "mean": lambda f: f.mean(0),
    "sum": lambda f: f.sum(0),
    "max": lambda f: f.max(0),
    "first": lambda f: f[0],
}


def cloud(points: int, ndim: int, channels: int = 3, seed: int = 0, dtype=torch.float64):
    rng = torch.Generator().manual_seed(seed)
    positions = torch.rand(points, ndim, generator=rng, dtype=torch.float64) * 8 - 3
    features = torch.randn(points, channels, generator=rng, dtype=torch.float64) - 2
    batch = torch.randint(0, 2, (points,), generator=rng) * 2  # sample 1 has no point
    return positions, features.to(dtype), batch


def by_definition(positions, features, batch, size, how, shape) -> tuple[dict, list]:
    """{(batch, cell): features}, and the voxel of each point or None, by NumPy."""
    cells = np.floor(positions.numpy() / np.asarray(size)).astype(int)
    groups: dict[tuple, list[int]] = {}
    voxel: list[tuple | None] = []
    for p, cell in enumerate(cells):
        key = (int(batch[p]), *map(int, cell))
        outside = shape is not None and not all(
            0 <= c < n for c, n in zip(cell, shape, strict=True)
        )
        voxel.append(None if outside else key)
        if not outside:
            groups.setdefault(key, []).append(p)
    values = features.double().numpy()
    return {key: REDUCTIONS[how](values[rows]) for key, rows in groups.items()}, voxel


@pytest.mark.parametrize(
    "case",
    covering(
        2,
        ndim=[1, 2, 3, 4],
        how=list(REDUCTIONS),
        size=["even", "uneven"],
        dtype=[torch.float32, torch.float64, torch.float16, torch.bfloat16],
        bounded=[True, False],
        points=[0, 1, 300],
    ),
    ids=lambda case: "-".join(map(str, case.values())),
)
def test_voxels_hold_what_numpy_makes_of_their_points(backend, case):
    ndim, dtype, how = case["ndim"], case["dtype"], case["how"]
    positions, features, batch = cloud(case["points"], ndim, dtype=dtype)
    size = [1.5] * ndim if case["size"] == "even" else [1.5, 0.5, 4.0, 2.0][:ndim]
    shape = (3, 7, 1, 2)[:ndim] if case["bounded"] else None
    x, voxel_of_point = gossamer.voxelize(
        positions,
        features,
        size[0] if case["size"] == "even" else size,
        batch,
        batch_size=3,
        reduce=how,
        spatial_shape=shape,
    )
    expected, voxel = by_definition(positions, features, batch, size, how, shape)
    assert [tuple(row) for row in x.coords.tolist()] == sorted(expected)
    assert x.batch_size == 3
    assert x.spatial_shape == shape
    assert x.dtype == dtype
    rows = [None if row < 0 else tuple(x.coords[row].tolist()) for row in voxel_of_point.tolist()]
    assert rows == voxel
    # A voxel has at most 300 points, whose features are no larger than 10.
    inner = torch.float64 if dtype == torch.float64 else torch.float32
    terms = 0 if how in ("max", "first") else 300
    near = 10 * max(1, terms) * (terms * torch.finfo(inner).eps)
    wanted = torch.tensor(np.array([expected[key] for key in sorted(expected)])).view(-1, 3)
    rounding = 0 if terms == 0 else 2 * torch.finfo(dtype).eps
    torch.testing.assert_close(x.features.double(), wanted, rtol=rounding, atol=near)


@pytest.mark.parametrize("how", REDUCTIONS)
def test_voxelizing_has_true_gradients_of_first_and_second_order(backend, how):
    positions, features, batch = cloud(20, 2)
    leaf = features.requires_grad_()

    def run(features):
        return gossamer.voxelize(positions, features.sin(), 2.0, batch, reduce=how)[0].features

    assert torch.autograd.gradcheck(run, (leaf,), fast_mode=True)
    assert torch.autograd.gradgradcheck(run, (leaf,), fast_mode=True)


def test_nearest_gives_every_point_its_own_voxel_back(backend):
    positions, features, batch = cloud(200, 3)
    x, voxel_of_point = gossamer.voxelize(positions, features, 1.3, batch, batch_size=3)
    back = gossamer.devoxelize(x, positions, 1.3, batch)
    assert torch.equal(back, x.features[voxel_of_point])
    assert (gossamer.devoxelize(x, positions + 100, 1.3, batch) == 0).all()


def test_nearest_knows_the_stride_of_its_voxels(backend):
    positions, features, batch = cloud(200, 2)
    x, _ = gossamer.voxelize(positions, features, 0.5, batch)
    coarse = gossamer.nn.SparseMaxPool2d(2)(x)
    got = gossamer.devoxelize(coarse, positions, 0.5, batch)
    expected, voxel = by_definition(positions, features, batch, [1.0, 1.0], "mean", None)
    rows = {tuple(row): i for i, row in enumerate(coarse.coords.tolist())}
    assert set(rows) == set(expected)
    assert torch.equal(got, coarse.features[[rows[key] for key in voxel]])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
def test_trilinear_keeps_a_constant_wherever_some_voxel_is_near(backend, ndim, dtype):
    positions, _, batch = cloud(60, ndim)
    x, _ = gossamer.voxelize(positions, torch.full((60, 2), 3.0, dtype=dtype), 1.0, batch)
    got = gossamer.devoxelize(x, positions, 1.0, batch, mode="trilinear")
    near = 2**ndim * 3 * torch.finfo(dtype).eps
    torch.testing.assert_close(got, torch.full_like(got, 3.0), rtol=0, atol=near)
    far = gossamer.devoxelize(x, positions + 500, 1.0, batch, mode="trilinear")
    assert (far == 0).all()


@given(st.lists(st.floats(-3, 3), min_size=4, max_size=4), st.sampled_from([1, 2]))
def test_trilinear_keeps_a_linear_function_inside_a_full_grid(backend, slope, stride):
    cells = torch.cartesian_prod(*[torch.arange(6)] * 3)
    edge = torch.tensor([0.4, 0.5, 0.3], dtype=torch.float64)
    centres = (cells + 0.5) * edge * stride
    linear = torch.tensor(slope[:3], dtype=torch.float64)
    values = centres @ linear + slope[3]
    coords = torch.cat([torch.zeros(len(cells), 1, dtype=torch.int64), cells], 1)
    x = SparseTensor(values.unsqueeze(1), coords, stride=stride)
    points = torch.rand(30, 3, dtype=torch.float64) * 5 * edge * stride + edge * stride / 2
    got = gossamer.devoxelize(x, points, edge.tolist(), mode="trilinear")
    torch.testing.assert_close(got.squeeze(1), points @ linear + slope[3], rtol=0, atol=1e-12)


@pytest.mark.parametrize("mode", ["nearest", "trilinear"])
def test_devoxelizing_has_true_gradients_of_first_and_second_order(backend, mode):
    positions, features, batch = cloud(12, 2, 2)
    x, _ = gossamer.voxelize(positions, features, 2.0, batch)
    leaf = x.features.clone().requires_grad_()
    points = (positions + 0.3).requires_grad_(mode == "trilinear")

    def run(features, points):
        moved = x.with_features(features.sin())
        return gossamer.devoxelize(moved, points, 2.0, batch, mode=mode)

    assert torch.autograd.gradcheck(run, (leaf, points))
    assert torch.autograd.gradgradcheck(run, (leaf, points))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_points_on_a_face_belong_to_the_voxel_above_it(dtype):
    points = torch.tensor([[0.0], [-0.0], [0.5], [-0.5], [-0.25], [1.0]], dtype=dtype)
    x, row = gossamer.voxelize(points, torch.zeros(6, 1), 0.5)
    assert x.coords[row][:, 1].tolist() == [0, 0, 1, -1, -1, 2]


def test_a_point_far_from_the_origin_keeps_its_place():
    points = torch.tensor([[6_000_000.04, -9.99], [6_000_000.06, -10.01]], dtype=torch.float64)
    x, _ = gossamer.voxelize(points, torch.zeros(2, 1), 0.05)
    assert x.coords.tolist() == [[0, 120_000_000, -200], [0, 120_000_001, -201]]
