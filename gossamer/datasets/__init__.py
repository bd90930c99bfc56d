"""Scans and labels, from a folder or a simulator to the batches that a network takes.

Read downwards: `data` says what a data set is, `synthetic`, `las` and `semantic_kitti` make one,
`inputs` what a network gets to know of a point, `transforms` changes scans at random, `collate`
makes batches of them.
"""

from pathlib import Path

from gossamer.datasets.collate import ADDED, Batch, collate
from gossamer.datasets.data import Data, Scans, relabelled
from gossamer.datasets.inputs import CHANNELS, encode, missing
from gossamer.datasets.las import las
from gossamer.datasets.semantic_kitti import semantic_kitti
from gossamer.datasets.synthetic import synthetic
from gossamer.datasets.transforms import Augmentation, augment

__all__ = [
    "ADDED",
    "CHANNELS",
    "Augmentation",
    "Batch",
    "Data",
    "Scans",
    "augment",
    "collate",
    "encode",
    "las",
    "missing",
    "open_data",
    "relabelled",
    "semantic_kitti",
    "synthetic",
]

WANTED = (
    "wanted synthetic, synthetic:N for N scans, a .las or .laz file with classes, a folder of "
    "them, or a SemanticKITTI folder, which holds sequences/"
)


def open_data(spec: str) -> Data:
    """The data set that `spec` names.

    Args:
        spec: "synthetic", "synthetic:N" for N simulated scans, the path of a LAS or LAZ file or of
            a folder of them, or of a SemanticKITTI folder.

    Raises:
        ValueError: `spec` is none of these.
        FileNotFoundError: there is no such file or folder, or it holds no labelled scan.
        FormatError: a file is damaged or without classes, or labels and scans do not fit.
        ImportError: reading needs a package that is not installed.
    """
    if spec == "synthetic":
        return synthetic()
    if spec.startswith("synthetic:"):
        count = spec.removeprefix("synthetic:")
        if not count.isdecimal() or not int(count):
            raise ValueError(f"data is {spec!r}; {WANTED}")
        return synthetic(int(count), validation=max(1, min(10, int(count) // 4)))
    path = Path(spec)
    if (path / "sequences").is_dir():
        return semantic_kitti(path)
    if path.is_dir() or path.suffix.lower() in (".las", ".laz"):
        return las(path)
    raise (ValueError if path.exists() else FileNotFoundError)(f"data is {spec!r}; {WANTED}")
