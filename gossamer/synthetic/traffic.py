"""Who uses a street: cars parked and driving, a truck, cyclists, and people on foot."""

from collections.abc import Callable
from dataclasses import dataclass
from math import hypot, pi

from numpy.random import Generator

from gossamer.synthetic.layout import Layout
from gossamer.synthetic.objects import car, cyclist, pedestrian, truck
from gossamer.synthetic.part import Part, bounds


@dataclass(frozen=True)
class Thing:
    """A road user: parts about the origin, and where it stands and heads."""

    parts: list[Part]
    at: tuple[float, float, float]
    yaw: float


def traffic(random: Generator, layout: Layout) -> list[Thing]:
    """Every road user in the street."""
    return [
        *_lane(random, layout, 0.0, [car, car, car], free=9.0),
        *_lane(random, layout, layout.lane, [truck, car, car, truck], free=5.0),
        *_riders(random, layout),
        *_parked(random, layout),
        *_crossing(random, layout),
        *_walkers(random, layout),
    ]


def _lane(
    random: Generator, layout: Layout, y: float, builders: list[Callable], free: float
) -> list[Thing]:
    """Vehicles in one lane, outwards from the sensor, ahead of it and behind in turn."""
    things, reached = [], {1: free, -1: free}
    builders = [builders[i] for i in random.permutation(len(builders))]
    # The other lane comes towards us.
    way = 1 if y == 0 else -1
    for turn, build in enumerate(builders):
        side = 1 if turn % 2 else -1
        parts = build(random)
        _, (length, *_) = bounds(parts)
        x = reached[side] + random.exponential(5.0) + length / 2
        while not layout.clear(side * x - length / 2, side * x + length / 2):
            x += 1.0
        reached[side] = x + length / 2 + 1.5
        yaw = (0.0 if way == 1 else pi) + random.normal(0, 0.015)
        things.append(Thing(parts, (side * x, y + random.normal(0, 0.05), 0.0), yaw))
    return things


def _riders(random: Generator, layout: Layout) -> list[Thing]:
    """Cyclists in both gutters, one at a time on every few metres."""
    things: list[Thing] = []
    wanted = random.integers(4, 8)
    for _ in range(100):
        if len(things) == wanted:
            break
        way, x = random.choice((1, -1)), random.normal(0, 13)
        y = -layout.lane / 2 - 0.2 if way == 1 else 1.5 * layout.lane + 0.2
        near = any(abs(x - t.at[0]) < 2.5 and abs(y - t.at[1]) < 1 for t in things)
        if not near and layout.clear(x - 1.0, x + 1.0) and abs(x) > 3:
            yaw = (0.0 if way == 1 else pi) + random.normal(0, 0.04)
            things.append(Thing(cyclist(random), (x, y, 0.0), yaw))
    return things


def _parked(random: Generator, layout: Layout) -> list[Thing]:
    things = []
    for side, width in zip((-1, 1), layout.parking, strict=True):
        x, share = -55 + random.uniform(0, 5), random.uniform(0.3, 0.75)
        while width and x < 55:
            if random.random() < share and layout.clear(x - 2.6, x + 2.6):
                y = layout.right + 1.1 if side < 0 else layout.left - 1.1
                yaw = (0.0 if side < 0 else pi) + random.normal(0, 0.02)
                things.append(Thing(car(random), (x, y + random.normal(0, 0.07), 0.0), yaw))
            x += random.uniform(5.3, 6.5)
    return things


def _crossing(random: Generator, layout: Layout) -> list[Thing]:
    """People on the zebra, and cars in the crossing street."""
    at = [random.uniform(layout.right + 0.5, layout.left - 0.5) for _ in range(2)]
    places = zip((-0.8, 0.8), at, strict=True)
    middle = sum(layout.zebra) / 2
    things = [
        Thing(pedestrian(random), (middle + x, y, 0.0), random.choice((-1, 1)) * pi / 2)
        for x, y in places
    ]
    if layout.cross is None:
        return things
    west, east = layout.cross
    for edge, way in ((layout.left, 1), (layout.right, -1)):
        for x, yaw in ((west + 1.7, -pi / 2), (east - 1.7, pi / 2)):
            if random.random() < 0.6:
                at = (x, edge + way * random.uniform(4, 25), 0.0)
                things.append(Thing(car(random), at, yaw))
    return things


def _walkers(random: Generator, layout: Layout) -> list[Thing]:
    """People on the pavements, mostly near; nobody stands in anybody."""
    things: list[Thing] = []
    wanted = random.integers(7, 13)
    for _ in range(100):
        if len(things) == wanted:
            break
        x, out = random.normal(0, 14), random.uniform(1.15, layout.pavement - 0.35)
        y = layout.left + out if random.random() < 0.5 else layout.right - out
        crowded = any(hypot(x - t.at[0], y - t.at[1]) < 1.0 for t in things)
        inside = layout.cross is not None and layout.cross[0] - 1 < x < layout.cross[1] + 1
        if not crowded and not inside:
            yaw = random.choice((0, pi)) + random.normal(0, 0.4)
            things.append(Thing(pedestrian(random), (x, y, layout.step), yaw))
    return things
