"""Training learns, is the same twice, and goes on after a kill as if nothing had happened."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from gossamer import CheckpointError, PointCloud
from gossamer.training import Recipe, Run, evaluate, predict, recipe_for
from gossamer.training import checkpoint as checkpoint_file
from gossamer.training import resume as resume_file
from gossamer.training.feed import Epoch, Prepared
from gossamer.training.loop import one_cycle
from tests.training.tiny import RECIPE, data, field, longer


def weights(run: Run) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in run.model.state_dict().items()}


def assert_same(first: dict, second: dict) -> None:
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def test_a_network_learns_to_tell_boxes_from_the_field(tmp_path):
    run = Run(longer(12), data(), tmp_path)
    untrained = evaluate(run.trained, data().validation).miou
    trained = run.train()
    score = evaluate(trained, data().validation)
    assert score.miou > 0.9 > untrained
    assert score.points == 2 * 720  # the points without a label do not count


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path):
    state = torch.get_rng_state()
    runs = [Run(RECIPE, data(), tmp_path / name) for name in "ab"]
    for run in runs:
        run.train()
    assert_same(weights(runs[0]), weights(runs[1]))
    assert torch.equal(torch.get_rng_state(), state)  # the caller's dice are not touched
    other = Run(replace(RECIPE, seed=1), data(), tmp_path / "c")
    other.train()
    assert not torch.equal(other.model.head.weight, runs[0].model.head.weight)


def test_worker_processes_change_nothing(tmp_path):
    alone, helped = (Run(RECIPE, data(), tmp_path / str(n), workers=n) for n in (0, 2))
    for run in (alone, helped):
        run.train()
    assert_same(weights(alone), weights(helped))


class Killed(Exception):
    pass


@pytest.mark.parametrize("step", [3, 4, 8])
def test_a_run_that_stops_anywhere_goes_on_to_the_same_weights(step, tmp_path, monkeypatch):
    monkeypatch.setattr("gossamer.training.loop.SAVE_EVERY", 0.0)
    whole = Run(RECIPE, data(), tmp_path / "whole")
    whole.train()

    def stop(progress):
        if progress.stage == "training" and progress.done == step:
            raise Killed

    with pytest.raises(Killed):
        Run(RECIPE, data(), tmp_path / "cut").train(stop)
    resumed = Run(RECIPE, data(), tmp_path / "cut")
    resumed.go_on()
    assert resumed.step == step
    resumed.train()
    assert_same(weights(whole), weights(resumed))
    assert resumed.spent.voxels == whole.spent.voxels


CHILD = """
import os, signal, sys
from pathlib import Path
from gossamer.training import Run
from tests.training.tiny import RECIPE, data

def die(progress):
    if progress.stage == "training" and progress.done == 8:
        os.kill(os.getpid(), signal.SIGKILL)

