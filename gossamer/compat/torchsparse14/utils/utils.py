"""One int for every axis."""

from collections.abc import Sequence

from torch import Tensor

from gossamer.checks import is_int

__all__ = ["make_ntuple"]


def make_ntuple(x: int | Sequence[int] | Tensor, ndim: int) -> tuple[int, ...]:
    """`x` as a tuple of `ndim`, one int standing for all.

    Raises:
        AssertionError: it is something else, or of another length.
    """
    numbers = x.reshape(-1).tolist() if isinstance(x, Tensor) else x
    if is_int(numbers):
        return (int(numbers),) * ndim  # type: ignore[arg-type]
    assert isinstance(numbers, (list, tuple)) and len(numbers) == ndim, (
        f"got {x!r}; wanted an int, or a list, tuple or tensor of {ndim}"
    )
    return tuple(numbers)
