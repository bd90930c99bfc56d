"""Samples put together into a batch."""

from collections.abc import Sequence
from typing import Any

import torch

from gossamer.compat.torchsparse.tensor import SparseTensor
from gossamer.compat.voxelnets.batches import by_name, one_after_another

__all__ = ["sparse_collate", "sparse_collate_fn"]


def sparse_collate(inputs: Sequence[SparseTensor]) -> SparseTensor:
    """One tensor of all samples, whose coords begin with the number of the sample.

    Args:
        inputs: of one stride, with coords [N, 3], features and coords each a tensor or an array.

    Raises:
        ValueError: there are none.
        AssertionError: their strides differ.
    """
    coords, batch, feats, stride = one_after_another(inputs)
    return SparseTensor(feats, torch.cat((batch, coords), dim=1), stride)


def sparse_collate_fn(inputs: Sequence[Any]) -> Any:
    """A batch, name by name, for a DataLoader.

    Args:
        inputs: one dict a sample. Arrays and tensors are stacked, sparse tensors collated, dicts
            treated alike, and of everything else the batch has a list. What is no dict comes back
            as it is.

    Raises:
        ValueError: there is no sample, or one lacks a name of the first.
    """
    return by_name(inputs, SparseTensor, sparse_collate)
