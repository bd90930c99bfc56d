"""Errors that say which layer of a model they come from."""

import sys
from collections.abc import Callable
from functools import wraps

from torch import nn


def located(forward: Callable) -> Callable:
    """A layer's `forward` whose errors begin with the layer's path in the model that was called."""

    @wraps(forward)
    def named(self: nn.Module, x, *options):
        try:
            return forward(self, x, *options)
        except (ValueError, TypeError, AssertionError) as error:
            path = _path(self)
            if not path:
                raise
            raise type(error)(f"in layer {path} ({type(self).__name__}): {error}") from error

    return named


def _path(layer: nn.Module) -> str:
    """The name of `layer` in the outermost module that is being called; "" where it is that one."""
    root, frame = layer, sys._getframe(1)
    while frame is not None:
        caller = frame.f_locals.get("self")
        root = caller if isinstance(caller, nn.Module) else root
        frame = frame.f_back
    return next((name for name, module in root.named_modules() if module is layer), "")
