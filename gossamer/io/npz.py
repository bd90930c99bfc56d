"""NumPy archives: our own, which keep a cloud exactly, and those of others, by their names."""

from pathlib import Path
from zipfile import is_zipfile

import numpy as np
import torch

from gossamer.io.atomic import written_beside
from gossamer.io.columns import from_columns, to_numpy
from gossamer.io.third_party import parsing
from gossamer.point_cloud import PointCloud


def read(path: Path) -> PointCloud:
    """The cloud in an archive.

    One with `positions` and `features` is ours, and comes back as it was. In any other, `xyz`
    [P, 3] (metres) or `xyz_mm` [P, 3] (millimetres) are positions, and each further array of P rows
    of numbers is a column: `label` labels, `reflectivity`, `ring` and such features of that name.

    Raises:
        FormatError: not an archive of arrays, or none that holds points.
    """
    with parsing(path, ".npz"):
        # np.load takes anything else for a pickle, and proposes to trust it
        if not is_zipfile(path):
            raise ValueError("it is no zip archive")
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        if "positions" in arrays and "features" in arrays:
            return _ours(arrays)
        return _theirs(arrays)


def write(path: Path, cloud: PointCloud) -> None:
    """Write all of `cloud`, exactly.

    Raises:
        OSError: the folder cannot be written.
    """
    arrays = to_numpy(cloud)
    arrays["names"] = np.array(cloud.names, dtype=np.str_)
    # an open file, because savez appends .npz to a name that lacks it
    with written_beside(path) as unfinished, unfinished.open("wb") as file:
        np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]


def _ours(arrays: dict[str, np.ndarray]) -> PointCloud:
    names = tuple(str(name) for name in arrays.pop("names", np.array([])))
    wanted = {"labels": np.int64, "instances": np.int64, "batch": np.int64, "features": np.float32}
    tensors = {n: torch.from_numpy(arrays[n].astype(t)) for n, t in wanted.items() if n in arrays}
    return PointCloud(torch.from_numpy(arrays["positions"]), names=names, **tensors)


def _theirs(arrays: dict[str, np.ndarray]) -> PointCloud:
    if "xyz_mm" in arrays:
        positions = arrays.pop("xyz_mm").astype(np.float32) / 1000
    elif "xyz" in arrays:
        positions = arrays.pop("xyz")
    else:
        raise ValueError(
            f"it holds {', '.join(arrays) or 'nothing'}; wanted xyz, xyz_mm, or positions and "
            "features"
        )
    if positions.ndim != 2 or positions.shape[1] != 3:
        raise ValueError(f"its positions have shape {positions.shape}; wanted [P, 3]")
    columns = {
        name: values
        for name, values in arrays.items()
        if values.ndim in (1, 2) and len(values) == len(positions) and values.dtype.kind in "biuf"
    }
    return from_columns({**columns, **dict(zip("xyz", positions.T, strict=True))})
