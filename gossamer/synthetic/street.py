"""Street: a whole scene of parts, drawn at random, with the pose of the sensor in it."""

from dataclasses import dataclass
from math import cos, radians, sin

import numpy as np
from numpy import ndarray
from numpy.random import Generator

from gossamer.synthetic.frontage import frontage, furniture
from gossamer.synthetic.ground import ground
from gossamer.synthetic.layout import Layout, draw_layout
from gossamer.synthetic.part import Part, bounds, place
from gossamer.synthetic.traffic import Thing, traffic


@dataclass(frozen=True)
class Street:
    """Parts on flat ground, and how the ground lies.

    Args:
        parts: every solid; x along the street, z = 0 on the road below the sensor.
        boxes: [B, 7] float64, x, y, z of the centre, size in x, y, z, yaw, in the same axes.
        labels: [B] int64, the class of each box.
        slope: metres the ground rises per metre of x, and of y.
        heading: direction the sensor faces, radians from the street's x.
        height: of the sensor over the road, metres.
    """

    parts: list[Part]
    boxes: ndarray
    labels: ndarray
    slope: tuple[float, float]
    heading: float
    height: float


def draw_street(random: Generator) -> Street:
    """A street at random."""
    layout = draw_layout(random)
    things = traffic(random, layout)
    parts = [*ground(random, layout), *_behind_kerbs(random, layout)]
    for row, thing in enumerate(things):
        parts += place(thing.parts, thing.at, thing.yaw, thing=row)
    return Street(
        parts=parts,
        boxes=np.array([_box(thing) for thing in things]),
        labels=np.array([thing.parts[0].label for thing in things], dtype=np.int64),
        slope=(random.uniform(-0.06, 0.06), random.uniform(-0.015, 0.015)),
        heading=radians(random.uniform(-6, 6)),
        height=random.uniform(1.65, 1.95),
    )


def _behind_kerbs(random: Generator, layout: Layout) -> list[Part]:
    parts = []
    for kerb in layout.kerbs:
        row = frontage(random, kerb.length, layout.pavement)
        if kerb.main:
            row += furniture(random, kerb.length)
        parts += place(row, (*kerb.origin, layout.step), kerb.yaw)
    return parts


def _box(thing: Thing) -> tuple[float, ...]:
    """The box around a road user: centre, size and yaw."""
    (x, y, z), size = bounds(thing.parts)
    c, s = cos(thing.yaw), sin(thing.yaw)
    centre = (thing.at[0] + c * x - s * y, thing.at[1] + s * x + c * y, thing.at[2] + z)
    return (*centre, *size, thing.yaw)
