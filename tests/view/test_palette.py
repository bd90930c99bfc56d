import itertools

import numpy as np
import pytest

from gossamer.view import class_colors, palette
from gossamer.view.palette import ramp

# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB.
SIGHT = {
    "full": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def linear(colors):
    share = np.asarray(colors) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def least_distance(colors, sight):
    seen = np.clip(linear(colors) @ np.array(SIGHT[sight]).T, 0, 1)
    lab = np.cbrt(seen @ TO_CONES.T) @ TO_LAB.T
    return min(np.linalg.norm(a - b) for a, b in itertools.combinations(lab, 2))


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize(("count", "least"), [(8, 0.088), (12, 0.088), (20, 0.06)])
def test_colours_stay_apart_for_every_kind_of_sight(sight, count, least):
    assert least_distance(palette(count), sight) >= least


@pytest.mark.parametrize(("ground", "least"), [((255, 255, 255), 1.5), ((15, 18, 23), 2.3)])
def test_colours_show_on_light_and_dark_ground(ground, least):
    weights = [0.2126, 0.7152, 0.0722]
    luminance, behind = linear(palette(20)) @ weights, linear(ground) @ weights
    high, low = np.maximum(luminance, behind), np.minimum(luminance, behind)
    assert ((high + 0.05) / (low + 0.05)).min() >= least


def test_a_longer_palette_begins_with_a_shorter_one_and_repeats_nothing():
    longest = palette(255)
    assert longest.shape == (255, 3)
    assert longest.dtype == np.uint8
    assert len(np.unique(longest, axis=0)) == 255
    for count in (0, 1, 12, 21, 100):
        assert (palette(count) == longest[:count]).all()


def test_a_palette_of_fewer_than_no_colours_is_refused():
    with pytest.raises(ValueError, match="count is -1"):
        palette(-1)


@pytest.mark.parametrize("name", ["vegetation", "High Vegetation", "tree", "bush"])
def test_what_grows_is_green(name):
    red, green, blue = class_colors(["other", name])[1].astype(int)
    assert green > max(red, blue) + 50


def test_no_two_classes_share_a_colour_whatever_their_names():
    names = ["tree", "bush", "vegetation", "car", "cart", "bus", "", "road", "road", "x"] * 8
    assert len(np.unique(class_colors(names), axis=0)) == len(names)


def test_a_word_inside_another_word_is_not_that_word():
    free = class_colors(["scarf"])
    assert (free == palette(1)).all()
    assert (class_colors(["tree", "car"])[1] == class_colors(["car"])[0]).all()
    assert class_colors([]).shape == (0, 3)


def test_the_ramp_runs_from_its_first_colour_to_its_last():
    colors = ramp(np.array([-1.0, 0.0, 0.5, 1.0, 7.0]))
    assert (colors[0] == colors[1]).all()
    assert (colors[3] == colors[4]).all()
    assert len(np.unique(colors, axis=0)) == 3
