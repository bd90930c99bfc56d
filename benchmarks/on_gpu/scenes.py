"""Three kinds of scene: a scan of a street, ten sweeps laid over one another, a room.

The street is a file of yours, or simulated; the other two are always made here.
"""

from pathlib import Path

import torch
from torch import Tensor

from gossamer.bench.scenes import Scene, scene_of, scene_of_points
from gossamer.synthetic import Sensor, simulate

STREET = (0.05, 0.05, 0.1)  # metres, as in `gossamer bench cpu`
SWEEPS, SWEPT = 10, (0.075, 0.075, 0.2)
ROOM = 0.02
ROOM_SIZE = (4.0, 3.5, 2.5)
POINTS = 5500  # a square metre of a room's surfaces
FEW = {"tiny": 10, "small": 600}  # voxels that an interpreter or a checker can follow
NOISE = 0.004  # metres
# (x, y, z) of the lowest corner and the size of what stands in the room, metres.
FURNITURE = (
    ((0.3, 0.2, 0.0), (1.6, 0.8, 0.75)),
    ((2.6, 0.1, 0.0), (0.9, 0.4, 1.9)),
    ((1.2, 2.3, 0.0), (2.0, 0.9, 0.45)),
    ((1.2, 3.1, 0.4), (2.0, 0.15, 0.45)),
    ((0.2, 1.6, 0.0), (0.5, 0.5, 0.5)),
    ((3.3, 1.5, 0.0), (0.5, 1.0, 1.1)),
    ((1.9, 1.3, 0.0), (0.6, 0.6, 0.4)),
)


def made(scans: tuple[Path, ...], size: str) -> dict[str, Scene]:
    """Every scene by name, on the CPU.

    Args:
        scans: files that gossamer.io reads; the first one is the street.
        size: as a Setting has it; all but "full" make one scene of FEW voxels.
    """
    if size != "full":
        room = scene_of_points(room_points(40), (0.2,) * 3)
        return {"street": _cut(room, FEW[size])}
    scenes = {"street": scene_of(scans[0] if scans else None, STREET)}
    scenes |= {path.stem: scene_of(path, STREET) for path in scans[1:]}
    scenes["sweeps"] = scene_of_points(sweeps_points(), SWEPT)
    scenes["room"] = scene_of_points(room_points(POINTS), (ROOM,) * 3)
    return scenes


def sweeps_points() -> Tensor:
    """[P, 3] metres: SWEEPS turns of a sensor of 32 beams that moves a little between them."""
    clouds = []
    for turn in range(SWEEPS):
        tilt = 0.13 * turn
        sensor = Sensor(beams=32, steps=1080 + turn, elevation=(-30.0 + tilt, 10.0 + tilt))
        clouds.append(simulate(1, sensor).cloud.positions)
    return torch.cat(clouds)


def room_points(density: int) -> Tensor:
    """[P, 3] metres: floor and walls of a room, and furniture; `density` points a square metre."""
    dice = torch.Generator().manual_seed(0)
    # The room is a box seen from inside and without a lid, so that its floor counts.
    boxes = [((0.0, 0.0, 0.0), ROOM_SIZE, (0,)), *((*box, (1,)) for box in FURNITURE)]
    parts = []
    for corner, size, ends in boxes:
        for axis in range(3):
            for end in (0, 1) if axis < 2 else ends:
                parts.append(_side((corner, size), axis, end, density, dice))
    points = torch.cat(parts)
    return points + NOISE * torch.randn(points.shape, generator=dice)


def _side(box: tuple, axis: int, end: int, density: int, dice: torch.Generator) -> Tensor:
    corner, size = (torch.tensor(each) for each in box)
    flat = [a for a in range(3) if a != axis]
    count = int(density * size[flat].prod())
    points = torch.rand(count, 3, generator=dice) * size
    points[:, axis] = end * size[axis]
    return points + corner


def _cut(scene: Scene, most: int) -> Scene:
    return Scene(scene.coords[:most].contiguous(), scene.spatial_shape)


def save(path: Path, scenes: dict[str, Scene]) -> None:
    torch.save({name: (s.coords, s.spatial_shape) for name, s in scenes.items()}, path)


def load(path: Path) -> dict[str, Scene]:
    saved = torch.load(path, weights_only=True)
    return {name: Scene(coords, tuple(shape)) for name, (coords, shape) in saved.items()}
