"""Overlaps of boxes against areas counted on a grid, and suppression against its definition."""

import numpy as np
import pytest

from gossamer.compat.cumm import tensorview as tv
from gossamer.compat.spconv import utils
from gossamer.compat.spconv.utils import (
    BoxOps,
    non_max_suppression_cpu,
    rbbox_intersection,
    rbbox_iou,
    rbbox_iou_loss,
    rotate_non_max_suppression_cpu,
)

SQUARE = np.array([[0.0, 0], [0, 1], [1, 1], [1, 0]])
DART = np.array([[0.0, 0], [0.5, 1], [0, 2], [2, 1]])


def rectangles(count: int, seed: int = 0) -> np.ndarray:
    """[count, 4, 2]: corners, every other box turning the other way."""
    rng = np.random.default_rng(seed)
    corners = (SQUARE - 0.5) * rng.uniform(0.5, 3, (count, 1, 2))
    angle = rng.uniform(-4, 4, count)
    turn = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], -1)
    out = corners @ turn.reshape(-1, 2, 2) + rng.uniform(0, 4, (count, 1, 2))
    out[::2] = out[::2, ::-1]
    return out


def inside(polygon: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Which points lie in a polygon: a ray to the right crosses its edges an odd number."""
    odd = np.zeros(len(points), bool)
    for a, b in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        spans = (a[1] > points[:, 1]) != (b[1] > points[:, 1])
        with np.errstate(divide="ignore", invalid="ignore"):
            x = a[0] + (points[:, 1] - a[1]) * (b[0] - a[0]) / (b[1] - a[1])
        odd ^= spans & (points[:, 0] < x)
    return odd


def counted(polygons: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Areas shared and joined, counted on a grid of points, and the bound of their error."""
    step = 0.01
    axis = np.arange(-3, 7, step) + step / 2
    points = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    masks = [
        np.stack([inside(p, points) for p in group]).astype(float) for group in (polygons, others)
    ]
    shared = masks[0] @ masks[1].T * step**2
    areas = [mask.sum(1) * step**2 for mask in masks]
    # The border of a box is at most 12 long, and of a cell on a border less than half is wrong.
    return shared, areas[0][:, None] + areas[1] - shared, 12 * step


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_overlaps_are_the_areas_that_a_grid_counts(dtype):
    boxes, others = rectangles(9).astype(dtype), np.stack([*rectangles(6, 1), DART]).astype(dtype)
    shared, union, error = counted(boxes, others)
    standup = np.ones(shared.shape, dtype)
    area = rbbox_intersection(boxes, others, standup, 0.0)
    iou = rbbox_iou(boxes, others, standup, 0.0)
    assert area.dtype == iou.dtype == dtype
    assert (np.abs(area - shared) <= error).all()
    assert (np.abs(iou - shared / union) <= 3 * error / union).all()
    assert (shared > 0.5).sum() > 10
    pairs = rbbox_iou_loss(boxes[:7], others)
    np.testing.assert_allclose(pairs, np.diag(iou), rtol=1e-6)


def test_overlaps_are_exact_where_they_can_be():
    right = np.array([1.0, 0])
    boxes = np.stack([SQUARE, SQUARE + right / 2, SQUARE + right, SQUARE * 2, SQUARE / 4 + 0.25])
    area = rbbox_intersection(boxes, boxes, np.ones((5, 5)), 0.0)
    np.testing.assert_allclose(area[0], [1, 0.5, 0, 1, 1 / 16], atol=1e-15)
    np.testing.assert_allclose(area, area.T, atol=1e-15)
    iou = rbbox_iou(boxes, boxes, np.ones((5, 5)), 0.0)
    np.testing.assert_allclose(np.diag(iou), 1, rtol=1e-14)


@pytest.mark.parametrize("shift", [0, 1e-12, 1e-9, 1e-6, 1e-3])
@pytest.mark.parametrize("far", [0, 1000])
def test_boxes_whose_edges_nearly_fall_together_are_no_trouble(shift, far):
    angle = 0.3
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    boxes = ((SQUARE * [4, 2] + np.array([[[0.0, 0]], [[shift, 0]], [[1, shift]]])) @ turn) + far
    area = rbbox_intersection(boxes, boxes, np.ones((3, 3)), 0.0)
    wanted = [8, 2 * (4 - shift), 3 * (2 - shift)]
    np.testing.assert_allclose(area[0], wanted, rtol=1e-12 * max(1, far))


def test_boxes_without_area_overlap_nothing():
    flat = np.stack([np.zeros((4, 2)), SQUARE * [1, 0], SQUARE])
    assert rbbox_iou(flat, flat, np.ones((3, 3)), 0.0).tolist() == np.diag([0.0, 0, 1]).tolist()


def test_pairs_whose_standup_iou_is_not_above_the_threshold_are_left_out():
    boxes = np.stack([SQUARE] * 2)
    standup = np.array([[0.3, 0.31], [0.0, 1.0]])
    assert rbbox_iou(boxes, boxes, standup, 0.3).tolist() == [[0, 1], [0, 1]]


def greedy(order, iou: np.ndarray, thresh: float) -> list[int]:
    kept: list[int] = []
    for i in order:
        if not any(iou[k, i] > 0 and iou[k, i] >= thresh for k in kept):
            kept.append(int(i))
    return kept


@pytest.mark.parametrize("thresh", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("eps", [0.0, 1.0])
@pytest.mark.parametrize(("boxes_dtype", "order_dtype"), [("f4", "i4"), ("f8", "i8")])
def test_upright_boxes_stay_that_no_better_one_overlaps(thresh, eps, boxes_dtype, order_dtype):
    rng = np.random.default_rng(1)
    corner = rng.integers(0, 20, (60, 2))
    boxes = np.concatenate([corner, corner + rng.integers(1, 9, (60, 2)), rng.random((60, 1))], 1)
    order = rng.permutation(60)[:50]
    lower, upper = boxes[:, None, :2], boxes[:, None, 2:4]
    sides = np.minimum(upper, upper.swapaxes(0, 1)) - np.maximum(lower, lower.swapaxes(0, 1)) + eps
    shared = np.where((sides > 0).all(-1), sides.prod(-1), 0)
    area = np.diag(shared)
    iou = shared / (area[:, None] + area - shared)
    kept = non_max_suppression_cpu(
        boxes.astype(boxes_dtype), order.astype(order_dtype), thresh, eps
    )
    assert kept == greedy(order, iou.astype(boxes_dtype), np.dtype(boxes_dtype).type(thresh))
    assert all(type(row) is int for row in kept)
    assert 1 < len(kept) < 50 or thresh in (0.9, 1.0)


@pytest.mark.parametrize("thresh", [0.0, 0.1, 0.5, 1.1])
def test_rotated_boxes_stay_that_no_better_one_overlaps(thresh):
    boxes, order = rectangles(40, seed=3), np.random.default_rng(0).permutation(40)
    standup = (np.random.default_rng(1).random((40, 40)) > 0.3).astype(float)
    kept = rotate_non_max_suppression_cpu(boxes, order, standup, thresh)
    assert kept == greedy(order, rbbox_iou(boxes, boxes, standup, 0.0), thresh)
    assert len(kept) < 40 or thresh > 1


def test_an_iou_of_the_threshold_drops_a_box():
    boxes = np.stack([SQUARE * [2, 1], SQUARE])
    flat = np.array([[0, 0, 2, 1], [0, 0, 1, 1]], np.float32)
    for thresh, kept in ((0.5, [0]), (0.51, [0, 1])):
        assert rotate_non_max_suppression_cpu(boxes, np.arange(2), np.ones((2, 2)), thresh) == kept
        assert non_max_suppression_cpu(flat, np.arange(2), thresh) == kept


def test_rotated_overlaps_are_upstreams():
    """Upstream computes in float32, wants clockwise corners, and begins its list with N zeros."""
    theirs = pytest.importorskip("spconv.utils")
    boxes, others = rectangles(20), rectangles(30, 1)
    boxes[::2], others[::2] = boxes[::2, ::-1], others[::2, ::-1]
    standup = np.ones((20, 30))
    for name in ("rbbox_iou", "rbbox_intersection"):
        found = [getattr(module, name)(boxes, others, standup, 0.0) for module in (utils, theirs)]
        np.testing.assert_allclose(*found, atol=5e-6)
    found = [module.rbbox_iou_loss(boxes, others[:20].copy()) for module in (utils, theirs)]
    np.testing.assert_allclose(*found, atol=5e-6)
    given = boxes, np.arange(20, dtype=np.int32), np.ones((20, 20)), 0.25
    kept = theirs.rotate_non_max_suppression_cpu(*given)
    assert kept[:20] == [0] * 20
    assert rotate_non_max_suppression_cpu(*given) == kept[20:]


def test_no_boxes_are_no_trouble():
    none, some = np.zeros((0, 4, 2)), SQUARE[None]
    assert rbbox_iou(none, some, np.zeros((0, 1)), 0.0).shape == (0, 1)
    assert rbbox_iou_loss(none, none).shape == (0,)
    assert rotate_non_max_suppression_cpu(none, np.zeros(0, int), np.zeros((0, 0)), 0.5) == []
    assert non_max_suppression_cpu(np.zeros((0, 4)), np.zeros(0, int), 0.5) == []


def test_box_ops_write_in_place():
    pair = tv.from_numpy(np.stack([SQUARE, SQUARE + 0.5]))
    out = np.full(2, np.nan)
    BoxOps.rbbox_iou_aligned(pair, tv.from_numpy(np.stack([SQUARE] * 2)), tv.from_numpy(out), True)
    np.testing.assert_allclose(out, [1, 0.25], atol=1e-15)
    assert BoxOps.has_boost()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda b, s: rbbox_iou(b.reshape(3, 8), b, s, 0.0), r"wanted \[N, 4, 2\]"),
        (lambda b, s: rbbox_iou(b, b, s[:2], 0.0), r"shape \(2, 3\); wanted \(3, 3\)"),
        (lambda b, s: rbbox_iou_loss(b, b[:2]), "there are 3 boxes and 2 others"),
        (lambda b, s: rotate_non_max_suppression_cpu(b, np.array([0, 3]), s, 0.5), "rows 0 to 3"),
        (lambda b, s: non_max_suppression_cpu(s, np.array([0]), 0.5), r"shape \(3, 3\); wanted"),
        (lambda b, s: non_max_suppression_cpu(np.ones((3, 4)), np.array([-1]), 0.5), "rows -1"),
    ],
)
def test_shapes_that_do_not_fit_are_named(call, words):
    with pytest.raises(ValueError, match=words):
        call(np.stack([SQUARE] * 3), np.ones((3, 3)))
