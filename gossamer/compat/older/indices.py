"""A rulebook as spconv 1.x keeps it under an indice key: a tuple of five."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from gossamer.compat.arrays.layouts import full_lists
from gossamer.compat.rows.placed import Ends
from gossamer.compat.rows.sites import Link

Axes = tuple[int, ...]


@dataclass(frozen=True)
class Made:
    """What a rulebook was made for; two that are equal make equal rulebooks.

    Args:
        subm, transposed: the kind of kernel.
        kernel_size, dilation: D ints each.
        moves: stride, padding and output padding; nothing where they have nothing to say.
    """

    subm: bool
    transposed: bool
    kernel_size: Axes
    dilation: Axes
    moves: tuple[Axes, ...]


class Indices(Sequence):
    """(outids, indices, indice_pairs, indice_pair_num, spatial_shape) of a rulebook.

    outids [M, 1+D] and indices [N, 1+D] int32 are the rows written and read; indice_pairs
    [2, K, N] and indice_pair_num [K] int32, for every tap the rows read and written, -1 past the
    count, and that count; spatial_shape has the D ints of the input. The arrays are made when
    somebody first looks at them.

    Attributes:
        link: the rulebook.
        ends: the rows it links.
        made: what it was made for; None where nobody knows.
    """

    def __init__(self, link: Link, ends: Ends, made: Made | None):
        self.link, self.ends, self.made = link, ends, made

    @cached_property
    def _lists(self) -> tuple[Tensor, Tensor]:
        return full_lists(self.link.triples(), self.link.rulebook.taps, len(self.link.source))

    def __len__(self) -> int:
        return 5

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return tuple(self)[place]
        place = range(5)[place]
        if place in (2, 3):
            return self._lists[place - 2]
        if place == 4:
            return list(self.ends.source.sites.coords.spatial_shape or ())
        return (self.ends.target if place == 0 else self.ends.source).indices

    def __repr__(self) -> str:
        return f"Indices({self.link.rulebook}, {self.made})"
