"""PCD files of the Point Cloud Library: ascii, binary or binary_compressed, each field a column."""

from pathlib import Path
from typing import Any

import numpy as np

from gossamer.checks import one_of
from gossamer.io.atomic import written_beside
from gossamer.io.columns import from_columns, to_columns
from gossamer.io.third_party import imported, parsing
from gossamer.point_cloud import PointCloud

ENCODINGS = ("binary", "ascii", "binary_compressed")
PACKED = ("rgb", "rgba")
HEADER = ("FIELDS", "SIZE", "TYPE", "COUNT", "WIDTH", "POINTS", "DATA")
HEADER_LIMIT = 2**16


def read(path: Path) -> PointCloud:
    """The points of a PCD file; a packed `rgb` becomes red, green, blue, and padding is left out.

    Raises:
        FormatError: no PCD file, or one whose points lack x, y or z.
        ImportError: pypcd4 is not installed.
    """
    pypcd4 = imported("pypcd4")
    with parsing(path, "PCD"):
        _check_header(path)
        cloud = pypcd4.PointCloud.from_path(path)
        # one point of ascii comes without its axis, and no points (pypcd4 < 1.5.1) with two
        table = cloud.pc_data.reshape(-1)
        if len(table) != cloud.metadata.points:
            raise ValueError(f"it holds {len(table)} of its {cloud.metadata.points} points")
        columns: dict[str, np.ndarray] = {}
        for name in table.dtype.names or ():
            if name in PACKED and table[name].dtype.itemsize == 4:
                columns |= _unpacked(table[name])
            # pypcd4's mark for padding
            elif not name.startswith("#$%&~~"):
                columns[name] = table[name]
        return from_columns(columns)


def write(path: Path, cloud: PointCloud, encoding: str = "binary") -> None:
    """Write `cloud` as PCD.

    Args:
        path: the file.
        cloud: what to write.
        encoding: "binary", "ascii" or "binary_compressed", all exact.

    Raises:
        ValueError: a feature's name or a label does not fit the format.
        ImportError: pypcd4 is not installed.
        OSError: the folder cannot be written.
    """
    pypcd4 = imported("pypcd4")
    one_of("encoding", encoding, ENCODINGS)
    # what a PCD header can hold; "_" is padding, and packed colours are unpacked when read
    columns = to_columns(cloud, allowed=r"(?!(_|rgba?)$)[A-Za-z0-9_.+-]+")
    arrays = tuple(columns.values())
    types = tuple(values.dtype.type for values in arrays)
    table = pypcd4.PointCloud.from_points(arrays, tuple(columns), types)
    with written_beside(path) as unfinished:
        if encoding == "ascii":
            _write_ascii(unfinished, table)
        else:
            table.save(unfinished, pypcd4.Encoding(encoding))


def _check_header(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(HEADER_LIMIT)
    if missing := [word for word in HEADER if word.encode() not in start]:
        raise ValueError(f"its header lacks {', '.join(missing)}")


def _unpacked(packed: np.ndarray) -> dict[str, np.ndarray]:
    bits = np.ascontiguousarray(packed).view(np.uint32)
    shifts = {"red": 16, "green": 8, "blue": 0}
    return {name: (bits >> shift & 255).astype(np.uint8) for name, shift in shifts.items()}


def _write_ascii(path: Path, table: Any) -> None:
    # pypcd4 writes ten decimals, which loses small numbers; these digits give back every bit
    digits = {"f4": "%.9g", "f8": "%.17g", "i4": "%d"}
    types = [table.pc_data.dtype[name].str[1:] for name in table.pc_data.dtype.names]
    table.metadata.data = type(table.metadata.data)("ascii")
    with path.open("wb") as file:
        file.write(table.metadata.compose_header().encode())
        np.savetxt(file, table.pc_data, [digits[t] for t in types])
