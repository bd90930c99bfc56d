"""An indices tensor that its caller may write into, and what it said when it was read."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gossamer.compat.rows.sites import Link, Sites


class Placed:
    """Sites, and the indices tensor that says them to the caller, who may write into it.

    A tensor that nobody asks for is never made.

    Args:
        sites: what the tensor said when it was read.
        indices: [R, 1+D] int32, the tensor. Default: a new one when it is first asked for.
    """

    def __init__(self, sites: Sites, indices: Tensor | None = None):
        self.sites = sites
        self._said = indices
        self._version = None if indices is None else _version(indices)
        self._copy: Tensor | None = None  # of a tensor whose writes torch does not count

    @property
    def indices(self) -> Tensor:
        """[R, 1+D] int32."""
        if self._said is None:
            self._said = self.sites.indices()
            self._version = _version(self._said)
        return self._said

    def __len__(self) -> int:
        """R."""
        return len(self.sites.rows)

    def untouched(self) -> "Placed":
        """This, or with a new tensor where somebody has written into the old one."""
        return self if self.still() else Placed(self.sites)

    def still(self) -> bool:
        """Whether the tensor says what it said."""
        if self._said is None:
            return True
        if self._version is not None:
            return self._version == self._said._version
        if self._copy is None:
            self._copy = self.sites.indices()
        return torch.equal(self._said, self._copy)

    def says(self, indices: Tensor | None) -> bool:
        """Whether `indices` is its tensor, or None for that, and still says the sites."""
        return (indices is None or indices is self._said) and self.still()

    def __getstate__(self) -> dict:
        """Without the count of writes, which a copy starts anew."""
        return {**self.__dict__, "_version": None, "_copy": None}


def _version(indices: Tensor) -> int | None:
    """How often it has been written into; None where torch does not count."""
    return None if indices.is_inference() else indices._version


@dataclass(frozen=True, eq=False)
class Ends:
    """The rows on both sides of a rulebook, as a caller has them."""

    source: Placed
    target: Placed


class Built:
    """Arrays that are made of a rulebook when somebody first looks at them.

    Attributes:
        names: what `_arrays` returns, one by one.
        link: the rulebook.
        ends: the rows it links.
    """

    names: tuple[str, ...]
    link: Link
    ends: Ends

    def _arrays(self) -> Sequence:
        raise NotImplementedError

    def __getattr__(self, name: str):
        if name in ("indices", "out_indices"):
            return (self.ends.source if name == "indices" else self.ends.target).indices
        if name not in type(self).names:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        self.__dict__.update(zip(type(self).names, self._arrays(), strict=True))
        return self.__dict__[name]
