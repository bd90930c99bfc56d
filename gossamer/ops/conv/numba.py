"""Convolution on the CPU: output-stationary tiles, walked with register-blocked micro-kernels.

A thread owns tiles of output rows, so nothing is locked, added atomically or copied together. The
weight gradient is summed in slabs of tiles whose number follows from the data, and the slabs are
added in order; so both give the same bits for any number of threads.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from torch import Tensor

from gossamer.ops.arrays import array, fresh
from gossamer.ops.conv import ACCUMULATOR, Epilogue
from gossamer.ops.conv.depthwise import conv_depthwise, weight_grad_depthwise
from gossamer.ops.conv.outer import weight_grad
from gossamer.ops.conv.rows import conv_rows
from gossamer.ops.dispatch import Problem
from gossamer.ops.rulebooks import TABLE, TILE
from gossamer.ops.threads import for_each

FLOPS_A_PIECE = 16_000_000  # about a tenth of a millisecond, well above the cost of handing over
TILES_A_SLAB, MAX_SLABS = 16, 8


def refuses(problem: Problem) -> str:
    if problem.device != "cpu":
        return f"runs on cpu, not {problem.device}"
    return "takes pairs, not a table" if problem.lists == TABLE else ""


def conv(
    x: Tensor,
    weight: Tensor,
    pairs: Sequence[Tensor],
    rows: int,
    groups: int,
    epilogue: Epilogue,
) -> Tensor:
    wide_type = ACCUMULATOR.get(x.dtype, x.dtype)
    y = fresh(rows, weight.shape[2], wide_type)
    arrays = [array(t) for t in (x.to(wide_type), weight.to(wide_type), y)]
    lists = [array(t) for t in pairs]
    last = _last_steps(epilogue, y)
    depthwise = groups > 1 and weight.shape[1] == 1 and x.shape[1] == weight.shape[2]
    kernel = conv_depthwise if depthwise else conv_rows
    pieces = _pieces(lists, rows, x.shape[1] * weight.shape[2] // groups)
    for_each(len(pieces), lambda i: kernel(*arrays, *lists, *pieces[i], groups, *last))
    return y.to(x.dtype)


def _last_steps(epilogue: Epilogue, y: Tensor) -> tuple:
    """The epilogue as the kernels take it: empty arrays for what there is not."""
    none = y.new_empty(0)
    scale, shift = (none if t is None else t.to(y.dtype) for t in (epilogue.scale, epilogue.shift))
    residual = epilogue.residual
    residual = none.view(0, y.shape[1]) if residual is None else residual.to(y.dtype)
    slope = y.numpy().dtype.type(epilogue.below_zero)
    return array(scale), array(shift), array(residual), slope


def conv_weight_grad(x: Tensor, grad: Tensor, pairs: Sequence[Tensor], groups: int) -> Tensor:
    wide_type = ACCUMULATOR.get(x.dtype, x.dtype)
    lists = [array(t) for t in pairs]
    shape = (len(lists[3]), x.shape[1] // groups, grad.shape[1])
    tile_count = (len(lists[2]) - 1) // max(1, shape[0])
    slabs = max(1, min(MAX_SLABS, tile_count // TILES_A_SLAB))
    partial = x.new_zeros(slabs, *shape, dtype=wide_type)
    arrays = [array(t) for t in (x.to(wide_type), grad.to(wide_type))]
    sums = array(partial)
    depthwise = groups > 1 and shape[1] == 1 and x.shape[1] == grad.shape[1]
    kernel = weight_grad_depthwise if depthwise else weight_grad
    edges = [tile_count * i // slabs for i in range(slabs + 1)]
    for_each(slabs, lambda i: kernel(*arrays, sums[i], *lists, edges[i], edges[i + 1], groups))
    total = partial[0] if slabs == 1 else partial.sum(0)
    return total.to(x.dtype)


def _pieces(lists: list[np.ndarray], rows: int, products: int) -> list[tuple[int, int]]:
    """Ranges of tiles, each worth about FLOPS_A_PIECE: what one thread takes at a time."""
    tile_count = -(-rows // TILE)
    flops = 2 * len(lists[0]) * products
    count = min(tile_count, 1 + flops // FLOPS_A_PIECE)
    edges = [tile_count * i // max(1, count) for i in range(count + 1)]
    return list(pairwise(edges))
