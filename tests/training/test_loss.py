"""The loss: what it is where everything is certain, and its gradient everywhere."""

import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from gossamer.training import Confusion
from gossamer.training.loss import lovasz_softmax, segmentation_loss


@pytest.mark.parametrize("seed", range(5))
def test_where_shares_are_0_and_1_lovasz_is_one_minus_the_score_of_classes_that_occur(seed):
    rng = torch.Generator().manual_seed(seed)
    truth = torch.randint(0, 4, (60,), generator=rng)
    predicted = torch.randint(0, 5, (60,), generator=rng)
    iou = Confusion.of(predicted, truth, 5).iou[:4]
    loss = lovasz_softmax(one_hot(predicted, 5).double(), truth)
    assert float(loss) == pytest.approx(float(1 - iou.mean()))


def test_its_gradient_is_its_slope():
    torch.manual_seed(0)
    scores = torch.randn(12, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 1, 2, -1] * 3)
    weights = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
    torch.autograd.gradcheck(lambda s: segmentation_loss(s, labels, weights), scores)


def test_voxels_without_a_label_do_not_count():
    torch.manual_seed(0)
    scores, weights = torch.randn(10, 3), torch.ones(3)
    labels = torch.tensor([0, -1, 2, -1, 1, 1, 0, -1, 2, 2])
    known = labels >= 0
    loss = segmentation_loss(scores, labels, weights)
    torch.testing.assert_close(loss, segmentation_loss(scores[known], labels[known], weights))
    assert loss >= cross_entropy(scores[known], labels[known])


def test_without_any_label_there_is_nothing_to_learn():
    scores = torch.randn(5, 3, requires_grad=True)
    loss = segmentation_loss(scores, torch.full((5,), -1), torch.ones(3))
    loss.backward()
    assert loss.item() == 0 and (scores.grad == 0).all()
