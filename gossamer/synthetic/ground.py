"""The ground of a street: asphalt and its markings, pavements behind a kerb, grass behind those."""

from numpy.random import Generator

from gossamer.synthetic.layout import END, Layout
from gossamer.synthetic.part import Part, box

# Paint lies this high above the asphalt: enough to be met first, too little to be felt.
PAINT = 0.002
DEEP = -1.0


def ground(random: Generator, layout: Layout) -> list[Part]:
    """Everything the street stands on."""
    asphalt = box(
        "road",
        (-2 * END, 2 * END),
        (-2 * END, 2 * END),
        (DEEP, 0.0),
        reflectance=random.uniform(0.1, 0.2),
    )
    return [asphalt, *_pavements(random, layout), *_markings(layout)]


def _pavements(random: Generator, layout: Layout) -> list[Part]:
    stone, parts = random.uniform(0.3, 0.45), []
    for x0, x1 in layout.blocks:
        # Grass keeps the width of a pavement from the crossing street.
        inner = (x0 + layout.pavement, x1 - layout.pavement)
        for y0, y1 in ((layout.left, END), (-END, layout.right)):
            lawn = (y0 + layout.pavement, y1) if y0 > 0 else (y0, y1 - layout.pavement)
            soil, top = layout.step + 0.02, layout.step + 0.1
            parts += [
                box("pavement", (x0, x1), (y0, y1), (DEEP, layout.step), reflectance=stone),
                box("terrain", inner, lawn, (DEEP, soil), reflectance=0.45),
                box("terrain", inner, lawn, (soil, top), reflectance=0.55, density=5.0),
            ]
    return parts


def _markings(layout: Layout) -> list[Part]:
    stripes = []
    middle = layout.lane / 2
    for x in range(-60, 60, 9):
        if layout.clear(x, x + 3):
            stripes.append(((x, x + 3), (middle - 0.07, middle + 0.07)))
    bars = int((layout.left - layout.right) / 1.0)
    for bar in range(bars):
        y = layout.right + 0.3 + bar
        stripes.append((layout.zebra, (y, y + 0.5)))
    for x0, x1 in layout.blocks:
        outer = (layout.right + layout.parking[0], layout.left - layout.parking[1])
        for y, parking in zip(outer, layout.parking, strict=True):
            if parking:
                stripes.append(((x0, x1), (y - 0.06, y + 0.06)))
    return [box("road", x, y, (DEEP, PAINT), reflectance=0.75) for x, y in stripes]
