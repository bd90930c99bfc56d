"""Random sparse tensors for tests: any dimension, batches with holes, odd corners of the grid."""

import itertools
import random
from collections.abc import Iterator

import torch
from hypothesis import strategies as st

from gossamer import SparseTensor

SIDES = {1: 23, 2: 8, 3: 5, 4: 4}


def scene(
    ndim: int = 3,
    sites: int | None = None,
    channels: int = 4,
    *,
    side: int | None = None,
    batch: int = 3,
    bounded: bool = True,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> SparseTensor:
    """Sites drawn from a grid of `side` cells an axis, rows in no order, sample 1 of 3 empty.

    Args:
        ndim: D.
        sites: N. Default: a third of the grid.
        channels: C.
        side: cells an axis. Default: few, so that neighbours are common.
        batch: B. Where it is 3 or more, sample 1 has no site.
        bounded: whether the tensor has a spatial_shape; without one, half the coordinates are
            negative.
        dtype: of the features, drawn from the normal distribution.
        seed: of everything random.
    """
    rng = torch.Generator().manual_seed(seed)
    side = side or SIDES[ndim]
    samples = [b for b in range(batch) if batch < 3 or b != 1]
    cells = torch.cartesian_prod(torch.tensor(samples), *[torch.arange(side)] * ndim)
    count = len(cells) // 3 if sites is None else sites
    coords = cells[torch.randperm(len(cells), generator=rng)[:count]]
    if not bounded:
        coords[:, 1:] -= side // 2
    features = torch.randn(count, channels, generator=rng, dtype=torch.float64).to(dtype)
    return SparseTensor(features, coords.int(), (side,) * ndim if bounded else None, batch)


@st.composite
def scenes(draw, ndims=(1, 2, 3, 4), channels: int = 2) -> SparseTensor:
    """Any small scene: no site, one site, far off, negative, unbounded, of int32 or int64."""
    ndim = draw(st.sampled_from(ndims))
    batch = draw(st.integers(1, 3))
    shape = tuple(draw(st.integers(1, 6)) for _ in range(ndim))
    row = st.tuples(st.integers(0, batch - 1), *(st.integers(0, n - 1) for n in shape))
    rows = draw(st.lists(row, max_size=24, unique=True))
    coords = torch.tensor(rows, dtype=draw(st.sampled_from([torch.int32, torch.int64])))
    coords = coords.view(-1, 1 + ndim)
    bounded = draw(st.booleans())
    if not bounded:
        coords[:, 1:] += draw(st.sampled_from([-100_000, -3, 0, 7]))
    rng = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    features = torch.randn(len(rows), channels, generator=rng, dtype=torch.float64)
    return SparseTensor(features, coords, shape if bounded else None, batch)


def covering(strength: int = 2, /, **factors: list) -> list[dict]:
    """Few cases in which every combination of any `strength` factors' values comes at least once.

    Args:
        strength: 2 for pairs of factors, 3 for triples.
        factors: the values of each.
    """
    names = list(factors)
    missing = {
        (group, values)
        for group in itertools.combinations(range(len(names)), strength)
        for values in itertools.product(*(range(len(factors[names[i]])) for i in group))
    }
    dice = random.Random(0)
    cases = []
    while missing:
        group, values = min(missing)
        best: tuple[int, tuple[int, ...]] = (0, ())
        for _ in range(20):
            trial = [dice.randrange(len(factors[name])) for name in names]
            for place, value in zip(group, values, strict=True):
                trial[place] = value
            met = sum(part in missing for part in _parts(tuple(trial), strength))
            best = max(best, (met, tuple(trial)))
        missing.difference_update(_parts(best[1], strength))
        cases.append({name: factors[name][i] for name, i in zip(names, best[1], strict=True)})
    return cases


def _parts(case: tuple[int, ...], strength: int) -> Iterator[tuple]:
    for group in itertools.combinations(range(len(case)), strength):
        yield group, tuple(case[i] for i in group)
