"""Tensors side by side."""

from collections.abc import Sequence

import torch

from gossamer.compat.torchsparse14.tensor import SparseTensor, joined

__all__ = ["cat"]


def cat(inputs: Sequence[SparseTensor]) -> SparseTensor:
    """The features of several tensors next to each other, on their common rows.

    Args:
        inputs: one or more, with the same coords. The result shares the maps of the first.

    Raises:
        ValueError: there is none, or their coords differ.
    """
    return joined(inputs, lambda *feats: torch.cat(feats, dim=1))
