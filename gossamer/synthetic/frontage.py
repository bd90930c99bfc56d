"""What stands behind a kerb: houses, fences, hedges and gardens; trees and poles beside the road.

Built along a kerb that runs from 0 to `length` on x, with the road on the right and y counting
from the road outwards, on z = 0.
"""

from collections.abc import Callable

from numpy.random import Generator

from gossamer.synthetic.objects import pole, shrub, tree
from gossamer.synthetic.part import Holes, Part, box, place


def frontage(random: Generator, length: float, pavement: float) -> list[Part]:
    """A row of houses and gardens along a kerb, behind a pavement of the given width."""
    parts, x, deck = [], pavement, []
    while x < length - pavement - 6:
        if not deck:
            deck = [_house, _house, _house, _house, _fenced, _fenced, _fenced, _hedged, _garden]
            random.shuffle(deck)
        width = min(random.uniform(8, 17), length - pavement - x)
        plot: Callable = deck.pop()
        parts += plot(random, (x, x + width), pavement)
        x += width + random.choice((0.0, random.uniform(1, 4)))
    return parts


def furniture(random: Generator, length: float) -> list[Part]:
    """Trees and poles along the kerb."""
    parts, x = [], random.uniform(1.5, 5)
    while x < length - 1.5:
        build = tree if random.random() < 0.4 else pole
        parts += place(build(random), (x, random.uniform(0.45, 0.6), 0.0))
        x += random.uniform(4, 9)
    return parts


def _house(random: Generator, x: tuple[float, float], pavement: float) -> list[Part]:
    setback = random.choice((0.0, 0.0, random.uniform(2.0, 5.0)))
    y = (pavement + setback + 0.1, pavement + setback + random.uniform(8, 12))
    tall, recess, stone = random.uniform(5, 14), random.uniform(0.15, 0.3), random.uniform(0.3, 0.7)
    windows = Holes(
        pitch=random.uniform(1.8, 3.2),
        share=random.uniform(0.35, 0.6),
        storey=random.uniform(2.8, 3.4),
        band=(random.uniform(0.25, 0.35), random.uniform(0.65, 0.8)),
    )
    glass = [(low + recess, high - recess) for low, high in (x, y, (-recess, tall))]
    parts = [
        box("building", x, y, (0.0, tall), holes=windows, reflectance=stone),
        box("building", glass[0], glass[1], glass[2], reflectance=0.12),
    ]
    door = random.uniform(x[0] + 1, x[1] - 2.5)
    if setback:
        porch = random.uniform(0.6, 1.4)
        parts.append(
            box("building", (door, door + 1.8), (y[0] - porch, y[0]), (0.0, 2.7), reflectance=stone)
        )
        edge = _fence if random.random() < 0.6 else _hedge
        parts += edge(random, (x[0], door), pavement)
        parts += edge(random, (door + 1.8, x[1]), pavement)
        parts += place(shrub(random), (random.uniform(*x), pavement + 1.2, 0.0))
    elif random.random() < 0.5:
        parts.append(
            box("building", (door, door + 2.4), (y[0] - 0.5, y[0]), (3.0, tall), reflectance=stone)
        )
    return parts


def _fenced(random: Generator, x: tuple[float, float], pavement: float) -> list[Part]:
    return [*_fence(random, x, pavement), *_garden(random, x, pavement)]


def _hedged(random: Generator, x: tuple[float, float], pavement: float) -> list[Part]:
    return [*_hedge(random, x, pavement), *_garden(random, x, pavement)]


def _fence(random: Generator, x: tuple[float, float], pavement: float) -> list[Part]:
    """Pickets, a mesh, or a low wall."""
    kind, tall = random.integers(3), random.uniform(1.0, 1.8)
    if kind == 0:
        holes = Holes(pitch=0.14, share=0.45, storey=tall, band=(0.15, 0.85))
    elif kind == 1:
        holes = Holes(pitch=0.05, share=0.7, storey=0.05, band=(0.15, 0.85))
    else:
        holes, tall = None, random.uniform(0.6, 1.2)
    y = (pavement + 0.1, pavement + 0.14)
    return [box("fence", x, y, (0.0, tall), holes=holes, reflectance=random.uniform(0.3, 0.6))]


def _hedge(random: Generator, x: tuple[float, float], pavement: float) -> list[Part]:
    y = (pavement + 0.1, pavement + random.uniform(0.7, 1.1))
    tall = random.uniform(0.9, 1.8)
    return [box("vegetation", x, y, (0.0, tall), taper=(0.1, 0.1), density=5.0, reflectance=0.5)]


def _garden(random: Generator, x: tuple[float, float], pavement: float) -> list[Part]:
    """Trees and shrubs on the grass, and a shed at its end."""
    parts = []
    for build in (tree, tree, shrub, shrub):
        at = (random.uniform(*x), pavement + random.uniform(2, 14), 0.0)
        parts += place(build(random), at)
    y = pavement + random.uniform(15, 20)
    parts.append(box("building", x, (y, y + 6), (0.0, random.uniform(2.5, 8)), reflectance=0.5))
    return parts
