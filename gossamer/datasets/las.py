"""Airborne and terrestrial scans with classes, some blocks of each held out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from gossamer import io
from gossamer.datasets.blocks import Blocks, tiles
from gossamer.datasets.data import Data, relabelled
from gossamer.datasets.inputs import available
from gossamer.errors import FormatError
from gossamer.point_cloud import PointCloud

SUFFIXES = (".las", ".laz")
# Of the American Society for Photogrammetry and Remote Sensing, LAS 1.4.
NAMES = {
    1: "unassigned",
    2: "ground",
    3: "low vegetation",
    4: "medium vegetation",
    5: "high vegetation",
    6: "building",
    8: "key point",
    9: "water",
    10: "rail",
    11: "road",
    12: "overlap",
    13: "wire guard",
    14: "wire conductor",
    15: "tower",
    16: "wire connector",
    17: "bridge",
    19: "overhead structure",
    20: "ignored ground",
    21: "snow",
}
UNASSIGNED = 1
NO_CLASS = (0, 7, 18)  # never classified, low noise, high noise
FEWEST = 50  # points: a class with fewer can't be both learned and judged
HELD_OUT = 0.25


@dataclass(frozen=True)
class Tiles:
    """Scan number i is tile i."""

    clouds: tuple[PointCloud, ...]

    def __len__(self) -> int:
        return len(self.clouds)

    def __getitem__(self, index: int) -> PointCloud:
        return self.clouds[index]


def las(path: Path) -> Data:
    """A file, or all files of a folder; of a quarter of the blocks of each the labels are held out.

    Args:
        path: a .las or .laz file with classes, or a folder of them.

    Raises:
        FileNotFoundError: no such file, or a folder without any.
        FormatError: fewer than two classes with at least FEWEST points, or a file that is too
            small to be divided.
        ImportError: laspy, or lazrs for LAZ, is not installed.
    """
    files = _files(path)
    clouds = [io.read(file, labels=True).finite() for file in files]
    codes, note = _codes(clouds, path)
    clouds = [relabelled(cloud, codes) for cloud in clouds]
    train, validation, lines = [], [], []
    for file, cloud in zip(files, clouds, strict=True):
        assert cloud.labels is not None  # labels=True insists on them
        blocks = Blocks.of(cloud.positions, cloud.labels, HELD_OUT)
        if not 0 < int(blocks.held_out.sum()) < len(cloud):
            raise FormatError(f"{file} has {len(cloud)} points in one place; wanted some to divide")
        lines += [f"{file.name}: {blocks.describe()}", *blocks.drawn()]
        # Both see all points, because a block cut out of its surroundings looks like nothing that
        # is ever predicted; what is held out is the labels.
        train += tiles(_judged(cloud, ~blocks.held_out))
        validation += tiles(_judged(cloud, blocks.held_out))
    return Data(
        kind="las",
        train=Tiles(tuple(train)),
        validation=Tiles(tuple(validation)),
        classes=tuple(NAMES.get(code, f"class {code}") for code in codes),
        codes=codes,
        numbering="ASPRS",
        split=(*lines, *note),
        spacing=_spacing(clouds),
        channels=available(clouds),
    )


def _judged(cloud: PointCloud, where: Tensor) -> PointCloud:
    """The same points, without the labels of those that `where` [P] bool leaves out."""
    assert cloud.labels is not None
    return replace(cloud, labels=torch.where(where, cloud.labels, -1))


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
    if not files:
        raise FileNotFoundError(f"no .las or .laz file in {path}")
    return files


def _codes(clouds: Sequence[PointCloud], path: Path) -> tuple[tuple[int, ...], list[str]]:
    """The numbers of the classes worth learning, and a line on those that are not."""
    labels = torch.cat([cloud.labels for cloud in clouds if cloud.labels is not None])
    found = dict(zip(*(t.tolist() for t in labels.unique(return_counts=True)), strict=True))
    codes = [code for code, points in found.items() if points >= FEWEST and code not in NO_CLASS]
    # Among real classes, what nobody has looked at yet is not one more.
    if len(codes) > 2 and UNASSIGNED in codes:
        codes.remove(UNASSIGNED)
    if len(codes) < 2:
        raise FormatError(
            f"{path} has the classes {found} (code: points); wanted at least two with {FEWEST} "
            "points or more, besides 0, 7 and 18"
        )
    left_out = {code: points for code, points in found.items() if code not in codes}
    return tuple(codes), [f"not judged, code: points: {left_out}"] if left_out else []


def _spacing(clouds: Sequence[PointCloud]) -> float:
    """The side of the square that one point has for itself, metres."""
    area = sum(_area(cloud.positions) for cloud in clouds)
    return (area / sum(len(cloud) for cloud in clouds)) ** 0.5


def _area(positions: Tensor) -> float:
    cells = (positions[:, :2] / 2.0).floor().long().unique(dim=0)
    return 4.0 * len(cells)
