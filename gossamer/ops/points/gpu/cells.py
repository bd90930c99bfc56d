"""The cell of a grid that each point lies in, with the same bits as on a CPU."""

import struct

import torch
import triton
import triton.language as tl
from torch import Tensor

from gossamer.ops.launch import launch

POINTS = 1024


@triton.jit(do_not_specialize=["lower", "edge", "cells", "points", "stride", "axis"])
def add_axis(
    cloud, keys, lower, edge, cells, points, stride, axis, WIDE: tl.constexpr, TILE: tl.constexpr
):
    """Take one more axis into row-major keys, -1 outside.

    Args:
        cloud: the positions, a point every `stride` numbers.
        keys: [P] int64, of the axes before.
        lower, edge: the bits of two float64; as floats they would be passed as float32.
        cells: how many the axis has.
        points: P.
        WIDE: whether positions are float64.
    """
    point = tl.program_id(0).to(tl.int64) * TILE + tl.arange(0, TILE)
    exists = point < points
    place = tl.load(cloud + point * stride + axis, mask=exists, other=0.0)
    start = tl.cast(lower.to(tl.int64), tl.float64, bitcast=True)
    size = tl.cast(edge.to(tl.int64), tl.float64, bitcast=True)
    if WIDE:
        cell = tl.floor((place - start) / size)
    else:
        # Not `/`, which for float32 is a fast one that may be off by a digit.
        cell = tl.floor(tl.div_rn(place - start.to(tl.float32), size.to(tl.float32)))
    # Compared as float first: what a NaN or 1e30 becomes as an int differs by machine.
    near = (cell >= 0) & (cell <= cells.to(cell.dtype))
    whole = tl.where(near, cell, -1.0).to(tl.int64)
    before = tl.load(keys + point, mask=exists & (axis > 0), other=0)
    inside = near & (whole < cells) & (before >= 0)
    tl.store(keys + point, tl.where(inside, before * cells + whole, -1), mask=exists)


def cell_keys(points: Tensor, lower: list[float], edges: list[float], size: list[int]) -> Tensor:
    """[P] int64: the number of each point's cell, row-major, or -1 outside.

    Args:
        points, lower, edges, size: as `first_come` has them.
    """
    cloud = points.contiguous()
    keys = cloud.new_empty(len(cloud), dtype=torch.int64)
    for axis, cells in enumerate(size):
        box = [_bits(lower[axis]), _bits(edges[axis]), cells]
        launch(
            add_axis,
            [-(-len(cloud) // POINTS)],
            [cloud, keys, *box, len(cloud), cloud.shape[1], axis],
            WIDE=cloud.dtype == torch.float64,
            TILE=POINTS,
        )
    return keys


def _bits(value: float) -> int:
    return struct.unpack("<q", struct.pack("<d", value))[0]
