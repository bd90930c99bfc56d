"""Samples put together into a batch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gossamer.compat.torchsparse.tensor import SparseTensor

__all__ = ["sparse_collate", "sparse_collate_fn"]


def sparse_collate(inputs: Sequence[SparseTensor]) -> SparseTensor:
    """One tensor of all samples, whose coords begin with the number of the sample.

    Args:
        inputs: of one stride, with coords [N, 3], features and coords each a tensor or an array.

    Raises:
        ValueError: there are none.
        AssertionError: their strides differ.
    """
    if not inputs:
        raise ValueError("inputs is empty; wanted at least one SparseTensor")
    stride = inputs[0].stride
    coords, feats = [], []
    for number, sample in enumerate(inputs):
        if sample.stride != stride:
            raise AssertionError(
                f"sample {number} has stride {sample.stride} and sample 0 {stride}; wanted one"
            )
        places = torch.as_tensor(sample.coords)
        batch = torch.full((len(places), 1), number, device=places.device, dtype=torch.int32)
        coords.append(torch.cat((batch, places), dim=1))
        feats.append(torch.as_tensor(sample.feats))
    return SparseTensor(coords=torch.cat(coords), feats=torch.cat(feats), stride=stride)


def sparse_collate_fn(inputs: Sequence[Any]) -> Any:
    """A batch, name by name, for a DataLoader.

    Args:
        inputs: one dict a sample. Arrays and tensors are stacked, sparse tensors collated, dicts
            treated alike, and of everything else the batch has a list. What is no dict comes back
            as it is.
    """
    if not isinstance(inputs[0], dict):
        return inputs
    return {name: _together([sample[name] for sample in inputs]) for name in inputs[0]}


def _together(values: list[Any]) -> Any:
    first = values[0]
    if isinstance(first, dict):
        return sparse_collate_fn(values)
    if isinstance(first, SparseTensor):
        return sparse_collate(values)
    if isinstance(first, (np.ndarray, Tensor)):
        return torch.stack([torch.as_tensor(value) for value in values])
    return values
