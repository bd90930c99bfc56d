"""Whether a facade has a name: asked of the facade itself, so the answer cannot be out of date."""

from functools import cache
from operator import attrgetter
from types import ModuleType

from gossamer.compat.install import FACADES, load

# Top-level module -> the library that it belongs to.
LIBRARY_OF = {
    module: library
    for library, apis in FACADES.items()
    for packages in apis.values()
    for module in packages
}
# The operators of spconv 1.x, which torch keeps.
OPERATORS = "torch.ops.spconv"


def library_of(symbol: str) -> str | None:
    """The library that a dotted name belongs to, if to one of those."""
    if symbol == OPERATORS or symbol.startswith(f"{OPERATORS}."):
        return "spconv"
    return LIBRARY_OF.get(symbol.partition(".")[0])


def has(library: str, api: str, symbol: str) -> bool:
    """Whether the facade of `library` has what `symbol` names upstream."""
    modules = _modules(library, api)
    if symbol.startswith("torch."):
        import torch

        return _reaches(torch, symbol.partition(".")[2])
    head = symbol
    while head and head not in modules:
        head = head.rpartition(".")[0]
    return bool(head) and _reaches(modules[head], symbol.removeprefix(head).lstrip("."))


def public_names(module: str) -> set[str]:
    """What `from module import *` brings, in any api of its library."""
    library = library_of(module)
    names: set[str] = set()
    for api in FACADES.get(library or "", ()):
        if found := _modules(library or "", api).get(module):
            names |= {name for name in _listed(found) if not _is_foreign(getattr(found, name))}
    return names


@cache
def _modules(library: str, api: str) -> dict[str, ModuleType]:
    return load(FACADES[library][api])


def _reaches(start: object, path: str) -> bool:
    if not path:
        return True
    try:
        attrgetter(path)(start)
    except (AttributeError, RuntimeError):  # torch says RuntimeError of some operators
        return False
    return True


def _listed(module: ModuleType) -> list[str]:
    return getattr(module, "__all__", None) or [n for n in vars(module) if not n.startswith("_")]


def _is_foreign(value: object) -> bool:
    """Whether it is a module of somebody else's, which a facade only uses."""
    return isinstance(value, ModuleType) and not value.__name__.startswith("gossamer.compat.")
