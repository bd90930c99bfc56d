"""PLY files, binary or ascii: the vertices, each scalar property a column."""

from pathlib import Path

import numpy as np

from gossamer.checks import one_of
from gossamer.io.atomic import written_beside
from gossamer.io.columns import from_columns, to_columns, whole_numbers
from gossamer.io.third_party import imported, parsing
from gossamer.point_cloud import PointCloud

COLOURS = ("red", "green", "blue", "alpha")


def read(path: Path) -> PointCloud:
    """The vertices of a PLY file; a property `label`, `class` or `classification` is labels.

    Raises:
        FormatError: no PLY file, or one without vertices that have x, y and z.
        ImportError: plyfile is not installed.
    """
    plyfile = imported("plyfile")
    with parsing(path, "PLY"):
        vertices = plyfile.PlyData.read(path)["vertex"]
        scalar = [p.name for p in vertices.properties if not hasattr(p, "len_dtype")]
        return from_columns({name: np.asarray(vertices[name]) for name in scalar})


def write(path: Path, cloud: PointCloud, encoding: str = "binary") -> None:
    """Write `cloud` as PLY; colours that are whole numbers up to 255 become bytes, as viewers want.

    Args:
        path: the file.
        cloud: what to write.
        encoding: "binary" (little-endian) or "ascii", both exact.

    Raises:
        ValueError: a feature's name or a label does not fit the format.
        ImportError: plyfile is not installed.
        OSError: the folder cannot be written.
    """
    plyfile = imported("plyfile")
    one_of("encoding", encoding, ("binary", "ascii"))
    columns = to_columns(cloud, allowed=r"[!-~]+")
    for name in COLOURS:
        if name in columns and whole_numbers(columns[name], 0, 255):
            columns[name] = columns[name].astype(np.uint8)
    table = np.empty(len(cloud), [(name, values.dtype) for name, values in columns.items()])
    for name, values in columns.items():
        table[name] = values
    element = plyfile.PlyElement.describe(table, "vertex")
    with written_beside(path) as unfinished:
        plyfile.PlyData([element], text=encoding == "ascii", byte_order="<").write(unfinished)
