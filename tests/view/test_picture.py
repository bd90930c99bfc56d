import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib import image

from gossamer.point_cloud import PointCloud
from gossamer.view import class_colors, save_png
from gossamer.view.framing import Framing
from gossamer.view.palette import CORRECT, RAMP, WRONG, rgb
from gossamer.view.raster import draw, from_above, in_perspective
from tests.real_data import real_scan
from tests.view.clouds import CLASSES, blocks, holds, where

FRAME = Framing((0.0, 0.0, 0.0), 10.0, 0.0, 0.1)
BLACK = np.zeros(3, np.uint8)
RED, BLUE = np.array([[255, 0, 0]], np.uint8), np.array([[0, 0, 255]], np.uint8)


def read(path):
    return (image.imread(path)[..., :3] * 255).round().astype(np.uint8)


def test_the_picture_shows_every_class_in_its_colour(tmp_path):
    cloud, labels = blocks()
    save_png(tmp_path / "a.png", cloud, labels, CLASSES, title="three slabs")
    picture = read(tmp_path / "a.png")
    assert picture.shape == (778, 1928, 3)
    for color in class_colors(CLASSES):
        # Two views of about 200 points, and a square in the legend of about 200 pixels.
        assert holds(picture, color) > 600


def test_a_class_nobody_has_is_seen_in_the_legend_alone(tmp_path):
    cloud, labels = blocks()
    save_png(tmp_path / "a.png", cloud, labels.clamp(max=1), CLASSES)
    assert 0 < holds(read(tmp_path / "a.png"), class_colors(CLASSES)[2]) <= 14 * 14


def test_truth_stands_beside_the_prediction_and_errors_are_marked(tmp_path):
    cloud, truth = blocks()
    labels = truth.clone()
    labels[truth == 2] = 0
    save_png(tmp_path / "a.png", cloud, labels, CLASSES, truth)
    picture = read(tmp_path / "a.png")
    assert picture.shape[1] == 1928
    car = class_colors(CLASSES)[2]
    left, right = picture[:, :800], picture[:, 820:1600]
    assert holds(left[:660], car) == 0
    assert holds(right[:660], car) > 200
    assert holds(picture, rgb(WRONG)) > 400
    assert holds(picture, rgb(CORRECT)) > 800


def test_without_labels_colours_tell_the_height(tmp_path):
    cloud, _ = blocks()
    save_png(tmp_path / "a.png", cloud)
    picture = read(tmp_path / "a.png")
    for color in (RAMP[0], RAMP[-1]):
        assert holds(picture, rgb(color)) > 20


def test_seen_from_above_x_is_to_the_right_and_y_is_up():
    east = draw(from_above(np.array([[5.0, 0, 0]]), FRAME, (200, 300)), RED, BLACK)
    north = draw(from_above(np.array([[0, 5.0, 0]]), FRAME, (200, 300)), RED, BLACK)
    # Ten metres are half of the smaller edge, so five are 50 pixels.
    assert where(east, RED) == pytest.approx([100, 200], abs=1.5)
    assert where(north, RED) == pytest.approx([50, 150], abs=1.5)


def test_in_perspective_the_target_is_in_the_middle_and_up_is_up():
    middle = draw(in_perspective(np.zeros((1, 3)), FRAME, (200, 300)), RED, BLACK)
    above = draw(in_perspective(np.array([[0, 0, 2.0]]), FRAME, (200, 300)), RED, BLACK)
    assert where(middle, RED) == pytest.approx([100, 150], abs=2)
    assert where(above, RED)[0] < 90
    assert where(above, RED)[1] == pytest.approx(150, abs=2)


def test_what_lies_behind_the_eye_is_not_drawn():
    behind = draw(in_perspective(np.array([[-900.0, -400, 900]]), FRAME, (200, 300)), RED, BLACK)
    assert holds(behind, RED) == 0


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_the_nearest_point_wins_in_any_order(order):
    positions, colors = np.array([[0.0, 0, 0], [0, 0, 3]]), np.concatenate([RED, BLUE])
    picture = draw(from_above(positions[order], FRAME, (200, 200)), colors[order], BLACK)
    assert holds(picture, BLUE) > 0
    assert holds(picture, RED) == 0


@pytest.mark.parametrize("labelled", [True, False])
def test_an_empty_cloud_still_gives_a_picture(tmp_path, labelled):
    cloud, labels = blocks()
    arguments = (labels[:0], CLASSES, labels[:0]) if labelled else ()
    save_png(tmp_path / "a.png", cloud[:0], *arguments)
    assert read(tmp_path / "a.png").shape[1] == 1928


def test_any_words_can_be_a_title_or_a_class(tmp_path):
    cloud, labels = blocks()
    names = ("$x_", "\\frac{", "two\nlines and a name that has no end at all")
    save_png(tmp_path / "a.png", cloud, labels, names, title="100 % $ of {it} \\alpha")
    assert read(tmp_path / "a.png").any()


def test_thousands_of_kilometres_and_hundreds_of_classes_are_drawn(tmp_path):
    cloud, _ = blocks(510)
    far = replace(cloud, positions=cloud.positions.double() + 5e6)
    save_png(tmp_path / "a.png", far, torch.arange(510) // 2, [f"class {i}" for i in range(255)])
    assert holds(read(tmp_path / "a.png"), class_colors([f"class {i}" for i in range(255)])[9]) > 5


def test_a_picture_that_cannot_be_written_leaves_what_was_there(tmp_path):
    cloud, labels = blocks()
    (tmp_path / "file").write_text("kept")
    with pytest.raises(OSError, match="file"):
        save_png(tmp_path / "file" / "a.png", cloud, labels, CLASSES)
    (tmp_path / "a.png").write_text("kept")
    with pytest.raises(ValueError, match="labels has shape"):
        save_png(tmp_path / "a.png", cloud, labels[1:], CLASSES)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "a.png"}
    assert (tmp_path / "a.png").read_text() == "kept"


def test_without_matplotlib_the_error_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install gossamer\[viz\]"):
        save_png(tmp_path / "a.png", blocks()[0])


def test_a_real_scan_fills_the_picture(tmp_path):
    scan = np.load(real_scan("ouster/OS-1-128_0.npz"))
    save_png(tmp_path / "a.png", PointCloud(torch.from_numpy(scan["xyz_mm"] / 1000)))
    picture = read(tmp_path / "a.png")[120:740, 30:1590]
    assert (picture != rgb("#151a21")).any(-1).mean() > 0.15