Run(RECIPE, data(), Path(sys.argv[1])).train(die)
"""


def test_a_run_killed_in_the_middle_of_an_epoch_goes_on_to_the_same_weights(tmp_path):
    child = subprocess.run([sys.executable, "-c", CHILD, str(tmp_path / "cut")], check=False)
    assert child.returncode == -signal.SIGKILL
    resumed = Run(RECIPE, data(), tmp_path / "cut")
    resumed.go_on()
    assert resumed.step == 6  # three steps an epoch: the last whole one is the second
    resumed.train()
    whole = Run(RECIPE, data(), tmp_path / "whole")
    whole.train()
    assert_same(weights(whole), weights(resumed))


def test_a_kill_while_the_state_is_written_leaves_the_last_one(tmp_path, monkeypatch):
    Run(RECIPE, data(), tmp_path).train()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    run = Run(RECIPE, data(), tmp_path)

    def die(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", die)
    with pytest.raises(OSError, match="no space"):
        run.train()
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert after == before
    assert set(after) == {checkpoint_file.FILE, resume_file.FILE}


def test_a_folder_without_a_run_is_begun(tmp_path):
    run = Run(RECIPE, data(), tmp_path)
    run.go_on()
    assert run.step == 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"width": 0.25}, "recipe.width is 0.125; here it is 0.25"),
        ({"epochs": 9}, "recipe.epochs is 4; here it is 9"),
        ({"seed": 3}, "recipe.seed is 0; here it is 3"),
    ],
)
def test_a_run_does_not_go_on_with_other_settings(change, told, tmp_path):
    Run(RECIPE, data(), tmp_path).train()
    with pytest.raises(CheckpointError, match=told):
        Run(replace(RECIPE, **change), data(), tmp_path).go_on()


def test_a_run_does_not_go_on_with_other_data(tmp_path):
    Run(RECIPE, data(), tmp_path).train()
    with pytest.raises(CheckpointError, match="scans is 6; here it is 5"):
        Run(RECIPE, data(5), tmp_path).go_on()
    with pytest.raises(CheckpointError, match="classes is"):
        Run(RECIPE, replace(data(), classes=("sea", "sky")), tmp_path).go_on()


def test_an_epoch_sees_every_scan_once_in_another_order_each_time():
    scans = Prepared(data().train, RECIPE.channels)
    orders = [Epoch(scans, RECIPE, epoch).order for epoch in range(4)]
    assert all(sorted(order) == list(range(6)) for order in orders)
    assert len({tuple(order) for order in orders}) > 1


def test_few_scans_are_repeated_until_there_are_enough_samples():
    scans = Prepared(data(2).train, RECIPE.channels)
    epoch = Epoch(scans, replace(RECIPE, samples=7), 0)
    assert len(epoch) == 7 and np.bincount(epoch.order).tolist() in ([4, 3], [3, 4])
    assert not torch.equal(epoch[0].positions[:50], epoch[2].positions[:50])


def test_the_rest_of_an_epoch_is_what_the_whole_one_ends_with():
    scans = Prepared(data().train, RECIPE.channels)
    whole, rest = Epoch(scans, RECIPE, 1), Epoch(scans, RECIPE, 1, first=4)
    assert len(rest) == 2
    for place in range(2):
        assert torch.equal(rest[place].positions, whole[4 + place].positions)


def test_the_learning_rate_goes_up_and_down_once():
    rates = [one_cycle(i / 100, 0.25) for i in range(101)]
    assert rates[0] == pytest.approx(1 / 25) and rates[25] == 1 and rates[-1] == pytest.approx(1e-3)
    assert rates[:26] == sorted(rates[:26]) and rates[25:] == sorted(rates[25:], reverse=True)


def test_points_without_a_place_get_no_class_and_harm_no_other(tmp_path):
    trained = Run(longer(1), data(), tmp_path).train()
    clean = field(0)
    positions = clean.positions.clone()
    positions[::7] = torch.tensor([float("nan"), 0.0, float("inf")])
    broken = PointCloud(positions, clean.features, clean.names)
    labels = predict(trained, broken)
    sound = positions.isfinite().all(1)
    assert (labels[~sound] == -1).all()
    assert torch.equal(labels[sound], predict(trained, clean[sound]))


def test_features_that_are_not_numbers_harm_nobody(tmp_path):
    trained = Run(longer(1), data(), tmp_path).train()
    features = field(0).features.clone()
    features[::5] = float("nan")
    labels = predict(trained, replace(field(0), features=features))
    assert set(labels.tolist()) <= {0, 1}


@pytest.mark.parametrize("points", [0, 1])
def test_a_scan_of_hardly_any_points_is_predicted(points, tmp_path):
    trained = Run(longer(1), data(), tmp_path).train()
    assert predict(trained, PointCloud(torch.zeros(points, 3))).shape == (points,)


@pytest.mark.parametrize("kind", ["synthetic", "las", "semantic_kitti"])
def test_every_kind_of_data_has_a_recipe(kind):
    recipe = recipe_for(replace(data(), kind=kind, spacing=0.31))
    assert recipe.channels == ("height", "intensity") and recipe.epochs > 1


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"voxel_size": 0.0}, r"voxel_size is 0\.0; wanted a number above 0"),
        ({"width": -1.0}, r"width is -1\.0; wanted a number above 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"epochs": 0}, "epochs is 0; wanted at least 1"),
        ({"batch_size": 0}, "batch_size is 0; wanted at least 1"),
        ({"seed": -1}, "seed is -1; wanted a whole number"),
    ],
)
def test_a_setting_out_of_range_is_refused(setting, told):
    with pytest.raises(ValueError, match=told):
        Recipe(**setting)
