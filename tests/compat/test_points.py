"""spconv's voxelizers: numbered by first point, capped, with upstream's cells and right means."""

import copy
import pickle

import numpy as np
import pytest
import torch

from gossamer.compat.cumm import tensorview as tv
from gossamer.compat.spconv import utils
from gossamer.compat.spconv.pytorch.utils import PointToVoxel, gather_features_by_pc_voxel_id
from gossamer.errors import KeyRangeError
from tests.real_data import real_scan

EDGES = [0.05, 0.07, 0.1, 0.25]
LOWER = [-1.0, 0.0, -0.7, 3.0]
UPPER = [1.0, 2.1, 0.3, 4.0]
NAMES = ["voxels", "indices", "num_per_voxel", "pc_voxel_id"]


def cloud(ndim: int, count: int, features: int, seed: int = 0) -> np.ndarray:
    """Points in and around the range, half of them on borders of cells and of the range."""
    rng = np.random.default_rng(seed)
    lower, upper, edges = (np.array(v[:ndim]) for v in (LOWER, UPPER, EDGES))
    points = rng.standard_normal((count, features))
    positions = rng.uniform(lower - 0.1, upper + 0.1, (count, ndim))
    steps = np.round((positions - lower) / edges)
    on_border = rng.random((count, ndim)) < 0.5
    points[:, :ndim] = np.where(on_border, lower + steps * edges, positions)
    return points


def settings(ndim: int, features: int, voxels: int = 500, places: int = 3) -> tuple:
    return EDGES[:ndim], LOWER[:ndim] + UPPER[:ndim], features, voxels, places


def by_a_loop(points: np.ndarray, ndim: int, most: int, places: int) -> list[np.ndarray]:
    """Voxels as lists of points, filled one point after the other."""
    dtype = points.dtype.type
    lower, upper, edges = (np.array(v[:ndim], np.float32) for v in (LOWER, UPPER, EDGES))
    size = np.floor((upper - lower) / edges + 0.5)
    found: dict[tuple, list] = {}
    ids = np.full(len(points), -1)
    for row, point in enumerate(points):
        cell = np.floor((point[:ndim] - lower.astype(dtype)) / edges.astype(dtype))
        if ((cell >= 0) & (cell < size)).all():
            key = tuple(int(c) for c in cell[::-1])
            if key in found or len(found) < most:
                found.setdefault(key, []).append(point)
                ids[row] = list(found).index(key)
    voxels = np.zeros((len(found), places, points.shape[1]), np.float32)
    for voxel, inside in zip(voxels, found.values(), strict=True):
        voxel[: len(inside)] = inside[:places]
    sizes = np.array([min(len(inside), places) for inside in found.values()], np.int32)
    return [voxels, np.array(list(found), np.int32).reshape(-1, ndim), sizes, ids]


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("count", "most"), [(0, 5), (1, 5), (300, 500), (300, 11), (300, 1)])
def test_voxels_are_those_of_a_loop_over_the_points(ndim, dtype, count, most):
    points = cloud(ndim, count, ndim + 2).astype(dtype)
    maker = PointToVoxel(*settings(ndim, ndim + 2, most, 2))
    ours = maker.generate_voxel_with_id(torch.from_numpy(points))
    for name, mine, theirs in zip(NAMES, ours, by_a_loop(points, ndim, most, 2), strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs, name)
        assert mine.numpy().dtype == theirs.dtype


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("most", "places"), [(10**4, 5), (37, 1)])
def test_voxels_are_upstreams_to_the_bit(ndim, dtype, most, places):
    theirs = pytest.importorskip("spconv.pytorch.utils").PointToVoxel
    points = torch.from_numpy(cloud(ndim, 5000, ndim + 1, seed=ndim)).to(dtype)
    given = settings(ndim, ndim + 1, most, places)
    pair = PointToVoxel(*given), theirs(*given)
    for attribute in ("ndim", "vsize", "grid_size", "grid_stride", "coors_range"):
        assert getattr(pair[0], attribute) == getattr(pair[1], attribute)
    for _ in range(2):
        found = [maker.generate_voxel_with_id(points) for maker in pair]
        for mine, his in zip(*found, strict=True):
            assert torch.equal(mine, his)
            assert mine.dtype == his.dtype
        assert torch.equal(pair[0].voxels, pair[1].voxels)
        points = points.flip(0)[:900].contiguous()


def test_voxels_of_a_real_scan_are_upstreams_to_the_bit():
    theirs = pytest.importorskip("spconv.pytorch.utils").PointToVoxel
    points = np.fromfile(real_scan("kitti/000008.bin"), np.float32).reshape(-1, 4)
    given = [0.05, 0.05, 0.1], [0, -40, -3, 70.4, 40, 1], 4, 16000, 5
    found = [
        make(*given).generate_voxel_with_id(torch.from_numpy(points))
        for make in (PointToVoxel, theirs)
    ]
    for mine, his in zip(*found, strict=True):
        assert torch.equal(mine, his)


