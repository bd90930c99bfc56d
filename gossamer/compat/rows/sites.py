"""A caller's rows, in any order and with repeats, and the sites they lie on.

Other libraries let rows come in any order and keep that order; here sites are sorted and unique.
Everything a facade computes, it computes on sites, and hands back on rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gossamer.coords import Coords
from gossamer.errors import KeyRangeError
from gossamer.geometry import Geometry
from gossamer.nn.product import multiply
from gossamer.ops.conv import Epilogue
from gossamer.ops.keys import survey
from gossamer.ops.rows import permute
from gossamer.rulebook import Rulebook


@dataclass(frozen=True, eq=False)
class Rows:
    """How R rows lie on N sites.

    Args:
        sites: N.
        site: [R] int64, the site of each row; None where row i is site i.
        order: [R] int64, the rows sorted by site, those of one site as they came; or None.
    """

    sites: int
    site: Tensor | None = None
    order: Tensor | None = None

    def __len__(self) -> int:
        """R."""
        return self.sites if self.site is None else self.site.shape[0]

    @property
    def repeat(self) -> bool:
        """Whether some site has several rows."""
        return len(self) != self.sites

    def first(self) -> Tensor:
        """[N] int64: the first row of each site."""
        assert self.site is not None and self.order is not None
        sorted_sites = self.site[self.order]
        numbers = torch.arange(self.sites, device=self.site.device)
        return self.order[torch.searchsorted(sorted_sites, numbers)]

    def last(self) -> Tensor:
        """[N] int64: the last row of each site."""
        assert self.site is not None and self.order is not None
        sorted_sites = self.site[self.order]
        numbers = torch.arange(self.sites, device=self.site.device)
        return self.order[torch.searchsorted(sorted_sites, numbers, right=True) - 1]

    def later(self) -> Tensor:
        """[R - N] int64: the rows that are not the first of their site."""
        assert self.site is not None
        mask = torch.ones_like(self.site, dtype=torch.bool)
        mask[self.first()] = False
        return mask.nonzero().squeeze(1)

    def check(self, features: Tensor) -> None:
        """Refuse features of another number of rows.

        Raises:
            ValueError: features has not R rows.
        """
        if features.shape[0] != len(self):
            raise ValueError(
                f"features has {features.shape[0]} rows and indices {len(self)}; wanted one row a "
                "site in both"
            )

    def onto(self, features: Tensor, how: str) -> Tensor:
        """[N, C]: the features of rows [R, C] on sites.

        Args:
            features: [R, C].
            how: what a site makes of several rows: "first", "last", "sum" or "max".

        Raises:
            ValueError: features has not R rows.
        """
        self.check(features)
        if self.site is None:
            return features
        if not self.repeat:
            return permute(features, self.site)
        if how in ("first", "last"):
            return features[self.first() if how == "first" else self.last()]
        return self._gathering().reduce(features, how)

    def back(self, values: Tensor) -> Tensor:
        """[R, C]: the values of sites [N, C] on every row."""
        if self.site is None or self.order is None:
            return values
        if not self.repeat:
            return permute(values, self.order)
        return self._gathering().T.reduce(values, "sum")  # one pair a row, so a copy

    def _gathering(self) -> Rulebook:
        assert self.site is not None and self.order is not None
        return Rulebook.sending(self.order, self.site[self.order], self.sites, len(self))


@dataclass(frozen=True, eq=False)
class Sites:
    """The rows of an indices tensor, and the coordinates they lie on."""

    coords: Coords
    rows: Rows

    @classmethod
    def of(cls, indices: Tensor, spatial_shape: Sequence[int] | None, batch_size: int) -> "Sites":
        """The sites of `indices` [R, 1+D], which may repeat and come in any order.

        Raises:
            ValueError: a coordinate or batch index is out of range.
        """
        try:
            coords, site, order = Coords.under(indices, spatial_shape, batch_size)
        except KeyRangeError:
            raise
        except ValueError as error:
            # The message is written for those who say coords, and may leave spatial_shape out.
            low, high, _ = survey(indices).tolist()
            raise ValueError(
                f"indices reach from {low} to {high} (batch, axes), and spatial_shape is "
                f"{list(spatial_shape or ())} in {batch_size} samples; wanted rows inside the grid "
                "from 0 on; drop the others, or enlarge the grid or batch_size"
            ) from error
        if coords.rows.data_ptr() == indices.data_ptr():
            # The caller may write into what is his, and rulebooks are built from this later.
            coords = replace(coords, rows=coords.rows.clone())
        return cls(coords, Rows(len(coords), site, order))

    def led_to(self, geometry: Geometry, bound: tuple[int, ...] | None = None) -> "Sites":
        """The sites that `geometry` leads to, sorted; arguments as in `Coords.output`."""
        if geometry.kind == "submanifold":
            return self
        coords = self.coords.output(geometry, bound)
        return Sites(coords, Rows(len(coords)))

    def indices(self) -> Tensor:
        """[R, 1+D] int32: a tensor of its own with what the rows were made of."""
        rows, site = self.coords.rows, self.rows.site
        return rows.clone() if site is None else rows.index_select(0, site)

    def same(self, other: "Sites") -> bool:
        """Whether both are the same rows in the same order."""
        if self is other:
            return True
        mine, its = self.coords, other.coords
        # Strides are not compared: a tensor that a caller makes does not know the edge of a voxel.
        if mine.batch_size != its.batch_size or not torch.equal(mine.rows, its.rows):
            return False
        if self.rows.site is None or other.rows.site is None:
            return self.rows.site is other.rows.site
        return torch.equal(self.rows.site, other.rows.site)


@dataclass(frozen=True, eq=False)
class Link:
    """A rulebook between the rows of two callers' tensors.

    Args:
        source: the rows that are read.
        target: the rows that are written; `source` itself for a submanifold kernel.
        rulebook: between the sites of both.
        submanifold: whether each row sees itself at the centre, and of its neighbours the first
            row of a site.
    """

    source: Rows
    target: Rows
    rulebook: Rulebook
    submanifold: bool = False

    @property
    def T(self) -> "Link":
        """This link read backwards."""
        return replace(self, source=self.target, target=self.source, rulebook=self.rulebook.T)

    @property
    def centre(self) -> int:
        """The middle one of the K taps."""
        return self.rulebook.taps // 2

    def convolve(
        self,
        features: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        groups: int = 1,
        then: Epilogue | None = None,
    ) -> Tensor:
        """[M, C_out] on the sites of `target`, from [N, C_in] on those of `source`.

        Args:
            features: what `source.onto` made of the caller's features.
            weight: [K, C_in/groups, C_out].
            bias, groups, then: as `gossamer.nn.product.multiply` has them.
        """
        return multiply(features, self.rulebook, weight, bias, groups, then)

    def seen_alone(
        self, features: Tensor, weight: Tensor, groups: int = 1
    ) -> tuple[Tensor, Tensor]:
        """What rows that are not the first of their site add to what the first one gets.

        Such a row sees itself at the centre of a submanifold kernel, where its site has the
        features of the first row.

        Args:
            features: [R, C_in], on rows.
            weight: [K, C_in/groups, C_out].

        Returns:
            rows: [L] int64, those rows.
            more: [L, C_out].
        """
        later = self.source.later()
        assert self.source.site is not None
        first = self.source.first()[self.source.site[later]]
        own = features[later] - features[first]
        numbers = torch.arange(len(later), device=later.device)
        alone = Rulebook.sending(numbers, numbers, len(later), len(later))
        centre = weight[self.centre : self.centre + 1]
        return later, multiply(own, alone, centre, None, groups)

    def triples(self) -> Tensor:
        """[P, 3] int64: every pair as (tap, source row, target row), by tap, then target row."""
        triples = self.rulebook.triples()
        if self.submanifold and self.source.repeat:
            triples = self._own_centre(triples)
        else:
            triples = _on_rows(triples, 1, self.source)
            triples = _on_rows(triples, 2, self.target)
        return triples[
            (triples[:, 0] * max(1, len(self.target)) + triples[:, 2]).argsort(stable=True)
        ]

    def _own_centre(self, triples: Tensor) -> Tensor:
        around = triples[triples[:, 0] != self.centre].clone()
        around[:, 1] = self.source.first()[around[:, 1]]
        rows = torch.arange(len(self.target), device=triples.device)
        own = torch.stack([torch.full_like(rows, self.centre), rows, rows], dim=1)
        return torch.cat([own, _on_rows(around, 2, self.target)])


def _on_rows(triples: Tensor, column: int, rows: Rows) -> Tensor:
    """The triples with, in place of a site, each of its rows."""
    if rows.site is None or rows.order is None:
        return triples
    count = torch.bincount(rows.site, minlength=rows.sites)
    start = count.cumsum(0) - count
    site = triples[:, column]
    times = count[site]
    spread = triples.repeat_interleave(times, dim=0)
    begin = (times.cumsum(0) - times).repeat_interleave(times)
    place = torch.arange(len(spread), device=spread.device) - begin
    spread[:, column] = rows.order[start[site].repeat_interleave(times) + place]
    return spread
