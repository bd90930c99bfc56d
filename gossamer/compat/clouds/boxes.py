"""How much boxes overlap, upright and rotated, and which of them a better one makes redundant.

Corners of a box may come in either direction. What polygons share is summed over triangles: a
polygon's indicator is the signed sum of those of its fan, whether it is convex or not.
"""

import numpy as np

PAIRS_A_PIECE = 1 << 14  # pairs of polygons at a time: some 25 MB of corners


def rotated_overlaps(
    boxes: np.ndarray, others: np.ndarray, candidates: np.ndarray, *, area_only: bool
) -> np.ndarray:
    """[N, K], of the dtype of `boxes`: the IoU of each two boxes, or the area that they share.

    Args:
        boxes: [N, 4, 2], corners.
        others: [K, 4, 2], corners.
        candidates: [N, K] bool, the pairs to look at; others get 0.
        area_only: whether areas are wanted and not IoUs.

    Raises:
        ValueError: a shape is not this.
    """
    _check_corners("boxes", boxes)
    _check_corners("others", others)
    if candidates.shape != (len(boxes), len(others)):
        raise ValueError(
            f"the standup IoU has shape {candidates.shape}; wanted {(len(boxes), len(others))}, a "
            "number for every pair of boxes"
        )
    out = np.zeros(candidates.shape, boxes.dtype)
    first, second = candidates.nonzero()
    for start in range(0, len(first), PAIRS_A_PIECE):
        i, j = (rows[start : start + PAIRS_A_PIECE] for rows in (first, second))
        out[i, j] = aligned_overlaps(boxes[i], others[j], area_only=area_only)
    return out


def aligned_overlaps(boxes: np.ndarray, others: np.ndarray, *, area_only: bool) -> np.ndarray:
    """[N], of the dtype of `boxes`: as `rotated_overlaps`, of each box with that of its row.

    Args:
        boxes, others: [N, 4, 2], corners.
        area_only: whether areas are wanted and not IoUs.

    Raises:
        ValueError: a shape is not this, or there are more of one than of the other.
    """
    _check_corners("boxes", boxes)
    _check_corners("others", others)
    if len(boxes) != len(others):
        raise ValueError(f"there are {len(boxes)} boxes and {len(others)} others; wanted as many")
    mine, theirs = boxes.astype(np.float64), others.astype(np.float64)
    area, other_area = _signed_area(mine), _signed_area(theirs)
    shared = np.zeros(len(boxes))
    for triangle in _fan(mine):
        for other in _fan(theirs):
            shared += _shared_by_triangles(triangle, other)
    shared *= np.sign(area) * np.sign(other_area)
    if area_only:
        return shared.astype(boxes.dtype)
    union = np.abs(area) + np.abs(other_area) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0).astype(boxes.dtype)


def upright_overlaps(box: np.ndarray, others: np.ndarray, eps: float) -> np.ndarray:
    """[K]: the IoU of a box with others, each (x1, y1, x2, y2), edges longer by `eps`."""
    lower, upper = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:4], others[:, 2:4])
    shared = np.clip(upper - lower + eps, 0, None).prod(axis=1)
    areas = (others[:, 2:4] - others[:, :2] + eps).prod(axis=1)
    union = (box[2:4] - box[:2] + eps).prod() + areas - shared
    return np.divide(shared, union, out=np.zeros_like(union), where=union > 0)


def suppressed(boxes: np.ndarray, order: np.ndarray, thresh: float, eps: float = 0.0) -> list[int]:
    """The boxes that stay: in `order`, each drops later ones of an IoU of `thresh` or more with it.

    Args:
        boxes: [N, 4 or more]: x1, y1, x2, y2, and columns that are not looked at.
        order: rows of `boxes`, the best one first.
        thresh: of the IoU; boxes that do not overlap stay whatever it is.
        eps: added to every length; 1 where coordinates are those of the last pixel.

    Raises:
        ValueError: a shape is not this, or `order` names no row.
    """
    if boxes.ndim != 2 or boxes.shape[1] < 4:
        raise ValueError(f"boxes has shape {boxes.shape}; wanted [N, 4 or more]: x1, y1, x2, y2")
    waiting, kept = _check_order(order, len(boxes)), []
    while len(waiting):
        best, waiting = waiting[0], waiting[1:]
        kept.append(int(best))
        iou = upright_overlaps(boxes[best], boxes[waiting], eps)
        waiting = waiting[~((iou > 0) & (iou >= boxes.dtype.type(thresh)))]
    return kept


