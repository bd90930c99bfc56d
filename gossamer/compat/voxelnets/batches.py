"""Samples put together into a batch."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

Samples = Sequence[Any]


def one_after_another(inputs: Samples) -> tuple[Tensor, Tensor, Tensor, tuple[int, ...]]:
    """The rows of all samples.

    Args:
        inputs: sparse tensors, of one stride, with coords [N, 3], features and coords each a tensor
            or an array.

    Returns:
        coords: [R, 3].
        batch: [R, 1] int32, the number of each row's sample.
        feats: [R, C].
        stride: of all.

    Raises:
        ValueError: there are none.
        AssertionError: their strides differ.
    """
    if not inputs:
        raise ValueError("inputs is empty; wanted at least one SparseTensor")
    stride, coords, batch = inputs[0].stride, [], []
    for number, sample in enumerate(inputs):
        if sample.stride != stride:
            raise AssertionError(
                f"sample {number} has stride {sample.stride} and sample 0 {stride}; wanted one"
            )
        places = torch.as_tensor(sample.coords)
        coords.append(places)
        batch.append(torch.full((len(places), 1), number, device=places.device, dtype=torch.int32))
    feats = [torch.as_tensor(sample.feats) for sample in inputs]
    return torch.cat(coords), torch.cat(batch), torch.cat(feats), stride


def by_name(inputs: Samples, kind: type, collate: Callable[[Samples], Any]) -> Any:
    """A batch, name by name.

    Args:
        inputs: one dict a sample. Arrays and tensors are stacked, dicts treated alike, and of
            everything else the batch has a list. What is no dict comes back as it is.
        kind: what is collated.
        collate: what makes one of several.

    Raises:
        ValueError: there is no sample, or one lacks a name of the first.
    """
    if not inputs:
        raise ValueError("inputs is empty; wanted at least one sample")
    if not isinstance(inputs[0], dict):
        return inputs
    for number, sample in enumerate(inputs):
        if missing := [name for name in inputs[0] if name not in sample]:
            raise ValueError(f"sample {number} has no {missing}, and sample 0 has; wanted both so")
    return {
        name: _together([sample[name] for sample in inputs], kind, collate) for name in inputs[0]
    }


def _together(values: Samples, kind: type, collate: Callable[[Samples], Any]) -> Any:
    first = values[0]
    if isinstance(first, dict):
        return by_name(values, kind, collate)
    if isinstance(first, kind):
        return collate(values)
    if isinstance(first, (np.ndarray, Tensor)):
        return torch.stack([torch.as_tensor(value) for value in values])
    return values
