"""Sites in a dictionary and the windows over them: what promises of other libraries are held to."""

from collections.abc import Iterable
from itertools import product

import torch
from torch import Tensor

Site = tuple[int, ...]
Sites = dict[Site, Tensor]


def sites(coordinates: Tensor, features: Tensor) -> Sites:
    """Each row's features by its coordinate; no coordinate may be there twice."""
    found = {tuple(row): f for row, f in zip(coordinates.tolist(), features, strict=True)}
    assert len(found) == len(coordinates)
    return found


def box(size: int, ndim: int, step: int = 1) -> list[Site]:
    """A cube's offsets, around 0 for an odd size and from 0 on for an even one, axis 0 fastest."""
    first = -(size // 2) if size % 2 else 0
    steps = [step * (first + i) for i in range(size)]
    return [offset[::-1] for offset in product(steps, repeat=ndim)]


def moved(site: Site, offset: Site, sign: int = 1) -> Site:
    """`site`, whose batch index comes first, by `offset`."""
    batch, *place = site
    return (batch, *(p + sign * o for p, o in zip(place, offset, strict=True)))


def rounded(site: Site, stride: int) -> Site:
    """`site` down to multiples of `stride`."""
    return (site[0], *(p // stride * stride for p in site[1:]))


def seen(source: Sites, target: Site, offsets: list[Site]) -> list[Tensor]:
    """The features of `source` in the window of `target`."""
    window = [moved(target, offset) for offset in offsets]
    return [source[site] for site in window if site in source]


def convolved(source: Sites, targets: Iterable[Site], offsets: list[Site], kernel: Tensor) -> Sites:
    """The sum over a window at each of `targets`; kernel: [K, C_in, C_out], K as `offsets`."""
    nothing = kernel.new_zeros(kernel.shape[2])
    kernel = kernel.detach()
    return {
        target: sum(
            (
                source[moved(target, offset)] @ weight
                for offset, weight in zip(offsets, kernel, strict=True)
                if moved(target, offset) in source
            ),
            nothing,
        )
        for target in targets
    }


def spread(source: Sites, targets: Iterable[Site], offsets: list[Site], kernel: Tensor) -> Sites:
    """The transpose: every site sends its features through each tap to site + offset."""
    return convolved(source, targets, [tuple(-o for o in offset) for offset in offsets], kernel)


def assert_same(found: Sites, wanted: Sites) -> None:
    """The same sites, and at each the same features to rounding."""
    assert found.keys() == wanted.keys()
    for site, features in wanted.items():
        torch.testing.assert_close(found[site], features, rtol=1e-4, atol=1e-5)
