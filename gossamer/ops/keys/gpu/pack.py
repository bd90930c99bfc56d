"""Rows to keys and back, and keys looked up among sorted ones."""

# A number is 64 bits wide whatever its value, or there would be a kernel for each combination.
# pyright: reportInvalidTypeForm=false

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from gossamer.ops.keys.gpu.parts import (
    BOX,
    FORM,
    blocks_of,
    box,
    existing,
    form,
    key_of,
    triton_type,
)
from gossamer.ops.launch import launch

BLOCK = 256


def packed(
    coords: Tensor, count: Tensor | None, corners: Sequence[Sequence[int]], dtype: torch.dtype
) -> Tensor:
    """[N] keys of type `dtype` of coords [N, 1+D]; the largest number for rows from `count` on."""
    keys = coords.new_empty(len(coords), dtype=dtype)
    launch(
        _pack,
        (blocks_of(len(coords), BLOCK),),
        (coords, keys if count is None else count, keys, len(coords), *form(*corners)),
        COUNTED=count is not None,
        KEY=triton_type(dtype),
        D=coords.shape[1] - 1,
        BLOCK=BLOCK,
    )
    return keys


def unpacked(
    keys: Tensor, count: Tensor | None, corners: Sequence[Sequence[int]], ndim: int
) -> Tensor:
    """[N, 1+D] int32: the rows of keys [N], zeros from `count` on."""
    coords = keys.new_empty(len(keys), 1 + ndim, dtype=torch.int32)
    launch(
        _unpack,
        (blocks_of(len(keys), BLOCK),),
        (keys, keys if count is None else count, coords, len(keys), *box(*corners)),
        COUNTED=count is not None,
        KEY=triton_type(keys.dtype),
        D=ndim,
        BLOCK=BLOCK,
    )
    return coords


def found(keys: Tensor, wanted: Tensor) -> Tensor:
    """int64 like `wanted`: the row of each among sorted keys [N], or -1."""
    rows = torch.empty(wanted.shape, dtype=torch.int64, device=wanted.device)
    numbers = wanted.numel(), len(keys), len(keys).bit_length()
    launch(
        _find,
        (blocks_of(wanted.numel(), BLOCK),),
        (keys, wanted.contiguous(), rows, *numbers),
        BLOCK=BLOCK,
    )
    return rows


@triton.jit(do_not_specialize=["rows", *FORM])
def _pack(
    coords,
    count,
    keys,
    rows,
    batch_weight: tl.int64,
    weight0: tl.int64,
    weight1: tl.int64,
    weight2: tl.int64,
    weight3: tl.int64,
    constant: tl.int64,
    COUNTED: tl.constexpr,
    KEY: tl.constexpr,
    D: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    there = row < existing(count, rows, COUNTED)
    weights = (batch_weight, weight0, weight1, weight2, weight3, constant)
    key = key_of(coords, row, there, weights, (1, 1, 1, 1), KEY, D)
    if COUNTED:
        largest: tl.constexpr = 0x7FFFFFFF if KEY == tl.int32 else 0x7FFFFFFFFFFFFFFF
        key = tl.where(there, key, largest)
    tl.store(keys + row, key, mask=row < rows)


@triton.jit(do_not_specialize=["rows", *BOX])
def _unpack(
    keys,
    count,
    coords,
    rows,
    low0: tl.int64,
    low1: tl.int64,
    low2: tl.int64,
    low3: tl.int64,
    size0: tl.int64,
    size1: tl.int64,
    size2: tl.int64,
    size3: tl.int64,
    COUNTED: tl.constexpr,
    KEY: tl.constexpr,
    D: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    there = row < existing(count, rows, COUNTED)
    low, size = (low0, low1, low2, low3), (size0, size1, size2, size3)
    key = tl.load(keys + row, mask=there, other=0)
    first = coords + row * (1 + D)
    for step in tl.static_range(D):
        extent = size[D - 1 - step].to(KEY)
        rest = key // extent
        cell = (key - rest * extent).to(tl.int64) + low[D - 1 - step]
        tl.store(first + D - step, tl.where(there, cell, 0).to(tl.int32), mask=row < rows)
        key = rest
    tl.store(first, key.to(tl.int32), mask=row < rows)


@triton.jit(do_not_specialize=["numbers", "rows", "steps"])
def _find(keys, wanted, found, numbers, rows, steps, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    there = at < numbers
    key = tl.load(wanted + at, mask=there, other=0)
    row = place_of(keys, key, there, rows, steps)
    met = there & (row < rows)
    same = met & (tl.load(keys + row, mask=met, other=0) == key)
    tl.store(found + at, tl.where(same, row, -1), mask=there)


@triton.jit
def place_of(keys, wanted, there, rows, steps):
    """How many of `rows` sorted keys are smaller than each wanted one; 2**steps > rows."""
    place = tl.zeros_like(wanted).to(tl.int64)
    for step in range(steps):
        further = place + (tl.full((), 1, tl.int64) << (steps - 1 - step))
        reads = there & (further <= rows)
        smaller = tl.load(keys + further - 1, mask=reads, other=0) < wanted
        place = tl.where(reads & smaller, further, place)
    return place
