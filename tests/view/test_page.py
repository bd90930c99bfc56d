"""The file alone; what a browser makes of it is in test_browser.py."""

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from gossamer.point_cloud import PointCloud
from gossamer.view import save_html
from tests.view.clouds import CLASSES, blocks

NASTY = (
    '</script><script>window.hacked = 1</script><img src=x onerror="window.hacked = 1"> '
    "{{css}} & \" ' \\u003c <!--<script x"
)


class Parts(HTMLParser):
    """Every tag of a page, and the text of its title and of its scene."""

    def __init__(self, page: str):
        super().__init__()
        self.tags, self.title, self.scene, self._inside = [], "", "", ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self._inside = dict(attrs).get("id") or tag

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "title" and not self.title:
            self.title = data
        elif self._inside == "scene":
            self.scene += data


def told(path):
    return json.loads(Parts(path.read_text("utf-8")).scene)


def numbers(text):
    return np.frombuffer(base64.b64decode(text), np.uint8)


def positions(scene):
    steps = numbers(scene["positions"]).reshape(3, -1, 3) @ [1, 256, 65536]
    return steps.T * scene["step"] + scene["low"]


@pytest.mark.parametrize("shift", [0.0, 4.5e6])
def test_positions_arrive_within_a_tenth_of_a_millimetre(tmp_path, shift):
    cloud, labels = blocks()
    cloud = replace(cloud, positions=cloud.positions.double() + shift)
    save_html(tmp_path / "a.html", cloud, labels, CLASSES)
    np.testing.assert_allclose(
        positions(told(tmp_path / "a.html")), cloud.positions.numpy(), rtol=0, atol=1e-4
    )


def test_a_far_return_costs_the_others_no_more_than_a_decimetre(tmp_path):
    cloud, labels = blocks()
    cloud.positions[5] = 1e6
    save_html(tmp_path / "a.html", cloud, labels, CLASSES)
    np.testing.assert_allclose(
        positions(told(tmp_path / "a.html")), cloud.positions.numpy(), rtol=0, atol=0.1
    )


def test_classes_arrive_as_they_were(tmp_path):
    cloud, labels = blocks()
    truth = labels.clone()
    truth[:7] = -1
    save_html(tmp_path / "a.html", cloud, labels, CLASSES, truth)
    scene = told(tmp_path / "a.html")
    assert (numbers(scene["labels"]) == labels.numpy()).all()
    assert (numbers(scene["truth"]) == np.where(truth < 0, 255, truth)).all()
    assert scene["classes"] == list(CLASSES)


def test_names_cannot_add_anything_to_the_page(tmp_path):
    cloud, labels = blocks()
    save_html(tmp_path / "plain.html", cloud, labels, CLASSES, title="a")
    cloud = replace(cloud, names=(NASTY,))
    save_html(tmp_path / "nasty.html", cloud, labels, [NASTY, "b\u2028", "\ud800"], title=NASTY)
    plain, nasty = (Parts((tmp_path / f"{n}.html").read_text("utf-8")) for n in ("plain", "nasty"))
    assert nasty.tags == plain.tags
    assert nasty.title == NASTY
    assert told(tmp_path / "nasty.html")["classes"] == [NASTY, "b\u2028", "\ud800"]
    assert told(tmp_path / "nasty.html")["features"][0]["name"] == NASTY


def test_the_page_names_no_address_and_forbids_itself_to_use_one(tmp_path):
    cloud, labels = blocks()
    save_html(tmp_path / "a.html", cloud, labels, CLASSES)
    page = (tmp_path / "a.html").read_text("utf-8")
    # The name of SVG looks like an address and is none.
    addresses = set(re.findall(r"(?:https?:)?//[\w.]+\.\w+[\w/]*", page))
    assert addresses == {"http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in page


def test_features_arrive_unless_they_say_nothing(tmp_path):
    points = 300
    names = ("constant", "intensity", "nan")
    features = torch.stack([torch.ones(points), torch.arange(300.0), torch.full((points,), 2.0)], 1)
    features[3, 2] = torch.nan
    cloud = PointCloud(torch.rand(points, 3), features, names)
    save_html(tmp_path / "a.html", cloud)
    shown = {feature["name"]: feature for feature in told(tmp_path / "a.html")["features"]}
    assert shown.keys() == {"intensity", "nan"}
    codes = numbers(shown["intensity"]["data"]).astype(int)
    assert (np.diff(codes) >= 0).all()
    assert (codes[0], codes[-1]) == (0, 255)


@pytest.mark.parametrize("scale", [1.0, 255.0, 65535.0])
def test_camera_colours_arrive_in_any_scale(tmp_path, scale):
    colors = torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.0, 0.25]])
    cloud = PointCloud(torch.rand(2, 3), colors * scale, ("red", "green", "blue"))
    save_html(tmp_path / "a.html", cloud)
    scene = told(tmp_path / "a.html")
    np.testing.assert_allclose(
        numbers(scene["rgb"]).reshape(2, 3), [[255, 0, 127], [0, 255, 64]], atol=1
    )
    assert scene["features"] == []


def test_half_a_million_points_with_all_there_is_to_say_stay_near_ten_megabytes(tmp_path):
    points = 520_000
    generator = torch.Generator().manual_seed(0)
    names = ("intensity", "red", "green", "blue", "ring", "time")
    cloud = PointCloud(
        torch.rand(points, 3, generator=generator),
        torch.rand(points, 6, generator=generator),
        names,
    )
    labels = torch.arange(points) % 3
    save_html(tmp_path / "a.html", cloud, labels, CLASSES, labels)
    scene = told(tmp_path / "a.html")
    assert (tmp_path / "a.html").stat().st_size < 10.2e6
    assert scene["count"] == 500_000
    assert scene["notes"] == ["500,000 of 520,000 points, drawn at random"]


def test_a_limit_below_one_point_is_refused(tmp_path):
    with pytest.raises(ValueError, match="limit is 0"):
        save_html(tmp_path / "a.html", blocks()[0], limit=0)


def test_a_page_that_cannot_be_written_leaves_what_was_there(tmp_path):
    cloud, labels = blocks()
    (tmp_path / "file").write_text("kept")
    with pytest.raises(OSError, match="file"):
        save_html(tmp_path / "file" / "a.html", cloud, labels, CLASSES)
    (tmp_path / "a.html").write_text("kept")
    with pytest.raises(ValueError, match="labels has shape"):
        save_html(tmp_path / "a.html", cloud, labels[1:], CLASSES)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "a.html"}
    assert (tmp_path / "a.html").read_text() == "kept"
