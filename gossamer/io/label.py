"""SemanticKITTI `.label` files: uint32 a point, class in the lower 16 bits, instance in the upper.

Classes stay as they are in the file; a dataset maps them to those it trains on.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gossamer.errors import FormatError
from gossamer.io.atomic import written_beside
from gossamer.io.columns import to_numpy
from gossamer.point_cloud import PointCloud


def label_file(scan: str | Path) -> Path:
    """Where the labels of a scan lie: in `labels` beside a folder `velodyne`, else by the scan."""
    scan = Path(scan)
    folder = scan.parent
    if folder.name == "velodyne":
        folder = folder.with_name("labels")
    return folder / f"{scan.stem.removesuffix('.pcd')}.label"


def read_labels(path: str | Path) -> tuple[Tensor, Tensor]:
    """The labels [P] int64 and instances [P] int64 of a `.label` file; instance 0 is none.

    Raises:
        FileNotFoundError: there is no such file.
        FormatError: its size is no multiple of 4 bytes.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no label file {path}; wanted one beside the scan, or its path")
    data = path.read_bytes()
    if len(data) % 4:
        raise FormatError(
            f"{path} has {len(data)} bytes; wanted 4 a point; it is truncated or no .label file"
        )
    packed = torch.from_numpy(np.frombuffer(data, "<u4").astype(np.int64))
    return packed & 0xFFFF, packed >> 16


def write_labels(path: str | Path, cloud: PointCloud) -> None:
    """Write the labels and instances of `cloud`; a cloud without instances gets instance 0.

    Raises:
        ValueError: the cloud has no labels, or one does not fit 16 bits.
        OSError: the folder cannot be written.
    """
    packed = _packed(cloud)
    with written_beside(path) as unfinished:
        packed.tofile(unfinished)


def with_labels(cloud: PointCloud, path: str | Path) -> PointCloud:
    """`cloud` with the labels and instances of a `.label` file.

    Raises:
        FormatError: the file has another number of points.
    """
    labels, instances = read_labels(path)
    if len(labels) != len(cloud):
        raise FormatError(
            f"{path} has {len(labels)} labels and its scan {len(cloud)} points; wanted one a "
            "point; it belongs to another scan, or one of the two is truncated; labels=False "
            "reads the scan alone"
        )
    return replace(cloud, labels=labels, instances=instances)


def _packed(cloud: PointCloud) -> np.ndarray:
    arrays = to_numpy(cloud)
    if "labels" not in arrays:
        raise ValueError("labels is None; a .label file needs a label a point")
    none = np.zeros(len(cloud), np.int64)
    labels, instances = arrays["labels"], arrays.get("instances", none)
    for name, values in (("labels", labels), ("instances", instances)):
        if len(values) and not 0 <= values.min() <= values.max() < 2**16:
            raise ValueError(
                f"{name} spans {values.min()} to {values.max()}; a .label file holds 0 to 65535; "
                "map them first, or write .npz"
            )
    return (labels | instances << 16).astype("<u4")
