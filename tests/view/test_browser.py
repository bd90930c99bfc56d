"""The page in a real browser, from disk; these tests skip where there is no Chromium."""

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from gossamer.point_cloud import PointCloud
from gossamer.view import class_colors, save_html
from gossamer.view.palette import RAMP, WRONG, rgb
from tests.real_data import real_scan
from tests.view.browser import browser
from tests.view.clouds import CLASSES, blocks, holds, where
from tests.view.test_page import NASTY

FLAT = "#shading=0"  # without shading every pixel of a point has the colour of the legend
WIDTH = 800  # of the drawing, beside the panel


@pytest.fixture(scope="module")
def page():
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def slabs(tmp_path_factory):
    cloud, truth = blocks()
    labels = truth.clone()
    labels[::10] = 0
    path = tmp_path_factory.mktemp("pages") / "slabs.html"
    save_html(path, cloud, labels, CLASSES, truth, title="three slabs")
    return path


def drawn(page):
    return page.screenshot()[:, :WIDTH]


def test_the_page_opens_from_disk_in_silence_and_draws_every_class(page, slabs):
    page.open(slabs, FLAT)
    assert page.text("#title") == "three slabs"
    assert page.text("#count") == "600 points"
    assert page.run("document.documentElement.dataset.state") == "drawn"
    picture = drawn(page)
    for color in class_colors(CLASSES):
        assert holds(picture, color) > 600
    assert page.said == []
    assert page.asked == [slabs.as_uri()]


def test_a_line_of_the_legend_hides_and_shows_its_points(page, slabs):
    page.open(slabs, FLAT)
    car = class_colors(CLASSES)[2]
    before = drawn(page)
    page.click('[data-code="2"]')
    hidden = drawn(page)
    assert holds(hidden, car) == 0
    assert page.text("#count") == "420 of 600 points"
    page.click('[data-code="2"]')
    assert (drawn(page) == before).all()
    assert page.text("#count") == "600 points"


def test_only_leaves_one_class_and_show_all_brings_the_others_back(page, slabs):
    page.open(slabs, FLAT)
    page.click(".row:nth-child(2) .only")
    picture = drawn(page)
    road, vegetation, car = (holds(picture, color) for color in class_colors(CLASSES))
    assert vegetation > 0
    assert road == car == 0
    page.click("#all")
    assert page.text("#count") == "600 points"


def test_the_address_remembers_what_the_page_shows(page, slabs):
    page.open(slabs, FLAT)
    page.click('[data-code="2"]')
    page.click('[data-view="top"]')
    page.click("#theme")
    before, address = drawn(page), page.run("location.hash")
    page.open(slabs, address)
    assert (drawn(page) == before).all()
    assert page.text("#count") == "420 of 600 points"


@pytest.mark.parametrize(
    "address", ["#hide=class:9.x.,nothing:1&size=nan&view=__proto__", "#color=no&theme=7&size=1e9"]
)
def test_an_address_that_makes_no_sense_is_no_error(page, slabs, address):
    page.open(slabs, address)
    assert page.run("document.documentElement.dataset.state") == "drawn"
    assert page.text("#count") == "600 points"
    assert page.said == []


def test_errors_are_marked_and_can_be_looked_at_alone(page, slabs):
    page.open(slabs, FLAT + "&color=errors&hide=errors:0")
    assert page.text("#count") == "40 of 600 points"
    assert holds(drawn(page), rgb(WRONG)) > 40
    page.run("document.querySelector('#paint').value = 'class'")
    page.run("document.querySelector('#paint').dispatchEvent(new Event('change'))")
    road, *others = class_colors(CLASSES)
    picture = drawn(page)
    assert holds(picture, road) > 40
    assert sum(holds(picture, color) for color in others) == 0


@pytest.mark.parametrize("color", ["height", "intensity"])
def test_numbers_are_coloured_from_the_first_to_the_last_of_the_ramp(page, slabs, color):
    page.open(slabs, f"{FLAT}&color={color}")
    picture = drawn(page)
    assert holds(picture, rgb(RAMP[0])) > 0
    assert holds(picture, rgb(RAMP[-1])) > 0
    assert "≥" in page.text("#legend")


def test_camera_colours_are_drawn_as_they_are(page, tmp_path):
    colors = torch.tensor([[200.0, 30.0, 77.0]]).expand(50, 3)
    save_html(tmp_path / "a.html", PointCloud(torch.rand(50, 3), colors, ("red", "green", "blue")))
    page.open(tmp_path / "a.html", FLAT + "&color=camera-colour")
    assert holds(drawn(page), (200, 30, 77)) > 200


