"""Clouds of several samples put together, with the number of each sample in column 0."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

DTYPES = (torch.int32, torch.float32)


def batched_coordinates(
    coords: Sequence[Tensor | np.ndarray],
    dtype: torch.dtype = torch.int32,
    device: torch.device | str | None = None,
) -> Tensor:
    """[N, 1+D]: the coordinates of all samples, those of sample b with b in column 0.

    Args:
        coords: a sample each, [N_b, D], of any number type.
        dtype: int32, for which numbers are rounded down, or float32.
        device: of the result. Default: that of the first sample.

    Raises:
        AssertionError: `coords` is not a sequence of matrices with as many columns each, or the
            dtype is another one.
    """
    assert isinstance(coords, Sequence), (
        f"coords is {type(coords).__name__}; wanted a sequence of matrices, one a sample"
    )
    assert len(coords), "coords has no samples; wanted one or more matrices"
    samples = [_tensor(f"coords[{b}]", sample) for b, sample in enumerate(coords)]
    for b, sample in enumerate(samples):
        assert sample.ndim == 2, f"coords[{b}] is {list(sample.shape)}; wanted [N, D]"
    columns = sorted({sample.shape[1] for sample in samples})
    assert len(columns) == 1, f"the samples of coords have {columns} columns; wanted as many in all"
    assert dtype in DTYPES, f"dtype is {dtype}; wanted torch.int32 or torch.float32"
    device = samples[0].device if device is None else device
    return torch.cat([_numbered(b, x, dtype, device) for b, x in enumerate(samples)])


def sparse_collate(
    coords: Sequence[Tensor | np.ndarray],
    feats: Sequence[Tensor | np.ndarray],
    labels: Sequence | None = None,
    dtype: torch.dtype = torch.int32,
    device: torch.device | str | None = None,
) -> tuple:
    """The coordinates, features and labels of all samples.

    Args:
        coords: a sample each, [N_b, D].
        feats: a sample each, [N_b, C].
        labels: a sample each: tensors or arrays, which are put together, or anything else.
        dtype, device: as `batched_coordinates` takes them.

    Returns:
        coordinates: [N, 1+D].
        features: [N, C].
        labels: only if they were given; a list where they are not arrays.

    Raises:
        AssertionError: there are not as many features or labels as coordinates, or what
            `batched_coordinates` raises.
    """
    together = batched_coordinates(coords, dtype, device)
    assert isinstance(feats, Sequence), (
        f"feats is {type(feats).__name__}; wanted a sequence of matrices, one a sample"
    )
    assert len(feats) == len(coords), (
        f"feats has {len(feats)} samples and coords {len(coords)}; wanted as many"
    )
    features = [_tensor(f"feats[{b}]", sample) for b, sample in enumerate(feats)]
    for b, (sample, its) in enumerate(zip(coords, features, strict=True)):
        assert len(sample) == len(its), (
            f"feats[{b}] has {len(its)} rows and coords[{b}] {len(sample)}; wanted as many"
        )
    if labels is None:
        return together, torch.cat(features)
    assert isinstance(labels, Sequence), (
        f"labels is {type(labels).__name__}; wanted a sequence, one entry a sample"
    )
    assert len(labels) == len(coords), (
        f"labels has {len(labels)} samples and coords {len(coords)}; wanted as many"
    )
    return together, torch.cat(features), _together(labels)


def batch_sparse_collate(
    data: Sequence[tuple],
    dtype: torch.dtype = torch.int32,
    device: torch.device | str | None = None,
) -> tuple:
    """`sparse_collate` of samples as a DataLoader has them.

    Args:
        data: a sample each, (coordinates, features) or (coordinates, features, labels).
        dtype, device: as `batched_coordinates` takes them.
    """
    return sparse_collate(*zip(*data, strict=True), dtype=dtype, device=device)


class SparseCollation:
    """A collate function of a DataLoader for samples of (coordinates, features, labels).

    Args:
        limit_numpoints: how many points a batch may have; the samples from the first on that
            exceeds it are left out, with a warning. Default: any number.
        dtype, device: as `batched_coordinates` takes them.
    """

    def __init__(
        self,
        limit_numpoints: int = -1,
        dtype: torch.dtype = torch.int32,
        device: torch.device | str | None = None,
    ):
        self.limit_numpoints = limit_numpoints
        self.dtype = dtype
        self.device = device

    def __call__(self, list_data: Sequence[tuple]) -> tuple:
        """What `sparse_collate` returns.

        Raises:
            ValueError: the first sample alone exceeds the limit.
        """
        ends = np.cumsum([len(sample[0]) for sample in list_data])
        limit = self.limit_numpoints
        fit = int((ends <= limit).sum()) if limit and limit > 0 else len(list_data)
        if fit < len(list_data):
            if not fit:
                raise ValueError(
                    f"the first sample of the batch has {ends[0]} points and limit_numpoints is "
                    f"{limit}; wanted a limit that a sample fits, or smaller samples"
                )
            logging.getLogger(__name__).warning(
                "the %d samples of a batch have %d points and limit_numpoints is %d; the first %d "
                "samples with %d points are kept",
                *(len(list_data), ends[-1], limit, fit, ends[fit - 1]),
            )
        return batch_sparse_collate(list_data[:fit], self.dtype, self.device)


def _tensor(name: str, array: Any) -> Tensor:
    array = torch.from_numpy(array) if isinstance(array, np.ndarray) else array
    assert isinstance(array, Tensor), (
        f"{name} is {type(array).__name__}; wanted a tensor or a NumPy array"
    )
    return array


def _numbered(number: int, rows: Tensor, dtype: torch.dtype, device: Any) -> Tensor:
    """[N, 1+D]: the rows with the number of their sample before them."""
    if dtype == torch.int32 and rows.is_floating_point():
        rows = rows.floor()
    rows = rows.to(device, dtype)
    return torch.cat([rows.new_full((len(rows), 1), number), rows], dim=1)


def _together(labels: Sequence) -> Any:
    tensors = [torch.from_numpy(x) if isinstance(x, np.ndarray) else x for x in labels]
    if not all(isinstance(x, Tensor) for x in tensors):
        return tensors
    return torch.stack(tensors) if tensors[0].ndim == 0 else torch.cat(tensors)
