"""What the kernels of coordinates share: the key of a row, which rows exist, bits of a word."""

from collections.abc import Sequence
from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

AXES = 4
# Numbers that differ from scan to scan; a kernel for each would be compiled anew all the time.
FORM = ["batch_weight", "weight0", "weight1", "weight2", "weight3", "constant"]
BOX = ["low0", "low1", "low2", "low3", "size0", "size1", "size2", "size3"]
STEPS = ["stride0", "stride1", "stride2", "stride3"]


def blocks_of(number: int, size: int) -> int:
    """How many blocks of `size` hold `number` things."""
    return (number + size - 1) // size


def form(lower: Sequence[int], upper: Sequence[int]) -> tuple[int, ...]:
    """The weights of the batch and of AXES axes in a key, and its constant, modulo 2**64."""
    weights, weight = [], 1
    for low, high in zip(reversed(lower), reversed(upper), strict=True):
        weights.append(weight)
        weight *= high - low
    weights.reverse()
    constant = -sum(low * w for low, w in zip(lower, weights, strict=True))
    axes = padded(weights, 0)
    return tuple((v + 2**63) % 2**64 - 2**63 for v in (weight, *axes, constant))


def box(lower: Sequence[int], upper: Sequence[int]) -> tuple[int, ...]:
    """The lower corner of a box and its size, for AXES axes."""
    sizes = [high - low for low, high in zip(lower, upper, strict=True)]
    return (*padded(lower, 0), *padded(sizes, 1))


def padded(values: Sequence[int], filler: int) -> list[int]:
    """One value for each of AXES axes."""
    return [*values, *[filler] * (AXES - len(values))]


def cells(lower: Sequence[int], upper: Sequence[int], batches: int) -> int:
    """How many cells the box has in all samples; 0 where their number is not known."""
    count = batches
    for low, high in zip(lower, upper, strict=True):
        count *= high - low
    return count


def key_type(number: int) -> torch.dtype:
    """The type for keys of `number` cells, one of which stays free; 0 is not known."""
    return torch.int32 if 0 < number < 2**31 else torch.int64


def triton_type(dtype: torch.dtype) -> tl.dtype:
    """What Triton calls the type of a key."""
    return tl.int32 if dtype == torch.int32 else tl.int64


@cache
def constant(values: tuple[int, ...], device: torch.device) -> Tensor:
    """[n] int32 on `device`, made once and kept: a copy waits, and a CUDA graph reads in place."""
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=torch.int32, device=device)


@triton.jit
def existing(count, rows, COUNTED: tl.constexpr):
    """How many of `rows` exist: `count` says so, where there is one."""
    if COUNTED:
        return tl.minimum(tl.load(count), rows)
    else:
        return rows


@triton.jit
def key_of(coords, row, there, weights, stride, KEY: tl.constexpr, D: tl.constexpr):
    """The key of each row of coords * stride, where there is one."""
    first = coords + row * (1 + D)
    key = tl.load(first, mask=there, other=0).to(KEY) * weights[0].to(KEY) + weights[5].to(KEY)
    for axis in tl.static_range(D):  # pyright: ignore[reportGeneralTypeIssues]
        cell = tl.load(first + 1 + axis, mask=there, other=0).to(KEY) * stride[axis]
        key += cell.to(KEY) * weights[1 + axis].to(KEY)
    return key


@triton.jit
def ones(word):
    """How many bits of each uint32 are set."""
    # Written as compilers know it: one instruction where the machine has it.
    word = word - ((word >> 1) & 0x55555555)
    word = (word & 0x33333333) + ((word >> 2) & 0x33333333)
    word = (word + (word >> 4)) & 0x0F0F0F0F
    return ((word * 0x01010101) >> 24).to(tl.int32)


@triton.jit
def either(a, b):
    """The bits of both; what tl.reduce unites masks with."""
    return a | b
