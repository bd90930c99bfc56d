from dataclasses import replace

import numpy as np
import pytest
import torch

from gossamer.view.framing import framing
from gossamer.view.legend import legend
from gossamer.view.scene import NONE, scene
from tests.view.clouds import CLASSES, blocks


def with_label(value, row=4):
    labels = blocks(6)[1].clone()
    labels[row] = value
    return labels


@pytest.mark.parametrize(
    ("labels", "error", "words"),
    [
        (torch.zeros(5, dtype=torch.int64), ValueError, r"labels has shape \(5,\); wanted \[6\]"),
        (torch.zeros(6, 1, dtype=torch.int64), ValueError, r"labels has shape \(6, 1\)"),
        (with_label(3), ValueError, "labels row 4 is 3; wanted 0 to 2"),
        (with_label(-2), ValueError, "labels row 4 is -2; .* or -1 for a point without a class"),
        (torch.zeros(6), TypeError, "labels is torch.float32; wanted an integer"),
        ([0] * 6, TypeError, "labels is list; wanted an integer"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, error, words):
    with pytest.raises(error, match=words):
        scene(blocks(6)[0], labels, CLASSES, None)


def test_truth_is_checked_under_its_own_name():
    cloud, labels = blocks(6)
    with pytest.raises(ValueError, match="truth row 4 is 9"):
        scene(cloud, labels, CLASSES, with_label(9))


def test_what_is_no_single_scan_is_refused():
    cloud, labels = blocks(6)
    with pytest.raises(TypeError, match="cloud is a Tensor; wanted a gossamer"):
        scene(cloud.positions, labels, CLASSES, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="cloud holds 3 scans; view one"):
        scene(replace(cloud, batch=labels), labels, CLASSES, None)
    with pytest.raises(ValueError, match="classes has 256 names"):
        scene(cloud, labels, ["x"] * 256, None)


def test_points_without_a_finite_position_are_left_out_with_all_that_belongs_to_them():
    cloud, labels = blocks(9)
    cloud.positions[2, 1] = torch.nan
    cloud.positions[5, 0] = torch.inf
    cloud.features[7] = torch.nan
    shown = scene(cloud, labels, CLASSES, labels)
    kept = [0, 1, 3, 4, 6, 7, 8]
    assert shown.notes == ("2 points without a finite position left out",)
    assert (shown.labels == labels[kept].numpy()).all()
    assert (shown.positions == cloud.positions[kept].numpy()).all()
    assert np.isfinite(shown.features["intensity"]).all()


def test_a_subsample_keeps_rows_together_and_says_so():
    cloud, labels = blocks(600)
    whole = scene(cloud, labels, CLASSES, None)
    part = whole.at_most(100)
    assert len(part) == 100
    assert part.notes == ("100 of 600 points, drawn at random",)
    assert (np.floor(part.positions[:, 1] / 4) == part.labels).all()
    assert (whole.at_most(100).positions == part.positions).all()
    assert whole.at_most(600) is whole


def test_a_verdict_is_given_only_where_both_classes_are_known():
    labels, truth = torch.tensor([0, 1, 2, -1, 0, -1]), torch.tensor([0, 2, 2, 1, -1, -1])
    shown = scene(blocks(6)[0], labels, CLASSES, truth)
    assert shown.verdicts is not None
    assert shown.verdicts.tolist() == [0, 1, 0, 2, 2, 2]
    assert shown.codes("class").tolist() == [0, 1, 2, NONE, 0, NONE]
    entries = {entry.name: entry for entry in legend(shown, "class")}
    assert [entries[name].count for name in (*CLASSES, "unlabelled")] == [2, 1, 1, 2]
    assert sum(entry.share for entry in entries.values()) == pytest.approx(1)


def test_unsigned_labels_are_labels():
    cloud, labels = blocks(6)
    shown = scene(cloud, labels.to(torch.uint8), CLASSES, labels.to(torch.int32))
    assert shown.verdicts is not None
    assert not shown.verdicts.any()


def test_a_single_far_return_does_not_shrink_the_rest():
    positions = blocks(600)[0].positions.double().numpy()
    stray = np.concatenate([positions, [[9e5, -9e5, 9e5]]])
    near, far = framing(positions), framing(stray)
    assert far.radius == pytest.approx(near.radius, rel=0.1)
    assert far.target == pytest.approx(near.target, abs=0.5)


@pytest.mark.parametrize("points", [0, 1])
def test_hardly_any_points_still_have_a_framing(points):
    frame = framing(np.ones((points, 3)))
    assert frame.radius > 0
    assert frame.spacing > 0
