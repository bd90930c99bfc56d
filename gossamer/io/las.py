"""LAS and LAZ files of airborne and terrestrial laser scanning.

Numbers are as the file has them: intensity and colours 0 to 65535, nothing scaled. A standard
dimension that is 0 at every point was not measured, and is no feature; likewise a classification
that is 0 (never classified) at every point is no labels.
"""

from pathlib import Path
from typing import Any

import numpy as np

from gossamer.io.atomic import written_beside
from gossamer.io.columns import AXES, INT32, from_columns, to_columns, whole_numbers
from gossamer.io.las_header import check_header
from gossamer.io.third_party import imported, parsing
from gossamer.point_cloud import PointCloud

# Dimensions that are measured together, and the whole numbers they hold.
STANDARD = {
    ("intensity",): (0, 65535),
    ("return_number", "number_of_returns"): (0, 15),
    ("scan_angle",): (-32768, 32767),
    ("red", "green", "blue"): (0, 65535),
}
# Dimensions of older and of near-infrared point formats, which we read but do not write.
OTHER = (("scan_angle_rank",), ("nir",))
PIECE = 1_000_000


def read(path: Path) -> PointCloud:
    """The points of a LAS or LAZ file, with float64 positions.

    Features are intensity, return_number, number_of_returns, scan_angle, red, green, blue, nir
    where measured, in this order, and all extra dimensions; classification is labels, unless there
    is an extra dimension `label`.

    Raises:
        FormatError: no LAS or LAZ file, or a truncated one.
        ImportError: laspy, or lazrs for LAZ, is not installed.
    """
    laspy = imported("laspy")
    if path.suffix.lower() == ".laz":
        imported("lazrs")
    with parsing(path, "LAS"):
        check_header(path)
        # the serial backend, because the parallel one panics in its threads on damaged files
        backend = laspy.LazBackend.Lazrs
        with laspy.open(path, read_evlrs=False, laz_backend=backend) as reader:
            return from_columns(_columns_of(_points(reader, laspy), laspy))


def write(path: Path, cloud: PointCloud, scale: float = 1e-4) -> None:
    """Write `cloud` as LAS 1.4, compressed where the suffix is `.laz`.

    Labels from 0 to 255 are the classification. Features with the name of a standard dimension go
    there where it holds them exactly; all others are float32 extra dimensions, exact too.

    Args:
        path: the file.
        cloud: what to write.
        scale: metres; positions are rounded to whole multiples of it.

    Raises:
        ValueError: positions are not finite or too far apart for `scale`, or a feature's name or a
            label does not fit the format.
        ImportError: laspy, or lazrs for LAZ, is not installed.
        OSError: the folder cannot be written.
    """
    laspy = imported("laspy")
    if path.suffix.lower() == ".laz":
        imported("lazrs")
    columns = to_columns(cloud, allowed=r"[ -~]{1,31}")
    positions = np.stack([columns.pop(axis) for axis in AXES], 1).astype(np.float64)
    offsets = _offsets(positions, scale)
    standard = _pop_standard(columns)
    extra = {_escaped(name, laspy): values for name, values in columns.items()}
    header = laspy.LasHeader(version="1.4", point_format=7 if "red" in standard else 6)
    header.scales, header.offsets = np.full(3, scale), offsets
    header.add_extra_dims([laspy.ExtraBytesParams(n, v.dtype) for n, v in extra.items()])
    las = laspy.LasData(header)
    las.xyz = positions
    for name, values in {**standard, **extra}.items():
        las[name] = values
    with written_beside(path) as unfinished:
        las.write(str(unfinished))


def _points(reader: Any, laspy: Any) -> Any:
    """All points, read in pieces, so that a false count ends in an error and not in all memory."""
    header, count = reader.header, reader.header.point_count
    pieces = []
    for first in range(0, max(count, 1), PIECE):
        pieces.append(reader.read_points(PIECE).array)
        if len(pieces[-1]) < min(PIECE, count - first):
            raise ValueError(f"it holds {first + len(pieces[-1])} of its {count} points")
    array = np.concatenate(pieces)
    points = laspy.ScaleAwarePointRecord(array, header.point_format, header.scales, header.offsets)
    return laspy.LasData(header, points)


def _columns_of(las: Any, laspy: Any) -> dict[str, np.ndarray]:
    columns: dict[str, np.ndarray] = {}
    present = set(las.point_format.standard_dimension_names)
    for group in (*STANDARD, *OTHER):
        values = {name: np.asarray(las[name]) for name in group if name in present}
        if any(v.any() for v in values.values()):
            columns |= values
    for name in las.point_format.extra_dimension_names:
        original = _original(name, laspy)
        columns[name if original in columns else original] = np.asarray(las[name])
    # an extra dimension `label` holds what the eight bits of classification cannot
    if (classes := np.asarray(las.classification)).any():
        columns.setdefault("label", classes)
    return columns | dict(zip(AXES, np.asarray(las.xyz).T, strict=True))


def _pop_standard(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What standard dimensions hold exactly; it is taken out of `columns`."""
    standard: dict[str, np.ndarray] = {}
    for group, (low, high) in {**STANDARD, ("label",): (0, 255)}.items():
        values = [columns[name] for name in group if name in columns]
        fits = len(values) == len(group) and all(whole_numbers(v, low, high) for v in values)
        # all 0 reads as not measured, so such a column must be an extra dimension
        if fits and any(v.any() for v in values):
            standard |= {name: columns.pop(name).astype(np.int32) for name in group}
    if "label" in standard:
        standard["classification"] = standard.pop("label")
    return standard


def _offsets(positions: np.ndarray, scale: float) -> np.ndarray:
    """[3] float64, metres: whole numbers under the smallest position."""
    if not np.isfinite(positions).all():
        raise ValueError("positions holds NaN or infinity, which LAS cannot; write cloud.finite()")
    some = positions if len(positions) else np.zeros((1, 3))
    low, high = some.min(0), some.max(0)
    offsets = np.floor(low)
    if not 0 < scale < np.inf or ((high - offsets) / scale > INT32.max).any():
        extent = (high - low).tolist()
        raise ValueError(
            f"scale is {scale} m and positions span {extent} m; LAS holds {INT32.max} steps of "
            "scale; pass a larger scale="
        )
    return offsets


def _reserved(laspy: Any) -> set[str]:
    return {*AXES, *laspy.PointFormat(7).dimension_names}


def _escaped(name: str, laspy: Any) -> str:
    """An extra dimension's name for a feature called like a standard dimension: with a `_`."""
    return f"{name}_" if name.rstrip("_") in _reserved(laspy) else name


def _original(name: str, laspy: Any) -> str:
    """The name that `_escaped` was given."""
    is_escaped = name.endswith("_") and name.rstrip("_") in _reserved(laspy)
    return name[:-1] if is_escaped else name