@pytest.mark.parametrize("seed", range(40))
def test_a_grid_is_rounded_as_upstream_rounds_it(seed):
    theirs = pytest.importorskip("spconv.utils").Point2VoxelCPU1d.calc_meta_data
    rng = np.random.default_rng(seed)
    edge = float(rng.choice([0.1, 0.05, 0.07, 0.013, 0.5, rng.uniform(0.01, 1)]))
    lower = float(np.round(rng.uniform(-100, 100), rng.integers(0, 4)))
    upper = lower + (rng.integers(1, 2000) + float(rng.choice([0, 0.5, 0.25]))) * edge
    ours = utils.Point2VoxelCPU1d.calc_meta_data([edge], [lower, upper])
    assert ours == tuple(theirs([edge], [lower, upper]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_vacant_places_hold_the_mean_of_the_points(dtype):
    points = torch.from_numpy(cloud(2, 400, 3)).to(dtype)
    maker = PointToVoxel([0.3, 0.3], [-1, 0, 1, 2.1], 3, 99, 50)
    plain, _, sizes = maker(points)
    filled, _, _ = maker(points, empty_mean=True)
    assert sizes.max() > 10
    for voxel, without, size in zip(filled, plain, sizes.tolist(), strict=True):
        assert torch.equal(voxel[:size], without[:size])
        mean = without[:size].double().mean(0)
        bound = 2**-24 * (size + 2) * without[:size].abs().double().mean(0)
        assert ((voxel[size:].double() - mean).abs() <= bound).all()
    assert torch.equal(maker(points)[0], plain)


def test_what_a_call_left_stays_in_vacant_places_unless_it_is_cleared():
    maker = PointToVoxel([1.0], [0, 9], 1, 4, 2)
    maker(torch.tensor([[0.5], [0.6], [3.5]]))
    assert maker(torch.tensor([[7.5]]), clear_voxels=False)[0].flatten().tolist() == [
        7.5,
        pytest.approx(0.6),
    ]
    assert maker.voxels[1, 0] == 3.5
    assert maker(torch.tensor([[8.5]]))[0].flatten().tolist() == [8.5, 0]
    assert maker.voxels.count_nonzero() == 1


def test_a_point_that_its_voxel_had_no_place_for_keeps_its_number():
    maker = PointToVoxel([1.0], [0, 9], 1, 2, 2)
    points = torch.tensor([[0.1], [0.2], [0.3], [1.1], [2.1], [0.4], [-1.0]])
    _, _, sizes, ids = maker.generate_voxel_with_id(points)
    assert sizes.tolist() == [2, 1]
    assert ids.tolist() == [0, 0, 0, 1, -1, 0, -1]


def test_a_range_of_kilometres_in_millimetres_is_no_trouble():
    maker = PointToVoxel([0.001] * 3, [-1000] * 3 + [1000] * 3, 3, 100, 5)
    assert maker.grid_size == [2_000_000] * 3
    points = torch.tensor([[999.0, -999, 0], [0, 0, 0], [999, -999, 0]], dtype=torch.float64)
    _, indices, sizes = maker(points)
    # The float32 next to 0.001 is a little more, so a border is reached a little later.
    assert indices.tolist() == [[999999, 999, 1998999], [999999] * 3]
    assert sizes.tolist() == [2, 1]


def test_rows_that_are_views_of_others_are_read_right():
    points = torch.from_numpy(cloud(3, 200, 4)).float()
    maker = PointToVoxel(*settings(3, 4))
    whole = maker.generate_voxel_with_id(points)
    for view in (points.t().contiguous().t(), torch.cat([points, points], 1)[:, :4]):
        assert all(map(torch.equal, maker.generate_voxel_with_id(view), whole))


@pytest.mark.parametrize("kind", ["CPU", "GPU"])
@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
def test_the_voxelizers_of_arrays_give_what_those_of_tensors_give(kind, ndim):
    points = cloud(ndim, 500, ndim + 1).astype(np.float32)
    wanted = PointToVoxel(*settings(ndim, ndim + 1))(torch.from_numpy(points))
    names = "vsize_xyz coors_range_xyz num_point_features max_num_voxels max_num_points_per_voxel"
    given = dict(zip(names.split(), settings(ndim, ndim + 1), strict=True))
    maker = getattr(utils, f"Point2Voxel{kind}{ndim}d")(**given)
    maker = pickle.loads(pickle.dumps(copy.deepcopy(maker)))
    call = maker.point_to_voxel if kind == "CPU" else maker.point_to_voxel_hash
    found = call(tv.from_numpy(points))
    assert maker.grid_size == PointToVoxel(*settings(ndim, ndim + 1)).grid_size
    call(tv.from_numpy(points[:7]))  # leaves what was returned before as it was
    for mine, his in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(mine.numpy(), his.numpy())


def test_arrays_of_any_strides_are_read_right():
    maker = utils.Point2VoxelCPU3d(*settings(3, 4))
    points = cloud(3, 200, 4)
    frozen = points.copy()
    frozen.flags.writeable = False
    wanted = [part.numpy() for part in maker.point_to_voxel_empty_mean(tv.from_numpy(points))]
    for same in (np.asfortranarray(points), points[::-1].copy()[::-1], frozen):
        found = maker.point_to_voxel_empty_mean(tv.from_numpy(same))
        assert all(map(np.array_equal, [part.numpy() for part in found], wanted))


def test_names_of_spconv_1_are_not_there():
    """Programs that try them first take the old API where they find them."""
    assert not {name for name in dir(utils) if name.startswith("VoxelGenerator")}


@pytest.mark.parametrize(
    ("argument", "value", "error", "words"),
    [
        (0, [0.1, 0.1], ValueError, "vsize_xyz has 2 numbers and coors_range_xyz 6"),
        (0, [0.1] * 5, ValueError, "vsize_xyz has 5"),
        (0, [0.1, 0, 0.1], ValueError, "positive lengths"),
        (0, [0.1, float("nan"), 0.1], ValueError, "positive lengths"),
        (1, [0, 0, 0, -1, 1, 1], ValueError, "cells on every axis"),
        (1, [0, 0, 0, 0.04, 1, 1], ValueError, "cells on every axis"),
        (1, [0, 0, 0, 1e30, 1, 1], ValueError, "cells on every axis"),
        (1, [0, 0, 0, 2e8, 2e8, 2e8], KeyRangeError, "under 2\\*\\*63"),
        (2, 2, ValueError, "num_point_features is 2; wanted 3"),
        (3, 0, ValueError, "max_num_voxels is 0"),
        (4, 0, ValueError, "max_num_points_per_voxel 0"),
    ],
)
def test_what_makes_no_grid_is_named(argument, value, error, words):
    given = [[0.1] * 3, [0, 0, 0, 1, 1, 1], 4, 10, 2]
    given[argument] = value
    with pytest.raises(error, match=words):
        PointToVoxel(*given)


@pytest.mark.parametrize(
    ("points", "error", "words"),
    [
        (torch.zeros(5, 3), RuntimeError, r"shape \(5, 3\); wanted \[N, 4\]"),
        (torch.zeros(4), RuntimeError, r"wanted \[N, 4\]"),
        (torch.zeros(5, 4, dtype=torch.int32), TypeError, "torch.int32; wanted a floating"),
        (torch.zeros(5, 4, device="meta"), AssertionError, "pc is on meta"),
    ],
)
def test_what_is_no_cloud_is_named(points, error, words):
    with pytest.raises(error, match=words):
        PointToVoxel([0.1] * 3, [0, 0, 0, 1, 1, 1], 4, 10, 2)(points)


def test_array_voxelizers_name_what_they_cannot_take():
    with pytest.raises(ValueError, match="wanted 3 edges, one an axis of Point2VoxelCPU3d"):
        utils.Point2VoxelCPU3d([0.1] * 2, [0, 0, 1, 1], 2, 10, 2)
    with pytest.raises(TypeError, match="points is a list"):
        utils.Point2VoxelCPU1d([0.1], [0, 1], 1, 10, 2).point_to_voxel([[0.5]])  # pyright: ignore


@pytest.mark.parametrize("fill", [0, -1, 7.5])
@pytest.mark.parametrize("shape", [(6,), (6, 3), (6, 2, 2)])
def test_points_get_the_rows_of_their_voxels(fill, shape):
    rows = torch.randn(shape, requires_grad=True)
    ids = torch.tensor([3, -1, 0, 5, 5, -1])
    out = gather_features_by_pc_voxel_id(rows, ids, fill)
    wanted = [rows[i] if i >= 0 else torch.full_like(rows[0], fill) for i in ids.tolist()]
    assert torch.equal(out, torch.stack(wanted))
    out.sum().backward()
    per_row = torch.tensor([1.0, 0, 0, 1, 0, 2]).view(-1, *[1] * (len(shape) - 1))
    assert torch.equal(rows.grad, per_row.expand(shape))


def test_numbers_of_no_voxel_are_named():
    with pytest.raises(ValueError, match="numbers from -1 to 6; wanted -1 to 5"):
        gather_features_by_pc_voxel_id(torch.zeros(6, 2), torch.tensor([-1, 6]))
    assert gather_features_by_pc_voxel_id(torch.zeros(0, 2), torch.tensor([-1])).tolist() == [
        [0, 0]
    ]
