"""The submanifold kernels of spconv 1.x.

They are centred before they are dilated, may have even sizes, and tap K // 2 reads the row itself,
wherever the others lie. For odd sizes without dilation all that comes to what others do.
"""

from dataclasses import replace
from functools import lru_cache
from itertools import product

import torch

from gossamer.compat.rows.sites import Link
from gossamer.geometry import Geometry
from gossamer.rulebook import Rulebook


@lru_cache(maxsize=1024)
def submanifold(size: tuple[int, ...], dilation: tuple[int, ...]) -> Geometry:
    """The kernel of a submanifold layer, by where its taps lie.

    Args:
        size, dilation: D ints each.
    """
    axes = zip(size, dilation, strict=True)
    offsets = product(*([tap * gap - edge // 2 for tap in range(edge)] for edge, gap in axes))
    return Geometry.of("submanifold", len(size), list(offsets))


def seeing_itself(link: Link, kernel: Geometry) -> Link:
    """`link`, a submanifold rulebook of `kernel`, with each row as its own middle neighbour."""
    centre = len(kernel.taps) // 2
    if not any(kernel.taps[centre]):
        return link
    triples = link.rulebook.triples()
    rows = torch.arange(link.source.sites, device=triples.device)
    own = torch.stack([torch.full_like(rows, centre), rows, rows], dim=1)
    triples = torch.cat([triples[triples[:, 0] != centre], own])
    sites = link.source.sites
    rulebook = Rulebook.of_triples(triples, link.rulebook.taps, sites, sites)
    return replace(link, rulebook=rulebook)
