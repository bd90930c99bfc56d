"""What turns a function into an op: a schema, a kernel, a shape rule and a gradient.

This is the only file that talks to torch.library. It uses `define` and `impl` rather than
`custom_op`, which costs four times as much Python a call.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import SymInt

_LIBRARIES: dict[str, torch.library.Library] = {}


def register(
    schema: str,
    *,
    run: Callable,
    shape: Callable,
    save: Callable | None = None,
    grad: Callable | None = None,
    namespace: str = "gossamer",
) -> Callable[..., Any]:
    """Define an op that torch.compile sees as one node.

    Args:
        schema: as torch.library writes it, "scale(Tensor x, float by) -> Tensor".
        run: computes the result. Called eagerly, so it may look at values and choose a backend.
        shape: returns an empty result of the right shape and dtype, without looking at values.
        save: takes (ctx, inputs, output) and keeps what `grad` needs.
        grad: takes (ctx, *output_grads) and returns one gradient, or None, per input. It is
            written in ops that are themselves registered here, so gradients have gradients.
        namespace: where in torch.ops it goes.
    """
    library, name = _library(namespace), schema[: schema.index("(")]
    library.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    library.impl(name, run, "CompositeExplicitAutograd")
    torch.library.register_fake(f"{namespace}::{name}", shape, lib=library)
    if grad is not None:
        torch.library.register_autograd(
            f"{namespace}::{name}", grad, setup_context=save, lib=library
        )
    return getattr(getattr(torch.ops, namespace), name).default


def compose(schema: str, run: Callable, *, namespace: str) -> Callable[..., Any]:
    """Define an op that is written in others: gradients and shapes are theirs.

    Args:
        schema, namespace: as in `register`.
        run: computes the result in ops that torch knows.
    """
    library, name = _library(namespace), schema[: schema.index("(")]
    library.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    library.impl(name, run, "CompositeImplicitAutograd")
    return getattr(getattr(torch.ops, namespace), name).default


def _library(namespace: str) -> torch.library.Library:
    if namespace not in _LIBRARIES:
        _LIBRARIES[namespace] = torch.library.Library(namespace, "DEF")
    return _LIBRARIES[namespace]


def new_size() -> SymInt:
    """A row count that only the data decides, for use inside a shape rule."""
    return torch.library.get_ctx().new_dynamic_size()


def no_gradients(inputs: Sequence) -> list[None]:
    """The gradient of a list of index tensors: none each."""
    return [None] * len(inputs)
