"""Layout: where the lanes, kerbs and crossings of a street run, before anything stands in it.

The sensor drives along +x in the middle of its lane, at y = 0. All lengths are metres.
"""

from dataclasses import dataclass
from math import pi

from numpy.random import Generator

# Beyond the reach of the sensor, so that no scan shows the end of the street.
END = 95.0


@dataclass(frozen=True)
class Kerb:
    """A straight run of kerb with the road on its right and houses on its left.

    Args:
        origin: (x, y) where it begins.
        yaw: its direction, radians.
        length: metres.
        main: whether it is a kerb of the street that the sensor drives on.
    """

    origin: tuple[float, float]
    yaw: float
    length: float
    main: bool


@dataclass(frozen=True)
class Layout:
    """The plan of a street.

    Args:
        right: y of the right edge of the road; negative.
        left: y of its left edge.
        lane: width of a lane.
        gutter: width of the strip beside the lanes that cyclists use.
        parking: width of the parking strip on the right, and on the left; 0 is none.
        pavement: width of every pavement.
        step: height of the kerb.
        cross: x of the two edges of a crossing street, or None.
        zebra: x of the two edges of a pedestrian crossing.
    """

    right: float
    left: float
    lane: float
    gutter: float
    parking: tuple[float, float]
    pavement: float
    step: float
    cross: tuple[float, float] | None
    zebra: tuple[float, float]

    @property
    def blocks(self) -> list[tuple[float, float]]:
        """The x of both ends of each block of houses along the street."""
        if self.cross is None:
            return [(-END, END)]
        return [(-END, self.cross[0]), (self.cross[1], END)]

    @property
    def kerbs(self) -> list[Kerb]:
        """Every kerb that houses stand along."""
        kerbs = []
        for x0, x1 in self.blocks:
            kerbs.append(Kerb((x0, self.left), 0.0, x1 - x0, True))
            kerbs.append(Kerb((x1, self.right), pi, x1 - x0, True))
        if self.cross is not None:
            west, east = self.cross
            # Here the houses begin behind the ones at the corner.
            up, down = self.left + self.pavement + 16, self.right - self.pavement - 16
            kerbs.append(Kerb((east, END), -pi / 2, END - up, False))
            kerbs.append(Kerb((west, up), pi / 2, END - up, False))
            kerbs.append(Kerb((east, down), -pi / 2, END + down, False))
            kerbs.append(Kerb((west, -END), pi / 2, END + down, False))
        return kerbs

    def clear(self, x0: float, x1: float) -> bool:
        """Whether a vehicle from x0 to x1 stands neither on the zebra nor in the crossing."""
        closed = [self.zebra] if self.cross is None else [self.zebra, self.cross]
        return all(x1 < low - 0.5 or x0 > high + 0.5 for low, high in closed)


def draw_layout(random: Generator) -> Layout:
    """A layout at random: two lanes, perhaps parked cars, perhaps a crossing street."""
    lane, gutter = random.uniform(3.0, 3.6), random.uniform(0.7, 0.9)
    beside = random.random(2) < 0.8
    parking = (2.2 if beside[0] else 0.0, 2.2 if beside[1] else 0.0)
    cross = None
    if random.random() < 0.6:
        middle = random.choice((-1, 1)) * random.uniform(14, 34)
        cross = (middle - random.uniform(3.2, 4.2), middle + random.uniform(3.2, 4.2))
    # Just before the crossing street, as seen from the sensor, or somewhere ahead.
    zebra = random.uniform(9, 20)
    if cross is not None:
        zebra = cross[0] - 2.5 if cross[0] > 0 else cross[1] + 2.5
    return Layout(
        right=-lane / 2 - parking[0] - gutter,
        left=1.5 * lane + parking[1] + gutter,
        lane=lane,
        gutter=gutter,
        parking=parking,
        pavement=random.uniform(2.3, 4.0),
        step=random.uniform(0.12, 0.18),
        cross=cross,
        zebra=(zebra - 1.5, zebra + 1.5),
    )