def rotated_suppressed(
    boxes: np.ndarray, order: np.ndarray, standup_iou: np.ndarray, thresh: float
) -> list[int]:
    """As `suppressed`, of rotated boxes.

    Args:
        boxes: [N, 4, 2], corners.
        order: rows of `boxes`, the best one first.
        standup_iou: [N, N]; two boxes are compared where it is above 0, better one first.
        thresh: of the IoU.

    Raises:
        ValueError: a shape is not this, or `order` names no row.
    """
    _check_corners("boxes", boxes)
    waiting, kept = _check_order(order, len(boxes)), []
    iou = rotated_overlaps(boxes, boxes, standup_iou > 0, area_only=False)
    while len(waiting):
        best, waiting = waiting[0], waiting[1:]
        kept.append(int(best))
        with_best = iou[best, waiting]
        waiting = waiting[~((with_best > 0) & (with_best >= iou.dtype.type(thresh)))]
    return kept


def _check_corners(name: str, corners: np.ndarray) -> None:
    if corners.ndim != 3 or corners.shape[1:] != (4, 2):
        raise ValueError(f"{name} has shape {corners.shape}; wanted [N, 4, 2], four corners each")


def _check_order(order: np.ndarray, count: int) -> np.ndarray:
    if order.ndim != 1 or (order.size and not (0 <= order.min() and order.max() < count)):
        raise ValueError(
            f"order has shape {order.shape} and names rows {order.min()} to {order.max()}; wanted "
            f"one axis, and rows of {count} boxes"
        )
    return order.astype(np.int64)


def _fan(polygons: np.ndarray) -> list[np.ndarray]:
    """Triangles [N, 3, 2] whose indicators, signed as they turn, sum to those of `polygons`."""
    return [polygons[:, [0, i, i + 1]] for i in range(1, polygons.shape[1] - 1)]


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _signed_area(polygons: np.ndarray) -> np.ndarray:
    """[N]: the areas of polygons [N, V, 2], negative where they turn clockwise."""
    # From a corner, and not from the origin, so that a box far away loses no digits.
    spokes = polygons - polygons[:, :1]
    return _cross(spokes, np.roll(spokes, -1, axis=1)).sum(1) / 2


def _shared_by_triangles(triangles: np.ndarray, others: np.ndarray) -> np.ndarray:
    """[N]: the area that two triangles share, negative where one of them turns clockwise."""
    turn = np.sign(_signed_area(others))
    part = triangles
    for i in range(3):
        start, edge = others[:, i], others[:, (i + 1) % 3] - others[:, i]
        part = _clipped(part, start, edge * turn[:, None])
    return np.where(turn, _signed_area(part) * turn, 0)


def _clipped(polygons: np.ndarray, start: np.ndarray, along: np.ndarray) -> np.ndarray:
    """[N, V + 1, 2]: what of convex polygons [N, V, 2] lies left of lines, corners repeated."""
    height = _cross(along[:, None], polygons - start[:, None])
    after, height_after = np.roll(polygons, -1, axis=1), np.roll(height, -1, axis=1)
    crosses = (height > 0) & (height_after < 0) | (height < 0) & (height_after > 0)
    share = np.divide(height, height - height_after, out=np.zeros_like(height), where=crosses)
    crossings = polygons + share[..., None] * (after - polygons)
    count, places = height.shape
    corners = np.stack([polygons, crossings], axis=2).reshape(count, 2 * places, 2)
    stays = np.stack([height >= 0, crosses], axis=2).reshape(count, 2 * places)
    # Those that stay first, in their order; places left over repeat the first one.
    order = np.argsort(~stays, axis=1, kind="stable")[:, : places + 1]
    order = np.where(np.take_along_axis(stays, order, axis=1), order, order[:, :1])
    return np.take_along_axis(corners, order[..., None], axis=1)
