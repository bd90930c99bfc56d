"""Networks for inference: every chain in as few passes as it allows."""

from copy import deepcopy

from torch import nn

from gossamer.nn.sequential import SparseSequential


def fuse(model: nn.Module) -> nn.Module:
    """A copy of `model` for inference, in eval mode and without gradients, that computes the same.

    Every plain nn.Sequential in it becomes a SparseSequential, in which a convolution takes over
    the BatchNorm behind it, the sum of a Residual, and the ReLU or LeakyReLU behind that. Names and
    parameters are those of `model`, which stays as it is.
    """
    copy = deepcopy(model).eval().requires_grad_(False)
    for module in copy.modules():
        if type(module) is nn.Sequential:
            # In place, so that its hooks and whoever else holds it stay.
            module.__class__ = SparseSequential
    return copy
