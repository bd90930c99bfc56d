"""What stands in a street, built from parts: each about the origin, on z = 0, heading along +x."""

from numpy.random import Generator

from gossamer.synthetic.part import Holes, Part, box, cylinder, ellipsoid


def car(random: Generator) -> list[Part]:
    """A hatchback, a saloon or a van: body, glass, roof, wheels and plates."""
    length, width = random.uniform(3.9, 4.8) / 2, random.uniform(1.68, 1.88) / 2
    tall, waist = random.uniform(1.42, 1.62), random.uniform(0.82, 0.95)
    rear, front = (-0.95, 0.45) if random.random() < 0.55 else (-0.72, 0.4)
    if random.random() < 0.15:
        length, tall, waist, rear, front = 2.45, random.uniform(1.9, 2.2), 1.15, -0.98, 0.75
    paint = random.uniform(0.12, 0.75)
    cabin, taper = (rear * length, front * length), (0.22 * length, 0.14)
    roof = (cabin[0] + taper[0] - 0.05, cabin[1] - taper[0] + 0.05)
    body, glass, top = ((-half, half) for half in (width, width - 0.04, width - taper[1] + 0.03))
    plates = [
        box("car", (x - 0.02, x + 0.02), (-0.26, 0.26), (0.45, 0.57), reflectance=1.0)
        for x in (-length, length)
    ]
    return [
        box("car", (-length, length), body, (0.24, waist), taper=(0.1, 0.05), reflectance=paint),
        box("car", cabin, glass, (waist, tall - 0.05), taper=taper, reflectance=0.06),
        box("car", roof, top, (tall - 0.08, tall), taper=(0.06, 0.06), reflectance=paint),
        *_wheels("car", (-0.62 * length, 0.62 * length), width - 0.08, 0.32),
        *plates,
    ]


def truck(random: Generator) -> list[Part]:
    """A lorry with a box body, or a bus."""
    length, width = random.uniform(6.8, 10.5) / 2, random.uniform(2.3, 2.5) / 2
    tall, paint = random.uniform(2.9, 3.5), random.uniform(0.2, 0.8)
    build = _bus if random.random() < 0.25 else _lorry
    axles = (-0.72 * length, -0.45 * length, length - 1.1)
    return [*build(length, width, tall, paint), *_wheels("truck", axles, width - 0.18, 0.5)]


def _bus(length: float, width: float, tall: float, paint: float) -> list[Part]:
    windows = Holes(pitch=1.5, share=0.85, storey=tall, band=(0.42, 0.8))
    whole, sides = (-length, length), (-width, width)
    inside = [(low + 0.06, high - 0.06) for low, high in (whole, sides)]
    return [
        box("truck", whole, sides, (0.35, tall), holes=windows, reflectance=paint),
        box("truck", inside[0], inside[1], (0.35, tall - 0.1), reflectance=0.06),
    ]


def _lorry(length: float, width: float, tall: float, paint: float) -> list[Part]:
    cab, load = (length - 2.0, length), (-length, length - 2.35)
    sides, narrow, glass = (-width, width), (0.05 - width, width - 0.05), (1.6, tall - 0.4)
    return [
        box("truck", cab, narrow, (0.45, 1.6), reflectance=paint),
        box("truck", cab, narrow, glass, taper=(0.15, 0.08), reflectance=0.1),
        box("truck", load, sides, (1.0, tall), reflectance=0.9 - paint),
        box("truck", (-length, length - 2.0), (-0.45, 0.45), (0.6, 1.0), reflectance=0.15),
    ]


def cyclist(random: Generator) -> list[Part]:
    """A bicycle and its rider, leaning forward."""
    cloth, lean = random.uniform(0.25, 0.7), random.uniform(0.3, 0.7)
    chest, head = 1.25, 0.25 + 0.3 * lean
    name = "cyclist"
    legs = [
        cylinder(name, (0.05, y), 0.075, (0.3 + lift, 0.98), lean=slant, reflectance=0.3)
        for y, slant, lift in ((0.1, 0.35, 0.0), (-0.1, -0.2, 0.15))
    ]
    arms = [
        cylinder(name, (0.32, y), 0.05, (0.98, 1.42), lean=-0.6, reflectance=cloth)
        for y in (-0.22, 0.22)
    ]
    return [
        *_wheels(name, (-0.52, 0.52), 0.0, 0.34, half_width=0.035),
        box(name, (-0.42, 0.42), (-0.03, 0.03), (0.5, 0.62), reflectance=0.4),
        cylinder(name, (-0.12, 0.0), 0.03, (0.6, 0.95), lean=-0.3),
        box(name, (0.4, 0.48), (-0.26, 0.26), (0.98, 1.04), reflectance=0.2),
        *legs,
        ellipsoid(name, (0.05, 0.0, chest), (0.16, 0.21, 0.36), lean=lean, reflectance=cloth),
        *arms,
        ellipsoid(name, (head, 0.0, 1.7), (0.12, 0.1, 0.14), reflectance=0.5),
    ]


