"""Colours that stay apart: for classes, for a scalar, for right and wrong."""

import colorsys
import re
from collections.abc import Sequence

import numpy as np

# Chosen by a search over sRGB that maximised the least OKLab distance between any two, as seen
# with full colour vision and with simulated protanopia, deuteranopia and tritanopia (first twelve:
# 0.115 and 0.089), while every one keeps a contrast of 1.5 to white and 2.4 to near-black.
CLASSES = (
    "#0a8cfa #f0b48c #0a826e #f046be #0ae6e6 #be500a #8c28d2 #bedc1e #8c3c0a #c88c64 "
    "#3c508c #aaa0fa #5ac81e #8c960a #d246dc #e61e5a #fa78d2 #aa0aaa #aa6e96 #643cfa"
).split()
UNLABELLED = "#87909c"
CORRECT = "#4f6f94"
WRONG = "#f4511e"
RAMP = "#3f5be0 #1c9ee8 #1fc6b4 #7ed957 #ffd84d #ff8f3f".split()

# What people expect to see: a name with a word that begins so gets the colour, if it is free.
CUSTOMARY = {
    "sidewalk": "#aaa0fa",
    "pavement": "#aaa0fa",
    "road": "#aa6e96",
    "ground": "#aa6e96",
    "terrain": "#8c960a",
    "grass": "#8c960a",
    "trunk": "#8c3c0a",
    "vegetation": "#5ac81e",
    "tree": "#5ac81e",
    "bush": "#5ac81e",
    "building": "#f0b48c",
    "fence": "#c88c64",
    "wall": "#c88c64",
    "water": "#0ae6e6",
    "pole": "#bedc1e",
    "sign": "#be500a",
    "motorcycl": "#0a826e",
    "cycl": "#0ae6e6",
    "bicycl": "#0ae6e6",
    "car": "#0a8cfa",
    "truck": "#643cfa",
    "bus": "#3c508c",
    "pedestrian": "#e61e5a",
    "person": "#e61e5a",
}


def palette(count: int) -> np.ndarray:
    """[count, 3] uint8: sRGB colours, all different; a longer palette begins with a shorter one.

    Args:
        count: how many colours; up to 20 are chosen by hand, further ones go round the hues.

    Raises:
        ValueError: `count` is negative.
    """
    if count < 0:
        raise ValueError(f"count is {count}; wanted 0 or more colours")
    chosen = [_rgb(color) for color in CLASSES[:count]]
    seen = set(chosen)
    step = 0
    while len(chosen) < count:
        # The golden angle never comes back to a hue; three values tell neighbours apart.
        hue, value = (step * 0.61803399) % 1.0, (0.95, 0.7, 0.82)[step % 3]
        red, green, blue = colorsys.hsv_to_rgb(hue, (0.75, 0.55)[step % 2], value)
        color = (round(red * 255), round(green * 255), round(blue * 255))
        step += 1
        if color not in seen:
            seen.add(color)
            chosen.append(color)
    return np.array(chosen, np.uint8).reshape(count, 3)


def class_colors(classes: Sequence[str]) -> np.ndarray:
    """[C, 3] uint8: a colour a class, all different; vegetation is green where there is any.

    Args:
        classes: the C names; the same names in the same order always get the same colours.
    """
    colors: dict[int, tuple[int, ...]] = {}
    for row, name in enumerate(classes):
        for word, color in CUSTOMARY.items():
            if re.search(rf"(?<![a-z]){word}", name.lower()):
                if _rgb(color) not in colors.values():
                    colors[row] = _rgb(color)
                break
    free = (c for c in map(tuple, palette(2 * len(classes)).tolist()) if c not in colors.values())
    return np.array(
        [colors.get(row) or next(free) for row in range(len(classes))], np.uint8
    ).reshape(len(classes), 3)


def ramp(share: np.ndarray) -> np.ndarray:
    """[P, 3] uint8: blue over green to orange.

    Args:
        share: [P] float, 0 for the first colour and 1 for the last; what lies beyond is clipped.
    """
    stops = np.array([_rgb(color) for color in RAMP], float)
    at = np.clip(share, 0, 1) * (len(stops) - 1)
    mixed = [np.interp(at, np.arange(len(stops)), stops[:, axis]) for axis in range(3)]
    return np.stack(mixed, 1).round().astype(np.uint8)


def rgb(color: str) -> np.ndarray:
    """[3] uint8: the colour that "#rrggbb" writes."""
    return np.array(_rgb(color), np.uint8)


def _rgb(color: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(color[1:]))
