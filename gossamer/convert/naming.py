"""Which names a result has: as they are, or those of another code base for the same network."""

from collections.abc import Iterable
from dataclasses import dataclass

from gossamer.convert.formats import FORMATS, Format
from gossamer.convert.names import HOMES, NATIVE, SCHEMES, Recognised, Renaming, recognise
from gossamer.convert.options import Options

SHOWN = 3
KEEP, AUTO = "keep", "auto"


@dataclass(frozen=True)
class Names:
    """How modules are called in the result.

    Args:
        renaming: None if they keep their names.
        found: the network that was recognised, renamed or not.
        note: what its owner should know, if anything.
    """

    renaming: Renaming | None
    found: Recognised | None
    note: str = ""

    def of(self, module: str) -> str:
        """The new path of a module."""
        return self.renaming.of(module) if self.renaming else module

    def linear(self, module: str) -> tuple[bool, bool]:
        """Whether a module is a linear layer before and after, a convolution of one tap if not."""
        return self.renaming.turns_linear(module) if self.renaming else (False, False)


def named(modules: Iterable[str], source: Format, target: Format, options: Options) -> Names:
    """The names that the result of a conversion has.

    Raises:
        ValueError: there is no such scheme, or the network is none that has it.
    """
    found = recognise(modules)
    if options.names not in (AUTO, KEEP, *SCHEMES):
        wanted = ", ".join((AUTO, KEEP, *SCHEMES))
        raise ValueError(f"names is {options.names!r}; wanted one of {wanted}")
    if options.names == KEEP:
        return Names(None, found)
    scheme = _wanted(found, source, target) if options.names == AUTO else options.names
    if options.names != AUTO and (found is None or found.strangers):
        raise ValueError(f"names is {scheme!r}: {_why(found)}")
    if found is None or scheme == found.scheme:
        return Names(None, found)
    if scheme is None:
        return Names(None, found, _choice(found, source, target))
    if found.strangers:
        return Names(None, found, f"names are kept: {_why(found)}")
    return Names(Renaming(found, scheme), found)


def _wanted(found: Recognised | None, source: Format, target: Format) -> str | None:
    """The scheme that goes with a format where the other end is native."""
    if found is None:
        return None
    if target is FORMATS["native"]:
        return NATIVE
    if found.scheme == NATIVE:
        return next((HOMES[name] for name in HOMES if FORMATS[name] is target), None)
    return None


def _choice(found: Recognised, source: Format, target: Format) -> str:
    if source.layout == target.layout or found.strangers:
        return ""
    others = " or ".join(name for name in SCHEMES if name != found.scheme)
    return f"modules keep the names of {found.scheme}'s MinkUNet; --names gives those of {others}"


def _why(found: Recognised | None) -> str:
    if found is None:
        return "the modules are those of no MinkUNet that has a table; --names keep changes layouts"
    strangers = ", ".join(found.strangers[:SHOWN])
    more = "" if len(found.strangers) <= SHOWN else f" and {len(found.strangers) - SHOWN} more"
    told = f"MinkUNet as {found.scheme} names it has no {strangers}{more}"
    if any("point_transforms" in module for module in found.strangers):
        told += (
            "; SPVNAS's MinkUNet has them and never uses them, so --drop '*point_transforms*' "
            "makes it one, but SPVCNN, which has the same keys, uses them and is no MinkUNet"
        )
    return told
