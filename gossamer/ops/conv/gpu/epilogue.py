"""The last steps of an output row, inside the kernel that summed it."""

from dataclasses import dataclass
from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from gossamer.ops.conv import Epilogue


@triton.jit
def finish(
    sums,
    y,
    row,
    column,
    scale,
    shift,
    residual,
    slope,
    end,
    WIDTH: tl.constexpr,
    EVEN: tl.constexpr,
    SCALE: tl.constexpr,
    SHIFT: tl.constexpr,
    RESIDUAL: tl.constexpr,
    ACTIVATION: tl.constexpr,
):
    """Store activation(sums * scale + shift + residual) at the rows that are not -1.

    Args:
        sums: [rows, columns] float32.
        y, residual: [M, WIDTH].
        row: [rows], of y.
        column: [columns], of y; those from `end` on are left alone, unless EVEN says that
            there are none.
    """
    here = row[:, None] >= 0
    if not EVEN:
        here = here & (column < end)[None, :]
    place = row[:, None].to(tl.int64) * WIDTH + column[None, :]
    if SCALE:
        factor = tl.load(scale + column, mask=column < end, other=0.0)
        sums = sums * factor.to(tl.float32)[None, :]
    if SHIFT:
        added = tl.load(shift + column, mask=column < end, other=0.0)
        sums = sums + added.to(tl.float32)[None, :]
    if RESIDUAL:
        sums = sums + tl.load(residual + place, mask=here, other=0.0).to(tl.float32)
    # A comparison and no maximum, which loses a NaN; and no product with 0, which makes one.
    if ACTIVATION == "relu":
        sums = tl.where(sums < 0, 0.0, sums)
    if ACTIVATION == "leaky_relu":
        sums = tl.where(sums < 0, sums * slope, sums)
    tl.store(y + place, sums.to(y.dtype.element_ty), mask=here)


@dataclass(frozen=True, eq=False)
class LastSteps:
    """An epilogue as a kernel takes it.

    Args:
        arguments: scale, shift, residual, slope; y stands for what there is not.
        constants: which of them there are.
    """

    arguments: tuple[Tensor | float, ...]
    constants: dict[str, Any]


def last_steps(epilogue: Epilogue, y: Tensor) -> LastSteps:
    """The arguments and constants of `finish` for `epilogue`."""
    given = {"SCALE": epilogue.scale, "SHIFT": epilogue.shift, "RESIDUAL": epilogue.residual}
    tensors = [y if tensor is None else tensor.contiguous() for tensor in given.values()]
    present = {name: tensor is not None for name, tensor in given.items()}
    return LastSteps(
        (*tensors, float(epilogue.below_zero)), {**present, "ACTIVATION": epilogue.activation}
    )
