"""The commands that learn and predict: what they leave on disk, and what they refuse at once."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from gossamer import PointCloud, io
from gossamer.cli import main
from gossamer.synthetic import CLASSES
from gossamer.training import Trained
from gossamer.training.checkpoint import FILE, read
from gossamer.training.resume import FILE as STATE
from tests.datasets.test_data import kitti_tree, las_tile
from tests.real_data import real_scan
from tests.training.tiny import RECIPE, data, field


def ran(*words: object) -> None:
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    assert left.value.code == 0


def refused(capsys, *words: object) -> str:
    """The one message of a command that is refused."""
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    assert left.value.code == 2
    return capsys.readouterr().err


@pytest.fixture(scope="module")
def tile(tmp_path_factory) -> Path:
    return las_tile(tmp_path_factory.mktemp("las") / "tile.las", points=2500)


@pytest.fixture(scope="module")
def network(tile, tmp_path_factory) -> Path:
    """The folder of a small network trained on `tile`."""
    folder = tmp_path_factory.mktemp("network")
    ran("train", "--data", tile, "--out", folder, *SMALL)
    return folder


SMALL = ("--epochs", 2, "--width", 0.125, "--voxel-size", 2)


@pytest.fixture
def street(tmp_path) -> Path:
    """The folder of a network that knows streets, untrained."""
    Trained.fresh(RECIPE, data()).save(tmp_path / "street" / FILE)
    return tmp_path / "street"


# train, eval


def test_training_leaves_a_network_its_score_and_its_settings(network):
    assert {path.name for path in network.iterdir()} == {FILE, STATE, "metrics.json"}
    told = json.loads((network / "metrics.json").read_text())
    assert 0 <= told["miou"] <= 1
    assert list(told["per_class"]) == ["ground", "high vegetation", "building"]
    assert told["train_seconds"] > 0 and told["voxels_per_second"] > 0
    assert told["config"]["voxel_size"] == 2 and told["config"]["epochs"] == 2
    assert Trained.load(network).codes == (2, 5, 6)


def test_the_split_is_printed(tile, tmp_path, capsys):
    ran("train", "--data", tile, "--out", tmp_path, *SMALL, "--epochs", 1)
    told = capsys.readouterr().out
    assert "held out" in told and ". " in told and "# " in told


def test_eval_finds_the_score_that_training_found(tile, network, tmp_path):
    ran("eval", "--data", tile, "--checkpoint", network, "--out", tmp_path / "scores.json")
    found = json.loads((tmp_path / "scores.json").read_text())
    told = json.loads((network / "metrics.json").read_text())
    assert all(found[name] == told[name] for name in ("miou", "accuracy", "per_class"))


def test_a_semantic_kitti_folder_trains_too(tmp_path):
    folder = kitti_tree(tmp_path / "data", {"00": 2, "08": 1}, points=200)
    ran("train", "--data", folder, "--out", tmp_path / "out", *SMALL, "--epochs", 1)
    ran("eval", "--data", folder, "--checkpoint", tmp_path / "out")
    assert len(Trained.load(tmp_path / "out").classes) == 19


def test_a_run_that_was_killed_goes_on_to_the_same_network(tile, tmp_path):
    words = ["train", "--data", str(tile), "--width", "0.125", "--voxel-size", "2"]
    words += ["--epochs", "4"]
    line = [sys.executable, "-m", "gossamer", *words, "--out", str(tmp_path / "cut")]
    child = subprocess.Popen(line, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while not (tmp_path / "cut" / STATE).exists() and time.monotonic() < deadline:
        assert child.poll() is None
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    ran(*words, "--out", tmp_path / "cut", "--resume")
    ran(*words, "--out", tmp_path / "whole")
    cut, whole = (read(tmp_path / name / FILE)[0] for name in ("cut", "whole"))
    assert all(torch.equal(cut[name], tensor) for name, tensor in whole.items())


def test_a_folder_that_holds_a_run_is_not_overwritten_unasked(tile, network, capsys):
    told = refused(capsys, "train", "--data", tile, "--out", network, *SMALL)
    assert "holds a run already; --resume goes on with it" in told


def test_a_run_with_other_settings_does_not_go_on(tile, network, capsys):
    told = refused(capsys, "train", "--data", tile, "--out", network, "--resume")
    assert "was saved by a run whose recipe." in told


def test_an_output_folder_that_cannot_be_written_is_told_before_training(tile, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    told = refused(capsys, "train", "--data", tile, "--out", tmp_path / "file" / "out")
    assert "cannot write" in told and "choose another path" in told
    told = refused(capsys, "demo", "--out", tmp_path / "file")
    assert "cannot write" in told


def test_what_is_wrong_with_the_data_is_told_before_training(tmp_path, capsys):
    bare = las_tile(tmp_path / "bare.las", points=100, labels=(0,))
    told = refused(capsys, "train", "--data", bare, "--out", tmp_path / "a")
    assert "bare.las" in told and "classes" in told
    folder = kitti_tree(tmp_path / "kitti", {"00": 1, "08": 1})
    labels = folder / "sequences/08/labels/000000.label"
    labels.write_bytes(labels.read_bytes()[:-4])
    told = refused(capsys, "train", "--data", folder, "--out", tmp_path / "b")
    assert "59 labels and its scan 60 points" in told
    assert not list(tmp_path.glob("[ab]/*"))


def test_a_network_of_other_classes_is_not_scored(tile, street, capsys):
    told = refused(capsys, "eval", "--data", tile, "--checkpoint", street)
    assert "ASPRS" in told and "wanted some classes in common" in told


# predict


def scans_of_every_format(folder: Path) -> list[Path]:
    cloud = field(3)
    bare = PointCloud(cloud.positions, cloud.features, cloud.names)
    names = ["a.bin", "b.npz", "c.ply", "d.pcd", "e.las", "f.laz"]
    for name in names:
        io.write(folder / name, bare)
    return [folder / name for name in names]


def test_every_format_is_predicted_into_labels_a_picture_and_a_page(street, tmp_path, capsys):
    scans = scans_of_every_format(tmp_path / "scans")
    ran("predict", *scans, "--checkpoint", street, "--out", tmp_path / "out")
    for scan in scans:
        suffixes = {".label" if scan.suffix == ".bin" else scan.suffix, ".png", ".html"}
        made = {path.suffix for path in (tmp_path / "out").glob(f"{scan.stem}.*")}
        assert made == suffixes
    expected = io.read_labels(tmp_path / "out" / "a.label")[0]
    assert set(expected.tolist()) <= {40, 50}
    for scan in scans[1:4]:
        again = io.read(tmp_path / "out" / scan.name)
        assert torch.equal(again.labels, expected)
        assert torch.equal(again.positions, field(3).positions)


def test_points_without_a_place_are_labelled_0(street, tmp_path):
    cloud = field(3)
    positions = cloud.positions.clone()
    positions[5] = float("nan")
    io.write(tmp_path / "scan.bin", PointCloud(positions, cloud.features, cloud.names))
    ran("predict", tmp_path / "scan.bin", "--checkpoint", street, "--out", tmp_path / "out")
    labels, _ = io.read_labels(tmp_path / "out" / "scan.label")
    assert labels[5] == 0 and (labels == 0).sum() == 1


def test_feet_are_metres_when_they_are_told(network, tmp_path, tile):
    cloud = io.read(tile)
    feet = PointCloud(cloud.positions / 0.3048, cloud.features, cloud.names)
    io.write(tmp_path / "feet.npz", feet)
    io.write(tmp_path / "metres.npz", PointCloud(cloud.positions, cloud.features, cloud.names))
    ran("predict", tmp_path / "metres.npz", "--checkpoint", network, "--out", tmp_path / "a")
    words = ("--checkpoint", network, "--out", tmp_path / "a", "--unit", 0.3048)
    ran("predict", tmp_path / "feet.npz", *words)
    metres, again = (io.read(tmp_path / "a" / name).labels for name in ("metres.npz", "feet.npz"))
    assert (metres == again).double().mean() > 0.98  # a few points lie on a voxel's face


def test_two_scans_of_one_name_keep_apart(street, tmp_path):
    for suffix in ("npz", "ply"):
        io.write(tmp_path / f"scan.{suffix}", field(1))
    words = ("--checkpoint", street, "--out", tmp_path / "out")
    ran("predict", tmp_path / "scan.npz", tmp_path / "scan.ply", *words)
    pictures = {path.name for path in (tmp_path / "out").glob("*.png")}
    assert pictures == {"scan.npz.png", "scan.ply.png"}


def test_a_scan_is_never_overwritten_by_its_prediction(street, tmp_path, capsys):
    scan = tmp_path / "scan.npz"
    io.write(scan, field(1))
    before = scan.read_bytes()
    told = refused(capsys, "predict", scan, "--checkpoint", street, "--out", tmp_path)
    assert "wanted a folder that holds no scan" in told and scan.read_bytes() == before


def test_a_scan_or_a_network_that_is_missing_is_told(street, tmp_path, capsys):
    words = ("--out", tmp_path / "out")
    told = refused(capsys, "predict", tmp_path / "no.bin", "--checkpoint", street, *words)
    assert "no.bin" in told
    told = refused(capsys, "predict", tmp_path / "no.bin", "--checkpoint", tmp_path, *words)
    assert "no checkpoint" in told


def test_a_truncated_scan_is_told(street, tmp_path, capsys):
    (tmp_path / "short.bin").write_bytes(bytes(1001))
    told = refused(
        capsys, "predict", tmp_path / "short.bin", "--checkpoint", street, "--out", tmp_path / "o"
    )
    assert "short.bin has 1001 bytes" in told


@pytest.mark.parametrize(
    "name",
    ["kitti/000008.bin", "ouster/OS-1-128_0.npz", "small_gicp/source.ply", "aerial/sample_c.las"],
)
def test_a_real_scan_is_predicted(name, street, tmp_path):
    scan = real_scan(name)
    ran("predict", scan, "--checkpoint", street, "--out", tmp_path / "out")
    made = {path.suffix for path in (tmp_path / "out").iterdir()}
    assert made == {".label" if scan.suffix == ".bin" else scan.suffix, ".png", ".html"}


# demo


def test_the_demo_leaves_a_score_a_network_and_pictures(tmp_path):
    mine = field(0)
    io.write(tmp_path / "mine.bin", PointCloud(mine.positions, mine.features, mine.names))
    ran("demo", "--out", tmp_path / "out", "--scans", 1, "--epochs", 1, "--held-out", 1,
        "--scan", tmp_path / "mine.bin")  # fmt: skip
    names = {path.name for path in (tmp_path / "out").iterdir()}
    pictures = {f"{name}.{suffix}" for name in ("prediction", "mine") for suffix in ("png", "html")}
    assert names == {"metrics.json", FILE, *pictures}
    told = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert list(told["per_class"]) == list(CLASSES)
    assert {"miou", "train_seconds", "voxels_per_second", "peak_memory_bytes"} <= told.keys()
    assert np.isfinite(told["train_seconds"]) and told["steps"] == 1


def test_a_scan_that_is_missing_is_told_before_training(tmp_path, capsys):
    told = refused(capsys, "demo", "--out", tmp_path / "out", "--scan", tmp_path / "no.bin")
    assert "no.bin" in told and not (tmp_path / "out").exists()
