"""`BoxOps`: the functions of `boxes` in upstream's calling convention."""

from gossamer.compat.clouds import boxes as _boxes
from gossamer.compat.host.tensor import Tensor


class BoxOps:
    """Overlaps and suppression of boxes in host memory; what is computed is written in place."""

    @staticmethod
    def has_boost() -> bool:
        """True: rotated boxes work, which upstream needs Boost for."""
        return True

    @staticmethod
    def rbbox_iou(
        box_corners: Tensor,
        qbox_corners: Tensor,
        standup_iou: Tensor,
        overlaps: Tensor,
        standup_thresh: float,
        inter_only: bool,
    ) -> None:
        """Writes IoUs or shared areas [N, K], where `standup_iou` is above the threshold."""
        mine, theirs = box_corners.numpy_view(), qbox_corners.numpy_view()
        candidates = standup_iou.numpy_view() > standup_thresh
        found = _boxes.rotated_overlaps(mine, theirs, candidates, area_only=inter_only)
        overlaps.numpy_view()[candidates] = found[candidates]

    @staticmethod
    def rbbox_iou_aligned(
        box_corners: Tensor, qbox_corners: Tensor, overlaps: Tensor, inter_only: bool
    ) -> None:
        """Writes the IoU or the shared area [N] of the two boxes of each row."""
        mine, theirs = box_corners.numpy_view(), qbox_corners.numpy_view()
        found = _boxes.aligned_overlaps(mine, theirs, area_only=inter_only)
        overlaps.numpy_view()[...] = found

    @staticmethod
    def non_max_suppression_cpu(
        boxes: Tensor, order: Tensor, thresh: float, eps: float = 0.0
    ) -> list[int]:
        """Rows of the upright boxes that stay."""
        return _boxes.suppressed(boxes.numpy_view(), order.numpy_view(), thresh, eps)

    @staticmethod
    def rotate_non_max_suppression_cpu(
        box_corners: Tensor,
        order: Tensor,
        standup_iou: Tensor,
        thresh: float,
        eps: float = 0.0,
    ) -> list[int]:
        """Rows of the rotated boxes that stay; `eps` changes nothing."""
        corners, standup = box_corners.numpy_view(), standup_iou.numpy_view()
        return _boxes.rotated_suppressed(corners, order.numpy_view(), standup, thresh)
