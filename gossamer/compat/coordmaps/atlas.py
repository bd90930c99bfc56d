"""All maps of a manager by name, what was made from what, and the links built between them."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gossamer.compat.coordmaps import fields, linking, making
from gossamer.compat.coordmaps.fields import Field
from gossamer.compat.coordmaps.key import Name
from gossamer.compat.coordmaps.maps import CoordinateMap, given
from gossamer.compat.coordmaps.regions import Kernel
from gossamer.compat.rows.sites import Link, Rows
from gossamer.coords import Axes
from gossamer.rulebook import Rulebook, to_be_kept


class Atlas:
    """Maps and fields under names.

    Args:
        ndim: D.

    Attributes:
        maps, fields: by name.
        inserted: for a field and a map made from it, the first point of each row and the row of
            each point.
    """

    def __init__(self, ndim: int):
        self.ndim = ndim
        self.maps: dict[Name, CoordinateMap] = {}
        self.fields: dict[Name, Field] = {}
        self.inserted: dict[tuple[Name, Name], tuple[Tensor, Tensor]] = {}
        self._parents: dict[Name, Name] = {}
        self._strided: dict[tuple, Name] = {}
        self._links: dict[tuple, Link] = {}
        self._origin: Name | None = None
        self._batches: dict[Name, Tensor] = {}
        self._count = 0

    def __getstate__(self) -> dict:
        """Everything but the links, which cost less to build than to send."""
        return {**self.__dict__, "_links": {}}

    def to(self, device: torch.device) -> "Atlas":
        """The same on another device, under the same names."""
        new = Atlas(self.ndim)
        new.__dict__.update(self.__dict__, _links={})
        new.maps = {name: found.to(device) for name, found in self.maps.items()}
        new.fields = {name: found.to(device) for name, found in self.fields.items()}
        new.inserted = {
            names: (one.to(device), other.to(device))
            for names, (one, other) in self.inserted.items()
        }
        new._batches = {name: batch.to(device) for name, batch in self._batches.items()}
        new._parents, new._strided = dict(self._parents), dict(self._strided)
        return new

    def at(self, name: Name) -> CoordinateMap:
        """The map under `name`.

        Raises:
            ValueError: there is none.
        """
        if (found := self.maps.get(name)) is None:
            raise ValueError(
                f"coordinate map key {_said(name)} is not in this coordinate manager, which has "
                f"{', '.join(map(_said, self.maps)) or 'none'}; a key is good for the manager that "
                "made it; use that one, or insert the coordinates into this one"
            )
        return found

    def field(self, name: Name) -> Field:
        """The field under `name`.

        Raises:
            ValueError: there is none.
        """
        if (found := self.fields.get(name)) is None:
            raise ValueError(
                f"coordinate field map key {_said(name)} is not in this coordinate manager, which "
                f"has {', '.join(map(_said, self.fields)) or 'none'}"
            )
        return found

    def free(self, stride: Axes, string_id: str, taken: dict) -> Name:
        """A name that is not in `taken`: this one, or one that begins so."""
        name = stride, string_id
        while name in taken:
            self._count += 1
            name = stride, f"{string_id}-{self._count:05d}" if string_id else f"{self._count:05d}"
        return name

    def add(self, new: CoordinateMap, string_id: str = "", parent: Name | None = None) -> Name:
        """Keep a map, under another string where there is one of that name already."""
        name = self.free(new.stride, string_id, self.maps)
        self.maps[name] = new
        if parent is not None:
            self._parents[name] = parent
        return name

    def add_field(self, new: Field, string_id: str = "") -> Name:
        """Keep a field; names as in `add`."""
        name = self.free(new.stride, string_id, self.fields)
        self.fields[name] = new
        return name

    def insert(
        self, coordinates: Tensor, stride: Axes, string_id: str = ""
    ) -> tuple[Name, Tensor, Tensor]:
        """A caller's coordinates: the name, and what `given` says beside the map."""
        new, unique, back = given(coordinates, stride)
        return self.add(new, string_id), unique, back

    def splat(self, points: Tensor) -> Name:
        """The 2**D places around each of some points."""
        return self.insert(fields.corners(points), (1,) * self.ndim)[0]

    def voxels(self, field: Name, stride: Axes, string_id: str = "") -> Name:
        """The cells that a field's points lie in; `inserted` says which."""
        name, unique, back = self.insert(self.field(field).cells(stride), stride, string_id)
        self.inserted[field, name] = unique, back
        return name

    def row_of_point(self, field: Name, name: Name) -> Tensor:
        """[P] int64: the row of a map in whose cell each point of a field lies, or -1."""
        if (field, name) in self.inserted:
            return self.inserted[field, name][1]
        sites = self.at(name)
        return sites.find(self.field(field).cells(sites.stride))

    def stride(self, name: Name, stride: Axes, string_id: str = "") -> Name:
        """The map of a map's coordinates rounded down; each is made once."""
        source = self.at(name)
        if set(stride) == {1} and string_id in ("", name[1]):
            return name
        key = name, stride, string_id
        if key not in self._strided:
            new = making.strided(source, stride)
            wanted = new.stride, string_id or name[1]
            there = self.maps.get(wanted)
            # Under that name there may be other sites, which no one strided from these.
            same = there is not None and there.same_sites(new)
            self._strided[key] = wanted if same else self.add(new, wanted[1], name)
        return self._strided[key]

    def upwards(self, name: Name, kernel: Kernel, *, new: bool) -> Name:
        """Where a transposed layer leads: back to what its input was made from, where it can.

        Args:
            name: the input's map.
            kernel: the layer's.
            new: whether to make new sites in any case.
        """
        source = self.at(name)
        wanted = making.finer(source.stride, kernel.stride)
        if not new:
            above: Name | None = name
            while above is not None:
                if self.maps[above].stride == wanted:
                    return above
                above = self._parents.get(above)
            if (wanted, "") in self.maps:
                return wanted, ""
        grown = making.grown(source, kernel.taps, kernel.stride, kernel.dilation)
        return self.add(grown, "", name)

    def expand(self, name: Name, kernel: Kernel) -> Name:
        """New sites all around those of a map."""
        around = making.expanded(self.at(name), kernel.taps, kernel.stride, kernel.dilation)
        return self.add(around, "", name)

    def prune(self, name: Name, mask: Tensor) -> Name:
        """The rows of a map where `mask` [N] bool."""
        return self.add(making.pruned(self.at(name), mask), "pruned", name)

    def unite(self, names: Sequence[Name]) -> tuple[Name, list[Tensor]]:
        """The union of maps, and for each map the row of the union at each of its rows."""
        union, places = making.united([self.at(name) for name in names])
        return self.add(union, "merge"), places

    def origin(self) -> Name:
        """One row a sample that any map or field has, at the origin."""
        self._count_samples()
        every = [batch for batch in self._batches.values() if len(batch)]
        if not self._batches:
            raise ValueError("this coordinate manager has no coordinates yet; insert some first")
        samples = torch.cat(every).unique() if every else next(iter(self._batches.values()))
        there = None if self._origin is None else self.maps[self._origin]
        if there is None or not torch.equal(there.coordinates()[:, 0].long(), samples):
            self._origin = self.add(making.origins(samples, self.ndim))
        assert self._origin is not None
        return self._origin

    def _count_samples(self) -> None:
        for name, found in self.maps.items():
            if name not in self._batches and 0 not in found.stride:
                self._batches[name] = found.sites.coords.rows[:, 0].long().unique_consecutive()
        for name, field in self.fields.items():
            key = name[0], f"field {name[1]}"
            if key not in self._batches:
                self._batches[key] = field.batch().unique()

    def link(self, source: Name, target: Name, kernel: Kernel, *, upwards: bool) -> Link:
        """From the rows of one map to those of another, built once."""
        if upwards:
            return self.link(target, source, kernel, upwards=False).T
        key = "kernel", source, target, kernel.taps, kernel.dilation
        return self._once(
            key,
            lambda: linking.along(self.at(source), self.at(target), kernel.taps, kernel.dilation),
        )

    def cells(self, fine: Name, coarse: Name) -> Link:
        """From each row of a map to the row of another in whose cell it lies."""
        key = "cells", fine, coarse
        return self._once(key, lambda: linking.into_cells(self.at(fine), self.at(coarse)))

    def pooling(self, source: Name, target: Name, kernel: Kernel, *, upwards: bool) -> Link:
        """As `link`, but a kernel that is one cell sends each row to the cell it lies in."""
        if not kernel.cells:
            return self.link(source, target, kernel, upwards=upwards)
        return self.cells(target, source).T if upwards else self.cells(source, target)

    def samples(self, source: Name, origin: Name) -> Link:
        """From each row of a map to the row of its sample at the origin."""
        return self.cells(source, origin)

    def field_samples(self, field: Name, origin: Name) -> Link:
        """From each point of a field to the row of its sample at the origin."""
        return self._once(("field", field, origin), lambda: self._sampled(field, origin))

    def _sampled(self, field: Name, origin: Name) -> Link:
        with to_be_kept():
            target, order = self.row_of_point(field, origin).sort(stable=True)
            points, samples = Rows(len(order)), self.at(origin).rows
            rulebook = Rulebook.sending(order, target, len(samples), len(order))
        return Link(points, samples, rulebook)

    def around(self, name: Name, points: Tensor) -> tuple[Tensor, Tensor]:
        """As `fields.around`, for the map under `name`."""
        return fields.around(self.at(name), points)

    def _once(self, key: tuple, build: Callable[[], Link]) -> Link:
        if key not in self._links:
            self._links[key] = build()
        return self._links[key]


def _said(name: Name) -> str:
    return f"({list(name[0])}, {name[1]!r})"
