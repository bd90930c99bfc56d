"""KITTI and nuScenes `.bin` files: rows of little-endian float32, and nothing else.

KITTI's rows are x, y, z, intensity (0 to 1); nuScenes' files end in `.pcd.bin` and add the ring
(intensity 0 to 255). The columns are not in the file, so they come from the name, from the size, or
from the caller.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from gossamer.errors import FormatError
from gossamer.io.atomic import written_beside
from gossamer.io.columns import to_numpy, whole_numbers
from gossamer.io.label import label_file, write_labels
from gossamer.point_cloud import PointCloud

# features after x, y, z by number of columns: bare, KITTI, nuScenes
LAYOUTS = {3: (), 4: ("intensity",), 5: ("intensity", "ring")}


def read(path: Path, columns: int | Sequence[str] | None = None) -> PointCloud:
    """The points of a `.bin`, without labels.

    Args:
        path: the file.
        columns: 3, 4 or 5 columns, or the names of the features that follow x, y, z. Default:
            5 for `.pcd.bin`; else 4, or 5 where the size fits only that and the fifth column
            holds whole numbers, as a ring does.

    Raises:
        FormatError: the size is no whole number of points.
        ValueError: `columns` is another number.
    """
    data = path.read_bytes()
    # a copy, because torch wants memory it may write to
    values = np.frombuffer(data[: len(data) // 4 * 4], "<f4").astype(np.float32)
    names = _layout(path, values, columns)
    width = 3 + len(names)
    if len(data) % (4 * width):
        raise FormatError(
            f"{path} has {len(data)} bytes; wanted a multiple of {4 * width}, which is {width} "
            f"float32 a point (x, y, z{''.join(f', {name}' for name in names)}); it is truncated, "
            "or has other columns: pass columns="
        )
    rows = torch.from_numpy(values.reshape(-1, width))
    return PointCloud(rows[:, :3].contiguous(), rows[:, 3:].contiguous(), names)


def write(path: Path, cloud: PointCloud, columns: int | Sequence[str] | None = None) -> None:
    """Write positions and features as float32 rows, and labels as a `.label` file.

    Args:
        path: the file; labels and instances go to `label_file(path)`.
        cloud: one scan.
        columns: as in `read`: the features to write, in this order. Default: intensity, and ring
            for `.pcd.bin`, which must then be all there are.

    Raises:
        ValueError: the cloud has other features, several scans, or labels that do not fit; or it
            has no labels and those of another cloud lie where a reader will look for them.
        OSError: the folder cannot be written.
    """
    names = LAYOUTS[5 if _is_nuscenes(path) else 4] if columns is None else _named(columns)
    if columns is None and cloud.names != names:
        raise ValueError(
            f"the features are {cloud.names}; {path.name} wants {names}; choose which to write "
            "with columns=(names), or write .npz"
        )
    if cloud.batch is not None and len(cloud.batch.unique()) > 1:
        raise ValueError(
            f"batch tells {len(cloud.batch.unique())} scans apart; a .bin holds one; write "
            "cloud[cloud.batch == i], or .npz"
        )
    labels = label_file(path)
    if cloud.labels is None and (cloud.instances is not None or labels.exists()):
        raise ValueError(
            f"labels is None, but there are instances, or labels of another cloud in {labels}; "
            "give the cloud labels or take those away"
        )
    picked = [cloud.feature(name) for name in names]
    positions = torch.from_numpy(to_numpy(cloud)["positions"])
    rows = torch.cat([positions, *(f.detach().cpu()[:, None] for f in picked)], 1).numpy()
    with written_beside(path) as unfinished:
        rows.astype("<f4").tofile(unfinished)
        if cloud.labels is not None:
            write_labels(labels, cloud)


def _is_nuscenes(path: Path) -> bool:
    return path.name.lower().endswith(".pcd.bin")


def _named(columns: int | Sequence[str]) -> tuple[str, ...]:
    if not isinstance(columns, int):
        return (columns,) if isinstance(columns, str) else tuple(columns)
    if columns not in LAYOUTS:
        raise ValueError(
            f"columns is {columns}; wanted one of {', '.join(map(str, LAYOUTS))}, or the names of "
            "the features that follow x, y, z"
        )
    return LAYOUTS[columns]


def _layout(path: Path, values: np.ndarray, columns: int | Sequence[str] | None) -> tuple[str, ...]:
    if columns is not None:
        return _named(columns)
    if _is_nuscenes(path):
        return LAYOUTS[5]
    # A truncated KITTI scan fits five columns one time in five; its fifth column is no ring.
    only_five = len(values) % 4 and not len(values) % 5
    return LAYOUTS[5 if only_five and whole_numbers(values[4::5], 0, 1023) else 4]
