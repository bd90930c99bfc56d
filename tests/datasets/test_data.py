"""Data sets: who learns from what, who is judged by what, and what is wrong with a folder."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gossamer import FormatError, PointCloud, io
from gossamer.datasets import open_data, relabelled, synthetic
from gossamer.datasets.blocks import MOST_POINTS, Blocks, tiles
from gossamer.datasets.semantic_kitti import LEARNED
from tests.real_data import real_scan


def kitti_tree(folder: Path, scans: dict[str, int], points: int = 60) -> Path:
    """A SemanticKITTI folder: sequence -> number of scans; point i has label 10 * i % 260."""
    for sequence, count in scans.items():
        for number in range(count):
            cloud = PointCloud(
                torch.rand(points, 3),
                torch.full((points, 1), number / 10),
                ("intensity",),
                torch.arange(points) * 10 % 260,
            )
            io.write(folder / "sequences" / sequence / "velodyne" / f"{number:06d}.bin", cloud)
    return folder


def las_tile(path: Path, points: int = 4000, labels: tuple[int, ...] = (2, 5, 6, 7)) -> Path:
    """A field of 60 x 40 m with trees and houses, far from the origin, all classes everywhere."""
    random = np.random.default_rng(0)
    codes = torch.from_numpy(random.choice(labels, points))
    xyz = random.uniform((0, 0, 0), (60, 40, 0.2), (points, 3))
    xyz[:, 2] += np.where(codes == 2, 0, random.uniform(2, 8, points))
    positions = torch.from_numpy(xyz + np.array([600_000.0, 5_000_000.0, 300.0]))
    intensity = torch.from_numpy(random.integers(1, 1000, (points, 1)).astype(np.float32))
    io.write(path, PointCloud(positions, intensity, ("intensity",), codes))
    return path


# synthetic


def test_no_street_is_both_learned_and_judged():
    data = synthetic(3, 2)
    seeds = [set(scans.seeds) for scans in (data.train, data.validation)]
    assert len(data.train) == 3 and len(data.validation) == 2 and not seeds[0] & seeds[1]


def test_a_simulated_scan_is_the_same_whenever_it_is_asked_for():
    first, again = synthetic(1, 1).validation[0], synthetic(5, 1).validation[0]
    assert torch.equal(first.positions, again.positions)
    assert torch.equal(first.labels, again.labels)
    assert set(first.labels.tolist()) <= set(range(len(synthetic().classes)))


@pytest.mark.parametrize("spec", ["synthetic:0", "synthetic:few", "synthetic:-3", "synthetic:"])
def test_a_number_of_scans_that_is_none_is_refused(spec):
    with pytest.raises(ValueError, match=f"data is '{spec}'; wanted synthetic, synthetic:N"):
        open_data(spec)


def test_the_number_of_scans_is_taken():
    assert len(open_data("synthetic:7").train) == 7


# SemanticKITTI


def test_sequence_08_is_held_out_and_the_test_sequences_are_left_alone(tmp_path):
    data = open_data(str(kitti_tree(tmp_path, {"00": 3, "08": 2, "10": 1, "11": 4})))
    assert len(data.train) == 4 and len(data.validation) == 2
    assert "sequences 00, 10" in data.split[0] and "sequence 08" in data.split[0]


def test_raw_labels_become_the_19_classes_of_the_benchmark(tmp_path):
    data = open_data(str(kitti_tree(tmp_path, {"00": 1, "08": 1})))
    assert len(data.classes) == len(data.codes) == 19
    # From semantic-kitti.yaml: learning_map, and learning_map_inv for the codes.
    expected = {0: -1, 10: 0, 20: 4, 30: 5, 40: 8, 50: 12, 60: 8, 70: 14, 80: 17, 90: -1}
    expected |= {100: -1, 110: -1, 120: -1, 130: -1, 140: -1, 150: -1, 160: -1, 170: -1, 180: -1}
    expected |= {190: -1, 200: -1, 210: -1, 220: -1, 230: -1, 240: -1, 250: -1}
    labels = data.train[0].labels
    assert labels.tolist() == [expected[i * 10 % 260] for i in range(60)]
    assert [data.codes[i] for i in (0, 8, 18)] == [10, 40, 81]
    moving = {252: "car", 253: "bicyclist", 254: "person", 255: "motorcyclist", 258: "truck"}
    assert all(code in LEARNED[name] for code, name in moving.items())


def test_without_sequence_08_the_last_one_is_held_out_and_of_one_the_last_scans(tmp_path):
    several = open_data(str(kitti_tree(tmp_path / "a", {"00": 1, "03": 2})))
    assert (len(several.train), len(several.validation)) == (1, 2)
    single = open_data(str(kitti_tree(tmp_path / "b", {"04": 10})))
    assert (len(single.train), len(single.validation)) == (8, 2)
    assert [float(single.validation[i].features[0, 0]) for i in range(2)] == pytest.approx(
        [0.8, 0.9]
    )


def test_a_label_file_of_another_length_is_told_before_anything_is_read(tmp_path):
    kitti_tree(tmp_path, {"00": 2, "08": 1})
    labels = tmp_path / "sequences/00/labels/000001.label"
    labels.write_bytes(labels.read_bytes()[:-8])
    with pytest.raises(FormatError, match=r"000001\.label has 58 labels and its scan 60 points"):
        open_data(str(tmp_path))


def test_a_scan_without_labels_is_told(tmp_path):
    kitti_tree(tmp_path, {"00": 2, "08": 1})
    (tmp_path / "sequences/00/labels/000000.label").unlink()
    with pytest.raises(FileNotFoundError, match=r"000000\.bin has no labels"):
        open_data(str(tmp_path))


@pytest.mark.parametrize("scans", [{}, {"11": 2}])
def test_a_tree_without_labelled_scans_is_told(scans, tmp_path):
    (tmp_path / "sequences").mkdir()
    with pytest.raises(FileNotFoundError, match="no labelled scans"):
        open_data(str(kitti_tree(tmp_path, scans)))


# LAS


def test_every_point_of_a_file_is_either_learned_or_judged_and_a_quarter_of_each_class(tmp_path):
    data = open_data(str(las_tile(tmp_path / "field.las")))
    train, held_out = data.train[0].labels, data.validation[0].labels
    truth = relabelled(io.read(tmp_path / "field.las"), data.codes).labels
    assert not ((train >= 0) & (held_out >= 0)).any()
    assert torch.equal(torch.maximum(train, held_out), truth)
    for label in range(len(data.classes)):
        count = int((held_out == label).sum())
        assert 0.15 < count / (count + int((train == label).sum())) < 0.35
    assert data.classes == ("ground", "high vegetation", "building") and data.codes == (2, 5, 6)
    assert data.channels == ("height", "intensity")


def test_held_out_points_lie_in_blocks_of_their_own(tmp_path):
    data = open_data(str(las_tile(tmp_path / "field.laz")))
    train, held_out = (
        scans[0].positions[scans[0].labels >= 0][:, :2] for scans in (data.train, data.validation)
    )
    # Blocks of 10 m with 1.7 points a square metre: a held-out point has few learned ones near.
    alone = torch.cdist(held_out, train).min(1).values
    assert alone.max() > 3.0
    assert "blocks of 10 m" in data.split[0] and "#" in "".join(data.split[1:5])


def test_noise_and_what_has_hardly_a_point_is_not_judged(tmp_path):
    data = open_data(str(las_tile(tmp_path / "field.las")))
    assert "not judged" in data.split[-1] and "7: " in data.split[-1]
    labels = torch.maximum(data.train[0].labels, data.validation[0].labels)
    assert torch.equal(labels == -1, io.read(tmp_path / "field.las").labels == 7)


def test_a_folder_is_all_of_its_files(tmp_path):
    for name in ("a.las", "b.laz"):
        las_tile(tmp_path / name)
    data = open_data(str(tmp_path))
    assert len(data.train) == len(data.validation) == 2


@pytest.mark.parametrize("labels", [(0,), (2,), (2, 7)])
def test_a_las_without_classes_to_tell_apart_is_refused(labels, tmp_path):
    path = las_tile(tmp_path / "field.las", labels=labels)
    with pytest.raises(FormatError, match=r"(without classes|wanted at least two)"):
        open_data(str(path))


def test_what_is_no_data_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no \.las or \.laz file"):
        open_data(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="wanted synthetic"):
        open_data(str(tmp_path / "nothing.txt"))
    (tmp_path / "scan.bin").write_bytes(b"")
    with pytest.raises(ValueError, match="wanted synthetic"):
        open_data(str(tmp_path / "scan.bin"))


def test_large_files_are_cut_into_tiles_that_hold_every_point_once():
    points = 3 * MOST_POINTS
    cloud = PointCloud(torch.rand(points, 3) * 100, labels=torch.arange(points))
    parts = tiles(cloud)
    assert torch.equal(torch.cat([p.labels for p in parts]).sort().values, cloud.labels)
    assert 3 <= len(parts) <= 6 and max(map(len, parts)) < 2 * MOST_POINTS


@pytest.mark.parametrize("extent", [(1.0, 1.0), (1000.0, 0.0), (0.0, 0.0)])
def test_blocks_of_any_extent_cover_all_points(extent):
    positions = torch.rand(500, 3) * torch.tensor([*extent, 1.0])
    blocks = Blocks.of(positions, torch.zeros(500, dtype=torch.int64), 0.25)
    assert int(blocks.grid.sum()) == 500 and blocks.chosen.numel() <= 60


def test_labels_are_counted_by_their_place_among_the_codes():
    cloud = PointCloud(torch.zeros(6, 3), labels=torch.tensor([6, 2, 5, 0, -1, 70_000]))
    assert relabelled(cloud, (2, 5, 6)).labels.tolist() == [2, 0, 1, -1, -1, -1]


def test_the_real_aerial_scan_is_divided_with_every_class_on_both_sides():
    data = open_data(str(real_scan("aerial/als_60x40m_5class.las")))
    assert data.codes == (2, 3, 4, 5, 6)
    for scans in (data.train, data.validation):
        labels = torch.cat([c.labels for c in scans])
        assert set(labels.tolist()) == {-1, 0, 1, 2, 3, 4}
