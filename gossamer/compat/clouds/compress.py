"""Clouds in 3 or 4 bytes a point, in upstream's format.

A header, then the heads of blocks of 256 cells an axis in the order of their first points, then
the cells of all points inside their blocks, block by block, points of a block as they came.
"""

from dataclasses import dataclass
from enum import Enum

import numpy as np

from gossamer.compat.host.tensor import Tensor

HEADER = np.dtype(
    [
        ("size", "<i8"),  # bytes of everything
        ("kind", "<i8"),
        ("points", "<i8"),
        ("blocks", "<i8"),
        ("reserved", "<i8"),
        ("edges", "<f4", 3),
    ]
)
BLOCK = np.dtype([("points", "<i4"), ("origin", "<f4", 3)])
CELLS = 256  # of a block, along an axis


class EncodeType(Enum):
    """What is kept of a point."""

    XYZ_8 = 0
    XYZI_8 = 1

    def __int__(self) -> int:
        return self.value


@dataclass(frozen=True)
class _Blocks:
    """Which block each point falls into."""

    corner: np.ndarray  # [B, 3] int64, in blocks
    points: np.ndarray  # [B] int64
    order: np.ndarray  # [N] int64, points by block
    places: np.ndarray  # [N, 3] uint8, cells inside their blocks


class PointCloudCompress:
    """Encodes positions as cells, so that a decoded one lies below by less than an edge."""

    EncodeType = EncodeType

    @staticmethod
    def encode_xyz(points: Tensor, ex: float, ey: float, ez: float) -> Tensor:
        """The bytes of positions; arguments as for `encode_with_order`."""
        return PointCloudCompress.encode_with_order(points, Tensor(), ex, ey, ez, EncodeType.XYZ_8)[
            0
        ]

    @staticmethod
    def encode_xyzi(points: Tensor, intensity: Tensor, ex: float, ey: float, ez: float) -> Tensor:
        """The bytes of positions and intensities; arguments as for `encode_with_order`."""
        return PointCloudCompress.encode_with_order(
            points, intensity, ex, ey, ez, EncodeType.XYZI_8
        )[0]

    @staticmethod
    def encode_with_order(
        points: Tensor,
        intensity: Tensor,
        ex: float,
        ey: float,
        ez: float,
        type: EncodeType,
        with_order: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """The bytes of a cloud.

        Args:
            points: [N, 3 or more] floating, of which three columns are kept, as float32.
            intensity: [N], kept as a byte, 0 to 255; not looked at unless `type` is XYZI_8.
            ex, ey, ez: the edges of a cell.
            type: what to keep.
            with_order: whether the order is wanted.

        Returns:
            data: [S] uint8.
            order: [N] int64, the rows of `points` in the order in which they are decoded; empty
                unless wanted.

        Raises:
            ValueError: a shape is not this, an edge is not positive, a point is not finite or so
                far away that int64 does not hold its cell, an intensity is no byte.
        """
        cloud, edges = points.numpy_view(), np.array([ex, ey, ez], np.float32)
        blocks = _blocks_of(_cells_of(cloud, edges))
        heads = np.zeros(len(blocks.points), BLOCK)
        heads["points"] = blocks.points
        heads["origin"] = blocks.corner.astype(np.float32) * (edges * np.float32(CELLS))
        body = blocks.places
        if type is EncodeType.XYZI_8:
            body = np.column_stack([body, _bytes_of(intensity.numpy_view(), len(cloud))])
        body = body[blocks.order]
        header = np.zeros(1, HEADER)
        size = HEADER.itemsize + heads.nbytes + body.nbytes
        header[0] = size, type.value, len(cloud), len(heads), 0, edges
        data = b"".join(part.tobytes() for part in (header, heads, body))
        order = blocks.order if with_order else np.zeros(0, np.int64)
        return Tensor.around(np.frombuffer(data, np.uint8).copy()), Tensor.around(order)

    @staticmethod
    def decode(data: Tensor) -> Tensor:
        """[N, 3 or 4] float32: the corner of each point's cell, and its intensity if it is there.

        Args:
            data: [S] uint8, what `encode_with_order` returned.

        Raises:
            ValueError: it is something else.
        """
        raw = np.ascontiguousarray(data.numpy_view()).tobytes()
        if len(raw) < HEADER.itemsize:
            raise ValueError(f"data has {len(raw)} bytes; wanted a header of {HEADER.itemsize}")
        header = np.frombuffer(raw, HEADER, 1)[0]
        points, blocks = int(header["points"]), int(header["blocks"])
        width = {0: 3, 1: 4}.get(int(header["kind"]), 0)
        size = HEADER.itemsize + blocks * BLOCK.itemsize + points * width
        if not width or min(points, blocks) < 0 or {int(header["size"]), size} != {len(raw)}:
            raise ValueError(
                f"data has {len(raw)} bytes and its header tells of {int(header['size'])}, kind "
                f"{int(header['kind'])}, {points} points and {blocks} blocks; wanted what encode "
                "returned, whole"
            )
        heads = np.frombuffer(raw, BLOCK, blocks, HEADER.itemsize)
        if (heads["points"] < 0).any() or heads["points"].sum(dtype=np.int64) != points:
            raise ValueError(f"data is damaged: its blocks do not hold {points} points together")
        body = np.frombuffer(raw, np.uint8, offset=len(raw) - points * width)
        out = body.reshape(points, width).astype(np.float32)
        origins = np.repeat(heads["origin"], heads["points"], axis=0)
        out[:, :3] = origins + out[:, :3] * header["edges"]
        return Tensor.around(out)


def _cells_of(cloud: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """[N, 3] int64: the cell of each point."""
    if cloud.ndim != 2 or cloud.shape[1] < 3:
        raise ValueError(f"points has shape {cloud.shape}; wanted [N, 3 or more]")
    if not (np.isfinite(edges) & (edges > 0)).all():
        raise ValueError(f"ex, ey and ez are {edges.tolist()}; wanted positive lengths")
    with np.errstate(over="ignore"):  # what float32 does not hold is told below
        cells = np.floor(cloud[:, :3].astype(np.float32) / edges)
    if not (np.abs(cells) < 2.0**62).all():
        raise ValueError(
            "points has a row that is not finite, or over 2**62 cells away; drop such rows first"
        )
    return cells.astype(np.int64)


def _blocks_of(cells: np.ndarray) -> _Blocks:
    corners, first, block = np.unique(
        cells // CELLS, axis=0, return_index=True, return_inverse=True
    )
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    block = rank[block.reshape(-1)]
    return _Blocks(
        corner=corners[np.argsort(first)],
        points=np.bincount(block, minlength=len(first)),
        order=np.argsort(block, kind="stable"),
        places=(cells % CELLS).astype(np.uint8),
    )


def _bytes_of(intensity: np.ndarray, count: int) -> np.ndarray:
    if intensity.shape != (count,):
        raise ValueError(f"intensity has shape {intensity.shape}; wanted [{count}]")
    if not ((intensity >= 0) & (intensity < 256)).all():
        raise ValueError("intensity has a number outside 0 to 255; wanted what a byte holds")
    return intensity.astype(np.uint8)
