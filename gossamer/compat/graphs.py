"""What torch.compile leaves out of its graphs."""

from collections.abc import Callable
from typing import Any

import torch


def outside_graphs(function: Callable[..., Any], *arguments: Any) -> Any:
    """`function(*arguments)`; a graph that is being compiled ends before it and begins after.

    What a facade's layer does follows from what was written into its tensors; what lies between
    layers compiles.
    """
    # Asked here, because torch's own way of saying so takes longer than a small layer's rulebook.
    if torch.compiler.is_compiling():
        return _apart(function, *arguments)
    return function(*arguments)


@torch.compiler.disable()
def _apart(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)
