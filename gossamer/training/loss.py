"""What training makes small: cross-entropy a voxel, and a smooth form of the score itself."""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


def segmentation_loss(scores: Tensor, labels: Tensor, class_weights: Tensor) -> Tensor:
    """Weighted cross-entropy plus the Lovász-Softmax loss; 0 where no voxel has a label.

    Args:
        scores: [N, C] float, before the softmax.
        labels: [N] int64, -1 where there is none.
        class_weights: [C] float.
    """
    known = labels >= 0
    scores, labels = scores[known], labels[known]
    if not len(labels):
        return scores.sum()
    weighted = cross_entropy(scores, labels, class_weights)
    return weighted + lovasz_softmax(scores.softmax(1), labels)


def lovasz_softmax(shares: Tensor, labels: Tensor) -> Tensor:
    """1 - IoU of the classes that occur, on average, extended smoothly to shares.

    Berman, Rannen Triki, Blaschko: The Lovász-Softmax loss, CVPR 2018.

    Args:
        shares: [N, C] float, the share a voxel gives each class.
        labels: [N] int64, 0 to C-1.
    """
    losses = []
    for label in labels.unique().tolist():
        truth = labels == label
        errors = (truth.to(shares.dtype) - shares[:, label]).abs()
        losses.append(errors @ _jaccard_steps(errors.detach(), truth))
    return torch.stack(losses).mean()


def _jaccard_steps(errors: Tensor, truth: Tensor) -> Tensor:
    """[N]: by how much 1 - IoU grows when each voxel becomes wrong too, the worst ones first."""
    # NumPy sorts ten times as fast as torch.
    order = np.argsort(-errors.cpu().numpy())
    hit = truth.cpu().numpy()[order]
    total = hit.sum()
    missed = hit.cumsum()
    distance = 1 - (total - missed) / (total + np.arange(1, len(hit) + 1) - missed)
    steps = np.empty(len(hit))
    steps[order] = np.diff(distance, prepend=0.0)
    return torch.from_numpy(steps).to(errors)
