"""TorchSparse's convolutions once more, with a dictionary of voxels: what results are held against.

Weights are [K, C_in, C_out] by tap: x fastest where K is odd, z where it is even. Stride 1 keeps
the voxels, stride 2 leads to those below (extent - 2) // 2 + 1 along each axis, and a transposed
layer back to where the strided one came from.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from unittest.mock import patch

import torch
from torch import Tensor
from torchsparse import SparseTensor
from torchsparse import nn as spnn
from torchsparse.nn import functional as spf


@contextmanager
def by_dictionary() -> Iterator[list[tuple]]:
    """Inside, layers and `conv3d` are computed here; kernels of 1, 2 and 3, strides of 1 and 2.

    Yields:
        (kernel size, stride, transposed) of each that was.
    """
    computed = []

    def layer(self: spnn.Conv3d, x: SparseTensor) -> SparseTensor:
        assert self.bias is None and self.dilation == 1
        return counted(x, self.kernel, self.kernel_size[0], self.stride[0], self.transposed)

    def function(
        x: SparseTensor, weight: Tensor, kernel_size: int, bias: None = None, **how
    ) -> SparseTensor:
        assert bias is None and how.get("dilation", 1) == 1
        return counted(x, weight, kernel_size, how["stride"], how.get("transposed", False))

    def counted(x: SparseTensor, weight: Tensor, *how) -> SparseTensor:
        computed.append(how)
        return convolved(x, weight, *how)

    with patch.object(spnn.Conv3d, "forward", layer), patch.object(spf, "conv3d", function):
        yield computed


def convolved(
    x: SparseTensor, weight: Tensor, size: int, stride: int, transposed: bool
) -> SparseTensor:
    if size == 1 and stride == 1:
        return _on(x, x.F @ weight, x.C, x.s)
    finer = vars(x._caches).setdefault("finer", {})
    if transposed:
        rows = finer[x.s]
        pairs = [(tap, j, i) for tap, i, j in _pairs(rows, x.C, size, stride)]
        stride_there = tuple(s // stride for s in x.s)
    else:
        rows, stride_there = x.C, tuple(s * stride for s in x.s)
        if stride > 1:
            rows = _coarser(x.C, stride)
            finer[stride_there] = x.C
        pairs = _pairs(x.C, rows, size, stride)
    y = x.F.new_zeros(len(rows), weight.shape[-1])
    for tap in range(size**3):
        own = [(i, j) for t, i, j in pairs if t == tap]
        if own:
            sources, targets = torch.tensor(own).T
            y = y.index_add(0, targets, x.F[sources] @ weight[tap])
    return _on(x, y, rows, stride_there)


def _on(x: SparseTensor, feats: Tensor, rows: Tensor, stride: tuple) -> SparseTensor:
    y = SparseTensor(feats, rows, stride)
    y._caches = x._caches
    return y


def _coarser(rows: Tensor, stride: int) -> Tensor:
    last = ((rows[:, 1:].amax(0) + 1 - stride) // stride).tolist()
    sites = {(b, *(c // stride for c in place)) for b, *place in rows.tolist()}
    kept = [s for s in sites if all(c <= top for c, top in zip(s[1:], last, strict=True))]
    return torch.tensor(sorted(kept), dtype=rows.dtype)


def _pairs(fine: Tensor, coarse: Tensor, size: int, stride: int) -> list[tuple[int, int, int]]:
    """(tap, fine row, coarse row): fine = coarse * stride + tap's place."""
    steps = list(product(range(-((size - 1) // 2), size - (size - 1) // 2), repeat=3))
    steps = [step[::-1] for step in steps] if size % 2 else steps
    there = {tuple(row): number for number, row in enumerate(fine.tolist())}
    return [
        (tap, there[site], number)
        for number, (b, *place) in enumerate(coarse.tolist())
        for tap, step in enumerate(steps)
        if (site := (b, *(c * stride + s for c, s in zip(place, step, strict=True)))) in there
    ]
