"""`spconv.utils`: voxelizers and box operations that work on arrays, without torch."""

from contextlib import nullcontext as nullcontext

import numpy as np

from gossamer.compat.clouds.boxops import BoxOps as BoxOps
from gossamer.compat.clouds.voxelizers import Point2VoxelCPU1d as Point2VoxelCPU1d
from gossamer.compat.clouds.voxelizers import Point2VoxelCPU2d as Point2VoxelCPU2d
from gossamer.compat.clouds.voxelizers import Point2VoxelCPU3d as Point2VoxelCPU3d
from gossamer.compat.clouds.voxelizers import Point2VoxelCPU4d as Point2VoxelCPU4d
from gossamer.compat.clouds.voxelizers import Point2VoxelGPU1d as Point2VoxelGPU1d
from gossamer.compat.clouds.voxelizers import Point2VoxelGPU2d as Point2VoxelGPU2d
from gossamer.compat.clouds.voxelizers import Point2VoxelGPU3d as Point2VoxelGPU3d
from gossamer.compat.clouds.voxelizers import Point2VoxelGPU4d as Point2VoxelGPU4d
from gossamer.compat.host.creation import from_numpy
from gossamer.compat.spconv.cppconstants import CPU_ONLY_BUILD as CPU_ONLY_BUILD


def rbbox_iou(
    box_corners: np.ndarray,
    qbox_corners: np.ndarray,
    standup_iou: np.ndarray,
    standup_thresh: float,
) -> np.ndarray:
    """[N, K]: the IoU of each two rotated boxes, 0 where `standup_iou` is not above the threshold.

    Args:
        box_corners: [N, 4, 2], corners in either direction.
        qbox_corners: [K, 4, 2].
        standup_iou: [N, K], the IoU of the upright boxes around them.
        standup_thresh: of `standup_iou`.

    Raises:
        ValueError: a shape is not this.
    """
    overlap = np.zeros((len(box_corners), len(qbox_corners)), box_corners.dtype)
    boxes, others = from_numpy(box_corners), from_numpy(qbox_corners)
    standup, out = from_numpy(standup_iou), from_numpy(overlap)
    BoxOps.rbbox_iou(boxes, others, standup, out, standup_thresh, False)
    return overlap


def rbbox_intersection(
    box_corners: np.ndarray,
    qbox_corners: np.ndarray,
    standup_iou: np.ndarray,
    standup_thresh: float,
) -> np.ndarray:
    """[N, K]: the area that each two rotated boxes share; arguments as for `rbbox_iou`."""
    overlap = np.zeros((len(box_corners), len(qbox_corners)), box_corners.dtype)
    boxes, others = from_numpy(box_corners), from_numpy(qbox_corners)
    standup, out = from_numpy(standup_iou), from_numpy(overlap)
    BoxOps.rbbox_iou(boxes, others, standup, out, standup_thresh, True)
    return overlap


def rbbox_iou_loss(box_corners: np.ndarray, qbox_corners: np.ndarray) -> np.ndarray:
    """[N]: the IoU (not 1 - IoU) of each rotated box with that of its row.

    Args:
        box_corners, qbox_corners: [N, 4, 2], corners in either direction.

    Raises:
        ValueError: a shape is not this.
    """
    overlap = np.zeros(len(box_corners), box_corners.dtype)
    boxes, others = from_numpy(box_corners), from_numpy(qbox_corners)
    BoxOps.rbbox_iou_aligned(boxes, others, from_numpy(overlap), False)
    return overlap


def non_max_suppression_cpu(
    boxes: np.ndarray, order: np.ndarray, thresh: float, eps: float = 0.0
) -> list[int]:
    """Rows of the boxes that stay, the best one first.

    Args:
        boxes: [N, 4 or more]: x1, y1, x2, y2.
        order: rows, the best one first.
        thresh: an IoU of so much or more with a better box that stays drops a box.
        eps: added to every length.

    Raises:
        ValueError: a shape is not this, or `order` names no row.
    """
    return BoxOps.non_max_suppression_cpu(from_numpy(boxes), from_numpy(order), thresh, eps)


def rotate_non_max_suppression_cpu(
    boxes: np.ndarray, order: np.ndarray, standup_iou: np.ndarray, thresh: float
) -> list[int]:
    """As `non_max_suppression_cpu`, of rotated boxes.

    Args:
        boxes: [N, 4, 2], corners in either direction.
        order: rows, the best one first.
        standup_iou: [N, N]; boxes are compared where it is above 0.
        thresh: an IoU of so much or more with a better box that stays drops a box.

    Raises:
        ValueError: a shape is not this, or `order` names no row.
    """
    corners, rows, standup = from_numpy(boxes), from_numpy(order), from_numpy(standup_iou)
    return BoxOps.rotate_non_max_suppression_cpu(corners, rows, standup, thresh)
