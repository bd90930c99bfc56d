"""SemanticKITTI: a folder `sequences/XX/velodyne/*.bin`, with `sequences/XX/labels/*.label`.

Behley, Garbade, Milioto et al.: SemanticKITTI: A Dataset for Semantic Scene Understanding of LiDAR
Sequences, ICCV 2019. The 19 classes, and which numbers of the files fall into each, are those of
its single-scan benchmark.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from gossamer import io
from gossamer.datasets.data import Data
from gossamer.errors import FormatError
from gossamer.io import label_file
from gossamer.point_cloud import PointCloud

# Class: the number that stands for it in a submission, and those that count as it. Moving things
# count as what they are; whatever is missing here (0, 1, 52, 99) counts as nothing.
LEARNED = {
    "car": (10, 252),
    "bicycle": (11,),
    "motorcycle": (15,),
    "truck": (18, 258),
    "other vehicle": (20, 13, 16, 256, 257, 259),
    "person": (30, 254),
    "bicyclist": (31, 253),
    "motorcyclist": (32, 255),
    "road": (40, 60),
    "parking": (44,),
    "sidewalk": (48,),
    "other ground": (49,),
    "building": (50,),
    "fence": (51,),
    "vegetation": (70,),
    "trunk": (71,),
    "terrain": (72,),
    "pole": (80,),
    "traffic sign": (81,),
}
HELD_OUT = "08"
TEST = tuple(f"{number:02d}" for number in range(11, 22))
LARGEST = 2**16


class LabelledScans:
    """Scan number i is the file `paths[i]` with its labels."""

    def __init__(self, paths: Sequence[Path]):
        self.paths = paths
        self._table = torch.full((LARGEST,), -1, dtype=torch.int64)
        for row, numbers in enumerate(LEARNED.values()):
            self._table[list(numbers)] = row

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> PointCloud:
        cloud = io.read(self.paths[index], labels=True, columns=4)
        assert cloud.labels is not None  # labels=True insists on them
        return replace(cloud, labels=self._table[cloud.labels], instances=None).finite()


def semantic_kitti(folder: Path) -> Data:
    """The standard split: sequence 08 is held out, 11 to 21 are left alone, the rest trains.

    Without a sequence 08 the last sequence is held out, and of a single one the last fifth.

    Args:
        folder: the one that holds `sequences`.

    Raises:
        FileNotFoundError: there are no labelled scans, or a scan has no label file.
        FormatError: a label file has another number of points than its scan.
    """
    scans = {
        sequence.name: sorted((sequence / "velodyne").glob("*.bin"))
        for sequence in sorted((folder / "sequences").glob("*"))
        if (sequence / "labels").is_dir() and sequence.name not in TEST
    }
    scans = {name: paths for name, paths in scans.items() if paths}
    if not scans:
        raise FileNotFoundError(
            f"no labelled scans in {folder}; wanted sequences/00/velodyne/000000.bin and "
            "sequences/00/labels/000000.label, and so on"
        )
    for paths in scans.values():
        for path in paths:
            _check(path)
    train, validation, line = _split(scans)
    return Data(
        kind="semantic_kitti",
        train=LabelledScans(train),
        validation=LabelledScans(validation),
        classes=tuple(LEARNED),
        codes=tuple(numbers[0] for numbers in LEARNED.values()),
        numbering="SemanticKITTI",
        split=(line,),
        spacing=0.05,
    )


def _split(scans: dict[str, list[Path]]) -> tuple[list[Path], list[Path], str]:
    if len(scans) == 1:
        ((name, paths),) = scans.items()
        if len(paths) < 2:
            raise FileNotFoundError(
                f"only one labelled scan, {paths[0]}; wanted at least two, to learn from one and "
                "be judged by the other"
            )
        first = len(paths) - max(1, len(paths) // 5)
        line = (
            f"sequence {name}: {first} scans to learn from, the last {len(paths) - first} held out"
        )
        return paths[:first], paths[first:], line
    held_out = HELD_OUT if HELD_OUT in scans else max(scans)
    train = [path for name, paths in scans.items() if name != held_out for path in paths]
    others = ", ".join(name for name in scans if name != held_out)
    line = (
        f"{len(train)} scans of sequences {others} to learn from, "
        f"{len(scans[held_out])} of sequence {held_out} held out"
    )
    return train, scans[held_out], line


def _check(scan: Path) -> None:
    """Look at sizes alone: nobody wants to wait for 40,000 files to be read, or to fail later."""
    labels = label_file(scan)
    if not labels.is_file():
        raise FileNotFoundError(f"{scan} has no labels: there is no file {labels}")
    points, count = scan.stat().st_size / 16, labels.stat().st_size / 4
    if points != count:
        raise FormatError(
            f"{labels} has {count:g} labels and its scan {points:g} points; wanted one a point; it "
            "belongs to another scan, or one of the two is truncated"
        )
