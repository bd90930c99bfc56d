"""What torch.compile leaves out of its graphs."""

from collections.abc import Callable
from typing import Any

import torch


def outside_graphs(function: Callable[..., Any], *arguments: Any) -> Any:
    """`function(*arguments)`; a graph that is being compiled ends before it and begins after.

    What a facade's layer does follows from what was written into its tensors; what lies between
    layers compiles.
    """
    # Asked here and not by a decorator, which would load the compiler with the library, and take
    # longer at each call than a small layer's rulebook.
    if torch.compiler.is_compiling():
        return torch.compiler.disable(function)(*arguments)
    return function(*arguments)
