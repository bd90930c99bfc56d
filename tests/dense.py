"""What sparse layers are checked against: dense convolution by torch, and by slices for 4 axes.

Nothing here uses gossamer's kernels, keys or rulebooks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

Ints = Sequence[int]


@dataclass(frozen=True)
class Kernel:
    """K taps, and what moves them: `fine = coarse * stride - padding + tap * dilation`."""

    taps: tuple[tuple[int, ...], ...]
    stride: Ints
    padding: Ints
    dilation: Ints
    groups: int = 1

    @property
    def lower(self) -> list[int]:
        return [min(axis) for axis in zip(*self.taps, strict=True)]

    @property
    def size(self) -> list[int]:
        return [1 + max(axis) - min(axis) for axis in zip(*self.taps, strict=True)]

    @property
    def before(self) -> list[int]:
        """How many cells the kernel's box reaches before cell 0."""
        axes = zip(self.padding, self.lower, self.dilation, strict=True)
        return [p - low * d for p, low, d in axes]

    @property
    def span(self) -> list[int]:
        """How many cells the kernel's box covers."""
        return [(k - 1) * d + 1 for k, d in zip(self.size, self.dilation, strict=True)]

    def box(self, weight: Tensor) -> Tensor:
        """[K, I, O] in its bounding box, [I, O, *size], zero where there is no tap."""
        out = weight.new_zeros(*self.size, *weight.shape[1:])
        for tap, matrix in zip(self.taps, weight, strict=True):
            out[tuple(t - low for t, low in zip(tap, self.lower, strict=True))] = matrix
        return out.permute(-2, -1, *range(len(self.size)))


def box_taps(size: Ints, centred: bool = False) -> tuple[tuple[int, ...], ...]:
    """A box, row-major, the last axis fastest; its corner at 0, or its centre."""
    return tuple(product(*(range(-(k // 2) * centred, k - (k // 2) * centred) for k in size)))


def cross_taps(size: Ints, centred: bool = False) -> tuple[tuple[int, ...], ...]:
    """The taps of a box on the axes through its centre."""
    centre = [0 if centred else k // 2 for k in size]
    return tuple(
        tap
        for tap in box_taps(size, centred)
        if sum(a != c for a, c in zip(tap, centre, strict=True)) < 2
    )


def downward(x: Tensor, weight: Tensor, kernel: Kernel, shape: Ints) -> Tensor:
    """[B, O, *shape]: the sum over taps of x[o * stride - padding + tap * dilation] @ weight[tap].

    Args:
        x: [B, I, *S].
        weight: [K, I/groups, O].
        kernel: the taps.
        shape: which outputs are wanted, from 0.
    """
    pads: list[int] = []
    rows = zip(x.shape[2:], shape, kernel.stride, kernel.before, kernel.span, strict=True)
    for n, m, s, before, span in rows:
        pads = [before, (m - 1) * s + span - n - before, *pads]  # torch pads the last axis first
    filters = kernel.box(weight).transpose(0, 1)
    return _conv(functional.pad(x, pads), filters, kernel)


def upward(x: Tensor, weight: Tensor, kernel: Kernel, shape: Ints) -> Tensor:
    """[B, O, *shape]: where `downward` reads, this adds x[i] @ weight[tap] to."""
    split = weight.unflatten(2, (kernel.groups, -1))  # [K, I/G, G, O/G]
    filters = kernel.box(split.permute(0, 2, 1, 3).flatten(1, 2))  # [I, O/G, *size]
    full = _conv_transpose(x, filters, kernel)
    pads: list[int] = []
    for n, m, before in zip(full.shape[2:], shape, kernel.before, strict=True):
        pads = [-before, m - n + before, *pads]
    return functional.pad(full, pads)


def _conv(x: Tensor, filters: Tensor, kernel: Kernel) -> Tensor:
    options = {"groups": kernel.groups}
    if x.ndim < 6:
        conv = (functional.conv1d, functional.conv2d, functional.conv3d)[x.ndim - 3]
        return conv(x, filters, None, kernel.stride, 0, kernel.dilation, **options)
    (s, *stride), (d, *dilation) = kernel.stride, kernel.dilation
    slices = range(0, x.shape[2] - (filters.shape[2] - 1) * d, s)
    return torch.stack(
        [
            sum(
                functional.conv3d(
                    x[:, :, first + t * d], filters[:, :, t], None, stride, 0, dilation, **options
                )
                for t in range(filters.shape[2])
            )
            for first in slices
        ],
        dim=2,
    )


def _conv_transpose(x: Tensor, filters: Tensor, kernel: Kernel) -> Tensor:
    (s, *stride), (d, *dilation) = kernel.stride, kernel.dilation
    if x.ndim < 6:
        names = ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
        conv = getattr(functional, names[x.ndim - 3])
        return conv(x, filters, None, kernel.stride, 0, 0, kernel.groups, kernel.dilation)
    layers: dict[int, Tensor] = {}
    for i, t in product(range(x.shape[2]), range(filters.shape[2])):
        part = functional.conv_transpose3d(
            x[:, :, i], filters[:, :, t], None, stride, 0, 0, kernel.groups, dilation
        )
        layers[i * s + t * d] = layers.get(i * s + t * d, 0) + part
    blank = torch.zeros_like(layers[0])
    return torch.stack([layers.get(o, blank) for o in range(max(layers) + 1)], dim=2)


def scattered(features: Tensor, coords: Tensor, batch: int, shape: Ints) -> Tensor:
    """[B, C, *shape]: features at coords, zero elsewhere; keeps the graph of gradients."""
    grid = features.new_zeros(batch, *shape, features.shape[1])
    return grid.index_put(tuple(coords.long().unbind(1)), features).movedim(-1, 1)


def gathered(grid: Tensor, coords: Tensor) -> Tensor:
    """[N, C]: the grid [B, C, *shape] at coords."""
    return grid.movedim(1, -1)[tuple(coords.long().unbind(1))]
