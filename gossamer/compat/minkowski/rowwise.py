"""What row-wise layers and functions share."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from torch import Tensor as Dense
from torch import nn

from gossamer import checks
from gossamer.compat.layers.passing import mapped
from gossamer.compat.minkowski.MinkowskiTensor import Tensor
from gossamer.compat.rows.values import Values
from gossamer.nn import located as positional


def values_of(input: Any, channels: int | None = None) -> Values:
    """The features of a tensor or field, in whatever order they lie.

    Args:
        input: a SparseTensor or TensorField.
        channels: how many it should have. Default: any number.

    Raises:
        TypeError: it is something else.
        ValueError: it has another number of channels.
    """
    if not isinstance(input, Tensor):
        raise TypeError(f"input is {type(input).__name__}; wanted a SparseTensor or a TensorField")
    if channels is not None:
        checks.channels("the input", input.shape[1], channels)
    return input._values


def replaced(input: Any, values: Values) -> Any:
    """`input` with other features.

    Raises:
        ValueError: there are not as many as rows.
    """
    rows, count = len(input), len(values.at_hand)
    if count != rows:
        raise ValueError(f"there are features of {count} rows; the input has {rows}")
    return input._with(values)


def on_rows(
    input: Any, function: nn.Module | Callable[[Dense], Dense], channels: int | None = None
) -> Any:
    """`input` with what `function` makes of its features; `channels` as in `values_of`."""
    return replaced(input, mapped(values_of(input, channels), function))


def located(forward: Callable) -> Callable:
    """As `gossamer.nn.located` has it, for layers whose callers may name the arguments."""
    inner = positional.located(lambda self, given, named: forward(self, *given, **named))

    @wraps(forward)
    def by_name(self: nn.Module, *given: Any, **named: Any) -> Any:
        return inner(self, given, named)

    return by_name
