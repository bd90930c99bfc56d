"""Point clouds in files: the suffix says the format.

    cloud = gossamer.io.read("000008.bin")
    gossamer.io.write("000008.ply", cloud)

| suffix | format | needs |
| --- | --- | --- |
| .bin | KITTI, SemanticKITTI: x, y, z, intensity | |
| .pcd.bin | nuScenes: x, y, z, intensity, ring | |
| .npz | ours, exact; and others' arrays by name | |
| .ply | PLY, binary or ascii | plyfile |
| .pcd | PCD, ascii, binary or binary_compressed | pypcd4 |
| .las, .laz | LAS 1.0 to 1.4 | laspy, lazrs |

Features are float32 and keep the file's numbers and names; nothing is scaled. The packages come
with `pip install gossamer[io]`.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

from gossamer.errors import FormatError
from gossamer.io import bin as bin_file
from gossamer.io import las, npz, pcd, ply
from gossamer.io.label import label_file, read_labels, with_labels, write_labels
from gossamer.point_cloud import PointCloud

__all__ = ["SUFFIXES", "label_file", "read", "read_labels", "write", "write_labels"]

FORMATS = {
    ".bin": bin_file,
    ".npz": npz,
    ".ply": ply,
    ".pcd": pcd,
    ".las": las,
    ".laz": las,
}
SUFFIXES = tuple(FORMATS)


def read(path: str | Path, labels: bool | str | Path | None = None, **options: Any) -> PointCloud:
    """The point cloud in a file; points that are NaN are kept, `cloud.finite()` drops them.

    Args:
        path: a file with one of `SUFFIXES`.
        labels: None takes labels where there are any, in the file or, for a `.bin`, in the
            `.label` file where `label_file` says; True insists on them; False leaves them out; a
            path is the `.label` file to take.
        options: what the format's own `read` takes: `columns` for `.bin`.

    Raises:
        FileNotFoundError: there is no such file.
        FormatError: it is truncated, damaged, of another format or, where they are wanted, without
            labels; or the labels belong to another cloud.
        ValueError: unknown suffix.
        TypeError: the format takes no such option.
        ImportError: the format needs a package that is not installed.
    """
    path = Path(path)
    reader = _with_options(path, _format(path).read, options)
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}{' (it is a folder)' if path.is_dir() else ''}")
    cloud = reader(path)
    if labels is False:
        return replace(cloud, labels=None, instances=None)
    if isinstance(labels, str | Path):
        return with_labels(cloud, labels)
    if path.suffix.lower() == ".bin" and (labels or label_file(path).exists()):
        return with_labels(cloud, label_file(path))
    if labels and cloud.labels is None:
        raise FormatError(
            f"{path} holds {len(cloud)} points without classes; wanted labels; choose another "
            "file, or pass a .label file as labels="
        )
    return cloud


def write(path: str | Path, cloud: PointCloud, **options: Any) -> None:
    """Write a point cloud; the file appears whole or not at all, and its folder is made.

    What a format cannot hold is refused, never dropped: `.npz` holds everything.

    Args:
        path: a file with one of `SUFFIXES`.
        cloud: what to write.
        options: what the format's own `write` takes: `columns` for `.bin`, `encoding` for `.ply`
            and `.pcd`, `scale` for `.las` and `.laz`.

    Raises:
        ValueError: unknown suffix, or the format cannot hold this cloud.
        OSError: the folder cannot be written.
        ImportError: the format needs a package that is not installed.
        TypeError: `cloud` is no PointCloud, or the format takes no such option.
    """
    path = Path(path)
    if not isinstance(cloud, PointCloud):
        raise TypeError(f"cloud is a {type(cloud).__name__}; wanted a PointCloud")
    _with_options(path, _format(path).write, options)(path, cloud)


def _format(path: Path) -> Any:
    if (suffix := path.suffix.lower()) not in FORMATS:
        raise ValueError(
            f"path is {path}, with suffix {suffix!r}; wanted one of {', '.join(SUFFIXES)}"
            + ("; labels are read by read_labels" if suffix == ".label" else "")
        )
    return FORMATS[suffix]


def _with_options(path: Path, function: Callable[..., Any], options: dict[str, Any]) -> Any:
    known = [name for name in signature(function).parameters if name not in ("path", "cloud")]
    if unknown := options.keys() - set(known):
        raise TypeError(
            f"{path.name} is given the options {', '.join(sorted(unknown))}; its format takes "
            f"{', '.join(known) or 'none'} here"
        )
    return partial(function, **options)