def test_seen_from_the_top_x_is_to_the_right_and_y_is_up(page, tmp_path):
    ground = torch.rand(400, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor(
        [9, 9, 1]
    )
    corners = torch.tensor([[9.0, 0.0, 0.0], [0.0, 9.0, 0.0]])
    labels = torch.cat([torch.zeros(400, dtype=torch.int64), torch.tensor([1, 2])])
    save_html(tmp_path / "a.html", PointCloud(torch.cat([ground, corners])), labels, CLASSES)
    page.open(tmp_path / "a.html", FLAT + "&view=top&size=2")
    picture = drawn(page)
    rows, columns = zip(*(where(picture, color) for color in class_colors(CLASSES)), strict=True)
    assert columns[2] < columns[0] < columns[1]
    assert rows[2] < rows[0] < rows[1]


def test_a_click_tells_the_point_under_it(page, tmp_path):
    # Alone, and so in the middle of the view.
    cloud = PointCloud(torch.tensor([[4_000_001.25, -7.5, 30.0]], dtype=torch.float64))
    save_html(tmp_path / "a.html", cloud, torch.tensor([1]), CLASSES, torch.tensor([2]))
    page.open(tmp_path / "a.html")
    page.drag((WIDTH // 2, 350), (WIDTH // 2, 350))
    card = page.text("#card")
    assert "4000001.25, -7.50, 30.00 m" in card
    assert re.search(r"Predicted class\s+vegetation", card)
    assert re.search(r"True class\s+car", card)
    page.drag((20, 600), (20, 600))
    assert page.run("document.querySelector('#card').hidden")


def test_dragging_turns_the_view(page, slabs):
    page.open(slabs, FLAT)
    before = drawn(page)
    page.drag((300, 300), (420, 330))
    assert (before != drawn(page)).any(-1).mean() > 0.02


def test_the_wheel_comes_nearer_and_keeps_what_is_under_the_mouse(page, tmp_path):
    positions = torch.tensor([[0.0, 0.0, 0.0], [3.0, 0.0, 0.0], [0.0, 9.0, 0.0]])
    save_html(tmp_path / "a.html", PointCloud(positions), torch.arange(3), CLASSES)
    page.open(tmp_path / "a.html", FLAT + "&view=top")
    there, beside = (where(drawn(page), color) for color in class_colors(CLASSES)[:2])
    page.wheel(round(there[1]), round(there[0]), -200)
    after, away = (where(drawn(page), color) for color in class_colors(CLASSES)[:2])
    assert after == pytest.approx(there, abs=1.5)
    # A step of the wheel brings the eye nearer by e**(0.0015 of what it turned).
    assert away[1] - after[1] == pytest.approx((beside[1] - there[1]) * np.exp(0.3), rel=0.02)


def test_shading_darkens_and_never_brightens(page, slabs):
    page.open(slabs, "#shading=0")
    flat = drawn(page).astype(int)
    page.open(slabs, "#shading=1")
    shaded = drawn(page).astype(int)
    # A corner of the drawing has the axes and another the scale, which are not shaded.
    assert (shaded <= flat).all()
    assert (shaded < flat).any(-1).mean() > 0.0003


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_both_grounds_show_the_same_colours_of_classes(page, slabs, theme):
    page.open(slabs, f"{FLAT}&theme={theme}")
    picture = drawn(page)
    assert (picture.mean() > 128) == (theme == "light")
    for color in class_colors(CLASSES):
        assert holds(picture, color) > 600


def test_nasty_names_are_shown_and_do_nothing(page, tmp_path):
    cloud, labels = blocks()
    cloud = replace(cloud, names=(NASTY,))
    save_html(tmp_path / "a.html", cloud, labels, [NASTY, "", "\ud800"], title=NASTY)
    page.open(tmp_path / "a.html")
    assert page.run("'hacked' in window") is False
    assert page.text("#title") == NASTY
    assert NASTY in page.run("document.querySelector('.toggle span').textContent")
    assert page.said == []
    assert page.asked == [(tmp_path / "a.html").as_uri()]


def test_an_empty_cloud_says_so(page, tmp_path):
    cloud, labels = blocks()
    save_html(tmp_path / "a.html", cloud[:0], labels[:0], CLASSES, labels[:0])
    page.open(tmp_path / "a.html")
    assert page.text("#message") == "This cloud has no points."
    assert page.text("#count") == "0 points"
    assert page.said == []


def test_points_left_out_are_told_on_the_page(page, tmp_path):
    cloud, labels = blocks()
    cloud.positions[4] = torch.nan
    save_html(tmp_path / "a.html", cloud, labels, CLASSES, limit=100)
    page.open(tmp_path / "a.html")
    notes = page.text("#notes")
    assert "1 point without a finite position left out" in notes
    assert "100 of 599 points, drawn at random" in notes
    assert page.text("#count") == "100 points"


def test_on_a_narrow_screen_nothing_lies_over_anything_else(tmp_path):
    cloud, labels = blocks(60)
    save_html(tmp_path / "a.html", cloud, labels % 3, [f"class {i}" for i in range(20)])
    with browser(width=390, height=800) as page:
        page.open(tmp_path / "a.html")
        boxes = page.run(
            "['#stage', 'header', '#legend', '.row:last-child', '.fields'].map(s => "
            "{ const b = document.querySelector(s).getBoundingClientRect();"
            " return [b.top, b.bottom, b.width]; })"
        )
    stage, header, legend, last, fields = boxes
    for above, below in itertools.pairwise([stage, header, legend, fields]):
        assert above[1] <= below[0]
    # The lines of the legend stay inside it.
    assert last[1] <= legend[1]
    assert boxes[0][1] - boxes[0][0] > 300
    assert all(0 < box[2] <= 390 for box in boxes)


def test_without_webgl_the_page_says_what_is_missing(slabs):
    with browser("--disable-3d-apis") as page:
        page.open(slabs)
        assert "WebGL 2" in page.text("#message")
        assert page.text("#count") == "600 points"
        assert not any("Error" in words for words in page.said)


def test_a_real_scan_is_drawn(page, tmp_path):
    scan = np.load(real_scan("ouster/OS-1-128_0.npz"))
    reflectivity = torch.from_numpy(scan["reflectivity"]).float()[:, None]
    positions = torch.from_numpy(scan["xyz_mm"] / 1000)
    labels = torch.bucketize(positions[:, 2].contiguous(), torch.tensor([-1.5, 2.0]))
    save_html(
        tmp_path / "a.html", PointCloud(positions, reflectivity, ("intensity",)), labels, CLASSES
    )
    page.open(tmp_path / "a.html", FLAT)
    assert page.text("#count") == f"{len(positions):,} points"
    picture = drawn(page)
    assert min(holds(picture, color) for color in class_colors(CLASSES)) > 10_000
    assert page.said == []