def pedestrian(random: Generator) -> list[Part]:
    """A person who stands or walks; one in six is a child."""
    scale = random.uniform(0.62, 0.8) if random.random() < 1 / 6 else random.uniform(0.92, 1.08)
    stride, cloth = random.uniform(0.0, 0.4), random.uniform(0.2, 0.7)
    name = "pedestrian"
    leg, arm = (0.0, 0.86 * scale), (0.75 * scale, 1.42 * scale)
    limbs = []
    for y, slant in ((0.1 * scale, stride), (-0.1 * scale, -stride)):
        hip, shoulder = (-slant * 0.4 * scale, y), (slant * 0.2 * scale, 2.6 * y)
        limbs += [
            cylinder(name, hip, 0.085 * scale, leg, lean=slant, reflectance=0.3),
            cylinder(name, shoulder, 0.055 * scale, arm, lean=-0.7 * slant, reflectance=cloth),
        ]
    torso = (0.14 * scale, 0.22 * scale, 0.36 * scale)
    head = (0.1 * scale, 0.09 * scale, 0.13 * scale)
    return [
        *limbs,
        ellipsoid(name, (0.0, 0.0, 1.13 * scale), torso, reflectance=cloth),
        ellipsoid(name, (0.02, 0.0, 1.6 * scale), head, reflectance=0.5),
    ]


def tree(random: Generator) -> list[Part]:
    """A trunk and a crown of leafy lumps."""
    radius, crown = random.uniform(0.12, 0.28), random.uniform(1.9, 2.8)
    spread = random.uniform(0.7, 1.3)
    lumps = []
    for _ in range(random.integers(4, 7)):
        at = random.normal(0, 0.6 * spread, 2)
        half = random.uniform(0.7, 1.3, 3) * spread
        lump = (*at, crown + half[2] * random.uniform(0.8, 1.6))
        leaves = random.uniform(0.7, 1.4)
        lumps.append(ellipsoid("vegetation", lump, tuple(half), density=leaves, reflectance=0.5))
    lean, ends = random.normal(0, 0.03), (0.0, crown + 1.2 * spread)
    return [cylinder("trunk", (0.0, 0.0), radius, ends, lean=lean, reflectance=0.25), *lumps]


def shrub(random: Generator) -> list[Part]:
    """A few leafy lumps on the ground."""
    size, lumps = random.uniform(0.4, 0.9), []
    for _ in range(3):
        at = (*random.normal(0, 0.4 * size, 2), 0.6 * size)
        half = tuple(random.uniform(0.6, 1.1, 3) * size)
        lumps.append(ellipsoid("vegetation", at, half, density=3.0, reflectance=0.5))
    return lumps


def pole(random: Generator) -> list[Part]:
    """A lamp post, a road sign, a traffic light or a bollard."""
    kind = random.integers(4)
    if kind == 0:
        post = cylinder("pole", (0.0, 0.0), random.uniform(0.07, 0.11), (0.0, 7.0))
        foot = cylinder("pole", (0.0, 0.0), 0.14, (0.0, 1.0))
        return [foot, post, box("pole", (-0.1, 0.1), (-1.5, 0.1), (6.8, 7.0))]
    if kind == 1:
        post = cylinder("pole", (0.0, 0.0), 0.045, (0.0, 2.7))
        return [post, box("pole", (0.04, 0.06), (-0.3, 0.3), (2.0, 2.6), reflectance=1.0)]
    if kind == 2:
        post = cylinder("pole", (0.0, 0.0), 0.08, (0.0, 3.2))
        return [post, box("pole", (-0.18, 0.18), (-0.18, 0.18), (2.3, 3.2), reflectance=0.2)]
    return [cylinder("pole", (0.0, 0.0), 0.08, (0.0, 1.05), reflectance=0.6)]


def _wheels(
    name: str, axles: tuple, side: float, radius: float, half_width: float = 0.1
) -> list[Part]:
    """Wheels on each axle, at `side` left and right; one wheel where `side` is 0."""
    return [
        ellipsoid(name, (x, y, radius), (radius, half_width, radius), reflectance=0.06)
        for x in axles
        for y in ((-side, side) if side else (0.0,))
    ]
