"""Whether what a kernel computed is right, against float64 or the plain-PyTorch backend."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from gossamer.ops.dispatch import use_backend
from on_gpu.precisions import SUM, Precision

Compute = Callable[..., Any]


def right(condition: bool, what: str) -> None:
    """Nothing, if `condition` holds.

    Raises:
        AssertionError: it does not; says `what` was wanted.
    """
    if not condition:
        raise AssertionError(f"wanted: {what}")


def close(found: Tensor, wanted: Tensor, sizes: Tensor, precision: Precision, what: str) -> float:
    """The largest error, as a share of what is allowed.

    Args:
        found: what a kernel computed.
        wanted: the same in float64.
        sizes: the same in float64 of absolute values, the scale of the rounding of a sum.
        precision: how products were computed.
        what: for the message.

    Raises:
        AssertionError: an error is larger than is allowed, or a number is none.
    """
    right(found.shape == wanted.shape, f"{what}: shape {tuple(wanted.shape)}")
    if not found.numel():
        return 0.0
    allowed = (SUM + precision.product) * sizes + precision.stored * wanted.abs() + 1e-30
    # Half types have a smallest number, below which a sum is rounded to a multiple of it.
    allowed = allowed + torch.finfo(precision.dtype).smallest_normal * precision.stored * 2
    share = ((found.double() - wanted).abs() / allowed).amax()
    right(bool(share <= 1), f"{what}: errors within bounds, and the worst is {float(share):.3g} of")
    return float(share)


@contextmanager
def garbage() -> Iterator[None]:
    """A block in which memory that nobody wrote holds NaN, or the largest int."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.use_deterministic_algorithms(False)


def same_bits(run: Callable[[], Any], what: str) -> Any:
    """What `run` gives, after it gave the same bits twice, whatever was in fresh memory."""
    first = run()
    with garbage():
        again = run()
    for a, b in zip(_tensors(first), _tensors(again), strict=True):
        right(_bits_equal(a, b), f"{what}: the same bits twice")
    return first


def like_reference(compute: Compute, *inputs: Any, tolerance: float = 1e-5, what: str) -> None:
    """That the preferred backend and plain PyTorch in float64 give the same, and it twice.

    Args:
        compute: takes the inputs, gives tensors.
        inputs: tensors, lists of them, or anything.
        tolerance: of floating results, relative to the largest number of a column.
        what: for the message.
    """
    found = _tensors(same_bits(lambda: compute(*inputs), what))
    with use_backend("reference"):
        wanted = _tensors(compute(*(_widened(each) for each in inputs)))
    for a, b in zip(found, wanted, strict=True):
        right(a.shape == b.shape, f"{what}: shape {tuple(b.shape)}, not {tuple(a.shape)}")
        if not a.is_floating_point():
            right(torch.equal(a, b), f"{what}: equal numbers")
        elif a.numel():
            scale = b.abs().amax().clamp(min=1e-30)
            worst = float((a.double() - b).abs().amax() / scale)
            right(worst <= tolerance, f"{what}: within {tolerance:g}, and {worst:.3g} is not")


def _tensors(values: Any) -> list[Tensor]:
    return [values] if isinstance(values, Tensor) else list(values)


def _widened(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.double() if value.is_floating_point() else value
    if isinstance(value, Sequence) and value and isinstance(value[0], Tensor):
        return [_widened(each) for each in value]
    return value


def _bits_equal(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.is_floating_point():
        # A NaN equals no NaN, but has bits.
        return torch.equal(a.contiguous().view(torch.uint8), b.contiguous().view(torch.uint8))
    return torch.equal(a, b)
