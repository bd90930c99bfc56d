"""What mmcv-lite lacks: the compiled module that `mmcv.ops` is made over.

Every name is there, so that mmcv and mmdet3d import; the few functions that the networks here call
besides sparse convolution are written in torch, and the others say what they are when called.
"""

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import torch
from torch import Tensor

NAME = "mmcv._ext"


class Stand(ModuleType):
    """A module that has every name."""

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)

        def absent(*args, **kwargs):
            raise NotImplementedError(f"{NAME}.{name} is compiled, and mmcv-lite comes without it")

        return absent


def install() -> None:
    """Let `import mmcv.ops` work."""
    module = Stand(NAME)
    module.__spec__ = ModuleSpec(NAME, None)
    for function in (three_nn_forward, three_interpolate_forward, three_interpolate_backward):
        setattr(module, function.__name__, function)
    sys.modules[NAME] = module


def three_nn_forward(query: Tensor, points: Tensor, squares: Tensor, nearest: Tensor, **sizes):
    """Write each query's three nearest points, [B, Q, 3], and the squares of their distances."""
    exact = "donot_use_mm_for_euclid_dist"
    apart = torch.cdist(query, points.to(query.dtype), compute_mode=exact)
    found = apart.square().topk(3, largest=False)
    squares.copy_(found.values)
    nearest.copy_(found.indices)


def three_interpolate_forward(
    points: Tensor, nearest: Tensor, weight: Tensor, out: Tensor, **sizes
):
    """Write the weighted sum of three columns of `points` [B, C, M], as [B, C, Q]."""
    for one, rows, shares, into in zip(points, nearest.long(), weight, out, strict=True):
        into.copy_((one[:, rows] * shares).sum(dim=2))


def three_interpolate_backward(grad: Tensor, nearest: Tensor, weight: Tensor, out: Tensor, **sizes):
    """Add to `out` [B, C, M] the gradient that [B, C, Q] sends back."""
    for one, rows, shares, into in zip(grad, nearest.long(), weight, out, strict=True):
        spread = one[:, :, None] * shares
        into.index_add_(1, rows.flatten(), spread.flatten(1).to(into.dtype))
