"""Voxel generators, box operations and `nms` of spconv 1.2 against loops."""

import numpy as np
import pytest
import torch

from gossamer.compat.spconv1 import ops, utils

SIZE, RANGE = [0.5, 1.0, 2.0], [0, -2, -1, 4, 2, 3]


def cloud(count=200, dtype=np.float32, seed=0):
    dice = np.random.default_rng(seed)
    low, high = [-1, -3, -2, 0, 0], [5, 3, 4, 1, 1]
    return dice.uniform(low, high, (count, 5)).astype(dtype)


def by_loops(points, most_points, most_voxels):
    """Voxels as lists of points, in the order of their first points."""
    voxels: dict[tuple[int, ...], list] = {}
    size = np.array(SIZE, dtype=points.dtype)
    lower = np.array(RANGE[:3], dtype=points.dtype)
    for point in points:
        cell = np.floor((point[:3] - lower) / size).astype(int)
        if (cell < 0).any() or (cell >= [8, 4, 2]).any():
            continue
        key = tuple(cell[::-1].tolist())
        if key not in voxels and len(voxels) == most_voxels:
            continue
        taken = voxels.setdefault(key, [])
        if len(taken) < most_points:
            taken.append(point)
    return voxels


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("count", "most"), [(0, 20), (1, 20), (300, 20), (300, 500)])
def test_voxels_come_in_the_order_of_their_first_points(count, most, dtype):
    points = cloud(count, dtype)
    wanted = by_loops(points, 3, most)
    voxels, coordinates, sizes = utils.VoxelGenerator(SIZE, RANGE, 3, most).generate(points)
    assert (voxels.dtype, coordinates.dtype, sizes.dtype) == (dtype, np.int32, np.int32)
    assert voxels.shape == (len(wanted), 3, 5) and coordinates.shape == (len(wanted), 3)
    assert [tuple(row) for row in coordinates.tolist()] == list(wanted)
    for got, size, rows in zip(voxels, sizes, wanted.values(), strict=True):
        assert size == len(rows) and (got[:size] == np.array(rows)).all() and not got[size:].any()
    made = utils.VoxelGeneratorV2(SIZE, RANGE, 3, 7).generate(points, max_voxels=most)
    assert (made["voxels"] == voxels).all() and (made["coordinates"] == coordinates).all()
    assert (made["num_points_per_voxel"] == sizes).all() and made["voxel_num"] == len(wanted)
    assert (made["voxel_point_mask"][..., 0].sum(1) == sizes).all()
    same = utils.points_to_voxel(points, SIZE, RANGE, None, 3, most)
    assert (same["voxels"] == voxels).all()


def test_places_without_a_point_can_hold_the_mean():
    points = cloud()
    plain, _, sizes = utils.VoxelGenerator(SIZE, RANGE, 4).generate(points)
    filled, _, _ = utils.VoxelGenerator(SIZE, RANGE, 4, full_mean=True).generate(points)
    for got, rows, size in zip(filled, plain, sizes, strict=True):
        assert (got[:size] == rows[:size]).all()
        np.testing.assert_allclose(got[size:] - rows[:size].mean(0), 0, atol=1e-6)


def test_what_a_generator_says_of_itself():
    made = utils.VoxelGenerator(SIZE, RANGE, 3)
    assert made.grid_size.tolist() == [8, 4, 2] and made.max_num_points_per_voxel == 3
    assert made.voxel_size.tolist() == SIZE and made.point_cloud_range.tolist() == RANGE
    assert made.voxel_size.dtype == made.point_cloud_range.dtype == np.float32


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (TypeError, "float32", lambda v: v.generate(np.zeros((3, 4), int))),
        (TypeError, "list", lambda v: v.generate([[0.0] * 4])),
        (ValueError, "3 or more", lambda v: v.generate(np.zeros((3, 2)))),
        (ValueError, "max_voxels", lambda v: v.generate(cloud(), -1)),
        (
            ValueError,
            "block_filtering",
            lambda v: utils.VoxelGeneratorV2(SIZE, RANGE, 3, 9, False, True),
        ),
        (ValueError, "point_cloud_range", lambda v: utils.VoxelGenerator(SIZE, [0, 4], 3)),
        (ValueError, "positive", lambda v: utils.VoxelGenerator([0, 1, 1], RANGE, 3)),
    ],
)
def test_wrong_arguments_are_said(error, message, call):
    with pytest.raises(error, match=message):
        call(utils.VoxelGenerator(SIZE, RANGE, 3))


def boxes(count, seed=0):
    dice = np.random.default_rng(seed)
    corner = dice.uniform(0, 8, (count, 2))
    return np.concatenate([corner, corner + dice.uniform(1, 4, (count, 2))], 1)


def kept_by_loops(rows, order, drops, extra):
    kept = []
    for i in order:

        def iou(j, i=i):
            wide = np.minimum(rows[i, 2:], rows[j, 2:]) - np.maximum(rows[i, :2], rows[j, :2])
            shared = np.clip(wide + extra, 0, None).prod()
            areas = (rows[[i, j], 2:] - rows[[i, j], :2] + extra).prod(1).sum()
            return shared / (areas - shared)

        if not any(drops(iou(j)) for j in kept):
            kept.append(int(i))
    return kept


@pytest.mark.parametrize("count", [0, 1, 40])
def test_nms_keeps_the_best_of_overlapping_boxes(count):
    rows = boxes(count)
    scores = np.random.default_rng(1).permutation(count).astype(float)
    order = np.argsort(-scores)[:30]
    wanted = kept_by_loops(rows, order, lambda iou: iou >= 0.3, 0)[:12]
    got = ops.nms(torch.from_numpy(rows), torch.from_numpy(scores), 30, 12, 0.3, 0.0)
    assert got.dtype == torch.int64 and got.tolist() == wanted


@pytest.mark.parametrize("count", [0, 1, 40])
def test_suppression_over_pixels_writes_what_stays(count):
    rows = boxes(count).astype(np.float32)
    keep = np.full(count, -1, np.int32)
    wanted = kept_by_loops(rows, range(count), lambda iou: iou > 0.4, 1)
    assert utils.non_max_suppression(rows, keep, 0.4, 0) == len(wanted)
    assert keep[: len(wanted)].tolist() == wanted


def test_an_iou_of_just_the_threshold_stays_over_pixels():
    rows = np.array([[0, 0, 3, 3], [0, 0, 3, 1]], np.float32)  # 16 pixels, 8 of them shared
    keep = np.zeros(2, np.int32)
    assert utils.non_max_suppression(rows, keep, 0.5, 0) == 2


def test_rotated_boxes_overlap_by_their_polygons():
    square = np.array([[[0, 0], [2, 0], [2, 2], [0, 2]]], np.float32)
    diamond = np.array([[[1, 0], [2, 1], [1, 2], [0, 1]]], np.float32)
    near = np.ones((1, 1), np.float32)
    assert utils.rbbox_intersection(square, diamond, near, 0.0)[0, 0] == pytest.approx(2)
    assert utils.rbbox_iou(square, diamond, near, 0.0)[0, 0] == pytest.approx(0.5)
    both = np.concatenate([square, diamond])
    order, close = np.array([1, 0]), np.ones((2, 2), np.float32)
    assert utils.rotate_non_max_suppression_cpu(both, order, close, 0.4) == [1]
