"""What a state_dict does not say of the network it comes from, as its owner says it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from math import prod

from gossamer.convert.layouts import Size


@dataclass(frozen=True)
class Options:
    """What is said of layers, by patterns of keys.

    A pattern has * and ? as file names have; it is held against a key and against the module that
    the key belongs to.

    Args:
        kernels: pairs of a pattern and taps an axis; of those that a layer's number of taps allows,
            the first.
        ndim: how many axes a kernel has where nothing else says.
        only: the weights to take for those of sparse convolutions, and no others.
        skip: entries to leave as they are.
        strided: layers of one tap with a stride (or groups, or an inverse convolution), whose one
            tap goes by its layout.
        drop: entries to leave out.
        norms: batch norms of the source that MinkowskiEngine shall have wrapped. None: those that
            follow a sparse convolution.
        names: "auto" renames networks where one end is native; "keep" never; else the scheme whose
            names the result shall have.

    Raises:
        ValueError: no such number of axes, or a kernel without taps.
    """

    kernels: tuple[tuple[str, Size], ...] = ()
    ndim: int = 3
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    strided: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    norms: tuple[str, ...] | None = None
    names: str = "auto"

    def __post_init__(self) -> None:
        if not 1 <= self.ndim <= 4:
            raise ValueError(f"ndim is {self.ndim}; wanted 1 to 4")
        for pattern, size in self.kernels:
            if not 1 <= len(size) <= 4 or min(size) < 1:
                raise ValueError(f"the kernel {pattern!r} is {size}; wanted 1 to 4 ints above 0")

    def check(self, keys: Iterable[str]) -> None:
        """See that every pattern says something of some key.

        Raises:
            ValueError: one does not.
        """
        keys = list(keys)
        patterns = {
            f.name: getattr(self, f.name) or ()
            for f in fields(self)
            if f.name in ("only", "skip", "strided", "drop", "norms")
        }
        patterns["kernels"] = tuple(pattern for pattern, _ in self.kernels)
        for name, given in patterns.items():
            for pattern in given:
                if not any(fits(key, (pattern,)) for key in keys):
                    raise ValueError(_unfitting(name, pattern, keys))


def _unfitting(name: str, pattern: str, keys: list[str]) -> str:
    wider = f"*{pattern.strip('*')}*"
    near = next((key for key in keys if fits(key, (wider,))), None)
    has = f"{wider!r} fits {near}" if near else f"it has for instance {', '.join(keys[:3])}"
    return f"{name}: no key of the checkpoint fits {pattern!r}; {has}"


def fits(key: str, patterns: Sequence[str]) -> bool:
    """Whether a key, or the module it belongs to, fits one of the patterns."""
    module = module_of(key)
    return any(fnmatchcase(key, one) or fnmatchcase(module, one) for one in patterns)


def module_of(key: str) -> str:
    """The path of the module that an entry belongs to."""
    return key.rpartition(".")[0]


def joined(module: str, name: str) -> str:
    """The key of an entry of a module."""
    return f"{module}.{name}" if module else name


def size_of(key: str, taps: int, options: Options) -> Size | None:
    """The taps an axis of the kernel under `key`: as said, else a cube; None if it is none."""
    said = [size for pattern, size in options.kernels if fits(key, (pattern,))]
    for size in said:
        if prod(size) == taps:
            return size
    edge = round(taps ** (1 / options.ndim))
    return (edge,) * options.ndim if edge**options.ndim == taps else None


def shapes_of(taps: int, ndim: int) -> list[Size]:
    """Every kernel with so many taps, the ones nearest to a cube first."""
    if ndim == 1:
        return [(taps,)]
    found = [
        (edge, *rest)
        for edge in range(1, taps + 1)
        if taps % edge == 0
        for rest in shapes_of(taps // edge, ndim - 1)
    ]
    return sorted(found, key=lambda size: (max(size), size))
