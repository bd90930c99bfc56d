"""Which row feeds which site through which tap, by trying all of them: nothing of gossamer's."""

from collections.abc import Sequence
from itertools import product

import torch

Ints = Sequence[int]
Pair = tuple[int, int, tuple[int, ...]]


def conv_shape(shape: Ints, size: Ints, stride: Ints, padding: Ints, dilation: Ints) -> list[int]:
    axes = zip(shape, size, stride, padding, dilation, strict=True)
    return [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes]


def deconv_shape(shape: Ints, size: Ints, stride: Ints, padding: Ints, more: Ints) -> list[int]:
    axes = zip(shape, size, stride, padding, more, strict=True)
    return [(n - 1) * s - 2 * p + k + o for n, k, s, p, o in axes]


def regular_pairs(
    indices: torch.Tensor, out: Ints, size: Ints, stride: Ints, padding: Ints, dilation: Ints
) -> set[Pair]:
    """(tap, row, output site): every site o of a grid `out` with `o * s = in + p - tap * d`."""
    pairs = set()
    for row, (batch, *site) in enumerate(indices.tolist()):
        for number, tap in enumerate(product(*map(range, size))):
            axes = zip(site, tap, padding, dilation, stride, out, strict=True)
            found = [((c + p - t * d) / s, n) for c, t, p, d, s, n in axes]
            if all(o == int(o) and 0 <= o < n for o, n in found):
                pairs.add((number, row, (batch, *(int(o) for o, _ in found))))
    return pairs


def transposed_pairs(
    indices: torch.Tensor, out: Ints, size: Ints, stride: Ints, padding: Ints, dilation: Ints
) -> set[Pair]:
    """(tap, row, output site): `o = in * s - p + tap * d` inside a grid `out`."""
    pairs = set()
    for row, (batch, *site) in enumerate(indices.tolist()):
        for number, tap in enumerate(product(*map(range, size))):
            axes = zip(site, tap, padding, dilation, stride, out, strict=True)
            found = [(c * s - p + t * d, n) for c, t, p, d, s, n in axes]
            if all(0 <= o < n for o, n in found):
                pairs.add((number, row, (batch, *(o for o, _ in found))))
    return pairs


def submanifold_pairs(indices: torch.Tensor, offsets: Sequence[Ints]) -> set[tuple[int, int, int]]:
    """(tap, row read, row written), where `read = written + offset`; rows are distinct."""
    rows = {tuple(site): row for row, site in enumerate(indices.tolist())}
    found = set()
    for (batch, *site), row in rows.items():
        for number, offset in enumerate(offsets):
            there = (batch, *(c + o for c, o in zip(site, offset, strict=True)))
            if there in rows:
                found.add((number, rows[there], row))
    return found


def centred(size: Ints, dilation: Ints) -> list[tuple[int, ...]]:
    """The offsets of an odd box around its centre."""
    axes = [[(t - k // 2) * d for t in range(k)] for k, d in zip(size, dilation, strict=True)]
    return list(product(*axes))


def listed(pairs: torch.Tensor, counts: torch.Tensor) -> set[tuple[int, int, int]]:
    """(tap, row read, row written) of lists [2, K, N] that count every tap."""
    return {
        (tap, read, written)
        for tap, count in enumerate(counts.tolist())
        for read, written in zip(*pairs[:, tap, :count].tolist(), strict=True)
    }


def half_listed(pairs: torch.Tensor, counts: torch.Tensor) -> set[tuple[int, int, int]]:
    """As `listed`, where only taps before the centre are counted."""
    centre, rows = len(counts) // 2, pairs.shape[2]
    full = [*counts[:centre].tolist(), rows, *counts[:centre].flip(0).tolist()]
    return listed(pairs, torch.tensor(full))


def random_indices(ndim: int, count: int, shape: Ints, batch: int, seed: int = 0) -> torch.Tensor:
    """[count, 1+D] int32 distinct rows in no order."""
    rng = torch.Generator().manual_seed(seed)
    cells = torch.cartesian_prod(torch.arange(batch), *(torch.arange(n) for n in shape))
    return cells.view(-1, 1 + ndim)[torch.randperm(len(cells), generator=rng)[:count]].int()
