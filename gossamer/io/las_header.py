"""Whether the counts in a LAS or LAZ file fit its size, before any library believes them.

laspy loops over the records that the header claims, and lazrs allocates what the chunk table and
the layers claim; it ends the whole process where memory runs out. Field by field this follows the
LAS 1.4 specification and the LASzip one (ASPRS, "LAZ Specification 1.4 R1").
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

SMALLEST_HEADER = 227
LASZIP_RECORD = 22204
CHUNKED, LAYERED = 2, 3
# layers that each part of a point is compressed to; BYTE14 has one for each of its bytes
LAYERS = {10: 9, 11: 1, 12: 2, 13: 1}
BYTE14 = 14


@dataclass(frozen=True)
class Header:
    """What the first 375 bytes say about the bytes that follow."""

    size: int  # of the file, bytes
    header_size: int
    offset: int  # of the first point, bytes
    records: int  # between header and points
    compressed: bool
    step: int  # bytes a point
    points: int


def check_header(path: Path) -> None:
    """Nothing, when all that the file's counts claim lies inside it.

    Raises:
        ValueError: it does not begin like a LAS file, or a count claims more than there is.
    """
    with path.open("rb") as file:
        header = _header(file, path.stat().st_size)
        if header.compressed and header.points:
            _check_chunks(file, header)


def _header(file: BinaryIO, size: int) -> Header:
    start = file.read(375).ljust(375, b"\0")
    if size < SMALLEST_HEADER or start[:4] != b"LASF":
        raise ValueError(f"it begins with {start[:4]!r}; wanted b'LASF' and a header")
    header_size, offset, records, kind, step, points = struct.unpack_from("<HIIBHI", start, 94)
    if start[25] >= 4:
        (points,) = struct.unpack_from("<Q", start, 247)
    if offset > size or records * 54 > offset - header_size:
        raise ValueError(f"its header claims {records} records before byte {offset}")
    header = Header(size, header_size, offset, records, kind >= 128, step, points)
    if not header.compressed and (has := (size - offset) // max(step, 1)) < points:
        raise ValueError(f"it holds {has} of its {points} points")
    return header


def _check_chunks(file: BinaryIO, header: Header) -> None:
    compressor, items = _laszip_record(file, header)
    if compressor not in (CHUNKED, LAYERED):
        return
    (table,) = _read(file, header.offset, "<q")
    # a writer that could not seek back leaves -1 here and puts the place at the end
    if table == -1:
        (table,) = _read(file, header.size - 8, "<q")
    _, chunks = _read(file, table, "<II")
    if table < header.offset or chunks > table - header.offset:
        raise ValueError(f"its chunk table at byte {table} claims {chunks} chunks")
    if compressor == LAYERED:
        _check_layers(file, header, items, table)


def _check_layers(file: BinaryIO, header: Header, items: dict[int, int], table: int) -> None:
    """Walk the chunks: first point, number of points, the size of each layer, the layers."""
    if unknown := items.keys() - LAYERS.keys() - {BYTE14}:
        raise ValueError(f"its points have parts of kind {sorted(unknown)}, which LAZ lacks")
    layers = sum(size if item == BYTE14 else LAYERS[item] for item, size in items.items())
    start = header.offset + 8
    while start < table:
        sizes = _read(file, start + header.step + 4, f"<{layers}I")
        start += header.step + 4 + 4 * layers + sum(sizes)
    if start > table:
        raise ValueError(f"its chunks end at byte {start}, after the chunk table at byte {table}")


def _laszip_record(file: BinaryIO, header: Header) -> tuple[int, dict[int, int]]:
    """How points are compressed, and the bytes of each part of a point by its kind."""
    place = header.header_size
    for _ in range(header.records):
        number, length = _read(file, place + 18, "<HH")
        if number == LASZIP_RECORD:
            break
        place += 54 + length
    else:
        raise ValueError("it is compressed but has no LASzip record")
    (compressor,) = _read(file, place + 54, "<H")
    (count,) = _read(file, place + 86, "<H")
    fields = _read(file, place + 88, f"<{3 * count}H")
    items = dict(zip(fields[::3], fields[1::3], strict=True))
    if sum(items.values()) != header.step:
        raise ValueError(f"its compressed parts {items} do not make {header.step} bytes a point")
    return compressor, items


def _read(file: BinaryIO, place: int, layout: str) -> tuple[int, ...]:
    wanted = struct.calcsize(layout)
    if not 0 <= place <= os.fstat(file.fileno()).st_size - wanted:
        raise ValueError(f"a count in it points to byte {place}, outside the file")
    file.seek(place)
    return struct.unpack(layout, file.read(wanted))
