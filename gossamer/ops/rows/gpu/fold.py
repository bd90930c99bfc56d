"""What a batch norm that learns no more multiplies by and adds, in one small kernel."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from gossamer.ops.launch import launch
from gossamer.ops.rows.gpu.scale import bits_of, number

COLUMNS = 128


@triton.jit(do_not_specialize=["eps", "count"])
def fold_vectors(
    mean, variance, weight, bias, before, scale, shift, eps, count,
    WEIGHT: tl.constexpr, BIAS: tl.constexpr, BEFORE: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Fill scale and shift [C], as `fold` says."""
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < count
    spread = tl.load(variance + column, mask=inside, other=1.0).to(tl.float64)
    by = 1.0 / tl.sqrt(spread + number(eps, tl.float64))
    if WEIGHT:
        by *= tl.load(weight + column, mask=inside, other=0.0).to(tl.float64)
    add = -tl.load(mean + column, mask=inside, other=0.0).to(tl.float64)
    if BEFORE:
        add += tl.load(before + column, mask=inside, other=0.0).to(tl.float64)
    add *= by
    if BIAS:
        add += tl.load(bias + column, mask=inside, other=0.0).to(tl.float64)
    tl.store(scale + column, by.to(scale.dtype.element_ty), mask=inside)
    tl.store(shift + column, add.to(shift.dtype.element_ty), mask=inside)


def folded(
    known: tuple[Tensor, Tensor],
    own: tuple[Tensor | None, Tensor | None, Tensor | None],
    eps: float,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """Scale and shift.

    Args:
        known: mean and variance, [C].
        own: weight, bias and what was added before, [C] each or None.
        eps, dtype: as `fold` has them.
    """
    mean, variance = (t.contiguous() for t in known)
    scale, shift = torch.empty_like(mean, dtype=dtype), torch.empty_like(mean, dtype=dtype)
    vectors = [mean if t is None else t.contiguous() for t in own]
    launch(
        fold_vectors,
        [-(-len(mean) // COLUMNS)],
        [mean, variance, *vectors, scale, shift, bits_of(eps), len(mean)],
        WEIGHT=own[0] is not None,
        BIAS=own[1] is not None,
        BEFORE=own[2] is not None,
        COLUMNS=COLUMNS,
    )
    return scale, shift
