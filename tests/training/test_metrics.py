"""The score, against torchmetrics and against hand-counted points."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossamer.training import Confusion


def points(seed: int, count: int, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    truth = torch.randint(-1, classes, (count,), generator=rng)
    predicted = torch.randint(0, classes, (count,), generator=rng)
    hit = torch.rand(count, generator=rng) < 0.6
    return torch.where(hit & (truth >= 0), truth, predicted), truth


@pytest.mark.parametrize("classes", [2, 5, 19])
def test_the_score_is_that_of_torchmetrics(classes):
    torchmetrics = pytest.importorskip("torchmetrics.classification")
    predicted, truth = points(classes, 5000, classes)
    kwargs = {"num_classes": classes, "ignore_index": -1}
    confusion = Confusion.of(predicted, truth, classes)
    theirs = torchmetrics.MulticlassConfusionMatrix(**kwargs)(predicted, truth)
    assert torch.equal(confusion.counts, theirs)
    each = torchmetrics.MulticlassJaccardIndex(**kwargs, average="none")(predicted, truth)
    torch.testing.assert_close(confusion.iou.float(), each)
    mean = torchmetrics.MulticlassJaccardIndex(**kwargs, average="macro")(predicted, truth)
    assert confusion.miou == pytest.approx(float(mean))
    accuracy = torchmetrics.MulticlassAccuracy(**kwargs, average="micro")(predicted, truth)
    assert confusion.accuracy == pytest.approx(float(accuracy))


@given(st.integers(0, 10_000), st.integers(1, 200))
def test_the_score_of_parts_adds_up_to_that_of_the_whole(seed, count):
    predicted, truth = points(seed, count, 4)
    cut = count // 3
    parts = [Confusion.of(predicted[s], truth[s], 4) for s in (slice(cut), slice(cut, None))]
    whole = Confusion.of(predicted, truth, 4)
    assert torch.equal((parts[0] + parts[1]).counts, whole.counts)
    assert whole.points == int((truth >= 0).sum())


def test_a_worked_example():
    predicted, truth = torch.tensor([0, 0, 1, 1, 1, 0]), torch.tensor([0, 1, 1, 1, 0, -1])
    confusion = Confusion.of(predicted, truth, 3)
    # class 0: 1 hit of {0, 1, 4}; class 1: 2 hits of {1, 2, 3, 4}; class 2 never occurs.
    assert confusion.iou[:2].tolist() == [1 / 3, 1 / 2] and confusion.iou[2].isnan()
    assert confusion.miou == pytest.approx(5 / 12) and confusion.accuracy == pytest.approx(3 / 5)


def test_no_points_have_no_score():
    assert math.isnan(Confusion.none(3).miou) and math.isnan(Confusion.none(3).accuracy)


def test_lengths_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"predicted has shape \(3,\) and truth \(4,\)"):
        Confusion.of(torch.zeros(3).long(), torch.zeros(4).long(), 2)


@pytest.mark.parametrize(("predicted", "truth"), [(2, 0), (0, 2), (-1, 0)])
def test_a_class_out_of_range_is_refused(predicted, truth):
    with pytest.raises(ValueError, match=r"wanted 0 to 1"):
        Confusion.of(torch.tensor([predicted]), torch.tensor([truth]), 2)
