"""Networks that several code bases have: what each calls their modules."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType

from gossamer.convert.tables import (
    minkunet_mmdet3d_minkowski,
    minkunet_mmdet3d_spconv,
    minkunet_mmdet3d_torchsparse,
    minkunet_spvnas,
)

LEVELS, BLOCKS, STEPS = range(4), range(2), (0, 1, 3, 4)
# Modules of MinkUNet that no smaller network has, by which a scheme is recognised.
TELLING = ("stem.0", "stem.3", "down.0.coarsen.0", "down.3.coarsen.0", "up.3.refine.0", "head")
# A shortcut is a linear layer here, and a convolution of one tap elsewhere.
SHORTCUT = ".around.0"


def _table(lines: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    """Native path -> path there, of every module."""
    table = {}
    for (here, there), level, block, step in product(lines, LEVELS, BLOCKS, STEPS):
        counts = {"level": level, "block": block, "step": step}
        counts |= {"level1": level + 1, "block1": block + 1}
        table[here.format(**counts)] = there.format(**counts)
    return MappingProxyType(table)


TABLES = {
    "spvnas": _table(minkunet_spvnas.LINES),
    "mmdet3d-spconv": _table(minkunet_mmdet3d_spconv.LINES),
    "mmdet3d-torchsparse": _table(minkunet_mmdet3d_torchsparse.LINES),
    "mmdet3d-minkowski": _table(minkunet_mmdet3d_minkowski.LINES),
}
NATIVE = "native"
SCHEMES: Mapping[str, Mapping[str, str]] = {
    NATIVE: MappingProxyType({path: path for path in TABLES["spvnas"]}),
    **TABLES,
}
BACK = {name: {there: here for here, there in paths.items()} for name, paths in SCHEMES.items()}
# The names that a native network has in another format, where somebody has written it there.
HOMES = {"torchsparse": "spvnas", "torchsparse14": "spvnas", "mmdet3d": "mmdet3d-spconv"}


@dataclass(frozen=True)
class Recognised:
    """A network found in a state_dict.

    Args:
        scheme: a name of SCHEMES.
        prefix: what all of its keys begin with.
        strangers: modules under the prefix that the scheme does not know.
    """

    scheme: str
    prefix: str
    strangers: tuple[str, ...]

    def native(self, module: str) -> str | None:
        """The native path of a module, without the prefix; None for one of another network."""
        if not module.startswith(self.prefix):
            return None
        return BACK[self.scheme].get(module[len(self.prefix) :])


@dataclass(frozen=True)
class Renaming:
    """Modules of a network under one scheme's names, under another's.

    Args:
        found: the network.
        scheme: the names to give.
    """

    found: Recognised
    scheme: str

    def of(self, module: str) -> str:
        """The new path of a module; as it is if it belongs to no network that was found."""
        here = self.found.native(module)
        return module if here is None else self.found.prefix + SCHEMES[self.scheme][here]

    def turns_linear(self, module: str) -> tuple[bool, bool]:
        """Whether a module is a linear layer before, and after, and a convolution otherwise."""
        here = self.found.native(module)
        if here is None or not here.endswith(SHORTCUT):
            return False, False
        return self.found.scheme == NATIVE, self.scheme == NATIVE


def recognise(modules: Iterable[str]) -> Recognised | None:
    """The network that some modules are, whose batch norms hold their entries themselves."""
    modules = list(dict.fromkeys(modules))
    present = set(modules)
    found = []
    for scheme, paths in SCHEMES.items():
        anchor = paths[TELLING[0]]
        for prefix in [m.removesuffix(anchor) for m in modules if f".{m}".endswith(f".{anchor}")]:
            if all(prefix + paths[path] in present for path in TELLING):
                known = {prefix + path for path in paths.values()}
                inside = [module for module in modules if module.startswith(prefix)]
                strangers = tuple(module for module in inside if module not in known)
                found.append(Recognised(scheme, prefix, strangers))
    # Two of mmdetection3d's backends differ only in what they call the steps of a block.
    return min(found, key=lambda network: len(network.strangers), default=None)
