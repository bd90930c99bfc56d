"""Sizes of a kernel, one or one an axis, under the name that a caller knows them by."""

from collections.abc import Sequence

import numpy as np

from gossamer.checks import whole


def sizes(name: str, ndim: int, value: int | Sequence[int] | np.ndarray) -> list[int]:
    """`value` as a list of `ndim` ints, one int standing for all.

    Raises:
        AssertionError: another number of ints.
        TypeError: a number is not whole.
    """
    single = isinstance(value, (int, float, np.number)) or getattr(value, "ndim", 1) == 0
    values = [value] * ndim if single else list(value)  # type: ignore[arg-type]
    assert len(values) == ndim, (
        f"{name} is {value!r}; wanted one int or {ndim} of them, one an axis"
    )
    return [whole(name, v) for v in values]
