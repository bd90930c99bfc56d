"""Puts a facade where Python looks for the library that it stands for.

`install("spconv")` and `import spconv` then give one and the same module objects under two names:
`spconv.pytorch` is `gossamer.compat.spconv.pytorch`. What is pickled names its classes by the
second, so that another process reads it without an install.

Only the standard library is imported here, because every process under `gossamer run` begins with
this file, whether it will ever need a facade or not.
"""

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import spec_from_loader
from pkgutil import walk_packages
from types import ModuleType
from typing import Any

# MinkowskiEngine puts its own folder on Python's path, so these are found without its name too.
_FLAT = (
    "Broadcast ChannelwiseConvolution Common Convolution CoordinateManager Functional "
    "Interpolation KernelGenerator Network Nonlinearity Normalization Ops Pooling Pruning "
    "SparseTensor Tensor TensorField Union"
).split()

# Library -> api -> the top-level names that it takes, and the package behind each. The first api
# is the default.
FACADES: dict[str, dict[str, dict[str, str]]] = {
    "spconv": {
        "2": {"spconv": "gossamer.compat.spconv", "cumm": "gossamer.compat.cumm"},
        "1.2": {"spconv": "gossamer.compat.spconv1"},
    },
    "torchsparse": {
        "2.1": {"torchsparse": "gossamer.compat.torchsparse"},
        "1.4": {"torchsparse": "gossamer.compat.torchsparse14"},
    },
    "MinkowskiEngine": {
        "0.5": {
            "MinkowskiEngine": "gossamer.compat.minkowski",
            "MinkowskiEngineBackend": "gossamer.compat.minkowski.backend",
            **{f"Minkowski{part}": f"gossamer.compat.minkowski.Minkowski{part}" for part in _FLAT},
        },
    },
}


def install(library: str, *, api: str | None = None) -> None:
    """From now on, `import <library>` in this process gives gossamer's facade of it.

    A second call changes nothing. A process that is started with "spawn" imports the main script
    again: call this at its top, outside `if __name__ == "__main__"`, or start the program with
    `gossamer run --as <library>`, which reaches every child.

    Args:
        library: "spconv", "torchsparse" or "MinkowskiEngine".
        api: which version's API. For spconv "2", that of 2.3.8 with its `cumm.tensorview`, or
            "1.2"; for torchsparse "2.1" or "1.4"; for MinkowskiEngine "0.5". Default: the newest.

    Raises:
        ValueError: there is no facade of that library, or not of that api.
        ImportError: the real library, or the facade of another api, is in this process already.
    """
    for name in register(library, api).packages:
        import_module(name)


def register(library: str, api: str | None = None) -> "Finder":
    """As `install`, but the facade and what it needs are loaded at the first import of it."""
    api = known_api(library, api)
    for there in sys.meta_path:
        if isinstance(there, Finder) and there.library == library:
            if there.api == api:
                return there
            raise ImportError(
                f"{library} is installed as api {there.api!r} in this process, and api {api!r} "
                "was asked for; a process has one, so start another for the other"
            )
    finder = Finder(library, api)
    for name in finder.packages:
        if (real := sys.modules.get(name)) is not None:
            raise ImportError(
                f"{name} is already imported, from {getattr(real, '__file__', None)}; install "
                f"{library} before anything imports {name}, or run the unedited program by: "
                f"gossamer run --as {library} PROGRAM"
            )
    sys.meta_path.insert(0, finder)
    return finder


def known_api(library: str, api: str | None = None) -> str:
    """`api` itself, or the default of the library, where there is such a facade."""
    if library not in FACADES:
        raise ValueError(f"library is {library!r}; there is a facade of {', '.join(FACADES)}")
    apis = list(FACADES[library])
    if api is not None and api not in apis:
        raise ValueError(f"api is {api!r}; the facade of {library} has {', '.join(apis)}")
    return api or apis[0]


def library_with(api: str) -> str:
    """The library of which there is a facade with this api.

    Raises:
        ValueError: there is none.
    """
    owners = [library for library, apis in FACADES.items() if api in apis]
    if len(owners) != 1:
        have = "; ".join(f"{library} has {', '.join(apis)}" for library, apis in FACADES.items())
        raise ValueError(f"api is {api!r}; wanted one of one library: {have}")
    return owners[0]


def load(packages: Mapping[str, str]) -> dict[str, ModuleType]:
    """Every module of a facade, by the name that it has upstream.

    Args:
        packages: the packages behind top-level names, as in `FACADES`.
    """
    modules = {}
    for name, package in packages.items():
        modules[name] = import_module(package)
        for found in walk_packages(getattr(modules[name], "__path__", ()), f"{package}."):
            modules[name + found.name.removeprefix(package)] = import_module(found.name)
    return modules


class Finder(MetaPathFinder, Loader):
    """Answers for every name of one library, so that no import falls through to a real one."""

    def __init__(self, library: str, api: str):
        self.library = library
        self.api = api
        self.packages = FACADES[library][api]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A spec for a top-level name, of which all submodules come with it.

        Raises:
            ModuleNotFoundError: it is a module that the facade lacks.
        """
        if fullname in self.packages:
            return spec_from_loader(fullname, self, is_package=True)
        for name, package in self.packages.items():
            if fullname.startswith(f"{package}."):
                # So Python asks for what `from spconv.utils import VoxelGenerator` names.
                if spec := PathFinder.find_spec(fullname, path, target):
                    return spec
                fullname = name + fullname.removeprefix(package)
            if fullname.startswith(f"{name}."):
                raise ModuleNotFoundError(
                    f"gossamer's facade of {self.library} (api {self.api}) has no {fullname}; what "
                    f"it has: docs/{self.library}.md; what your code needs: gossamer check-dropin",
                    name=fullname,
                )
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The facade's package, after all its modules were put under upstream's names."""
        modules = load(self.packages)
        sys.modules.update(modules)
        spec.loader_state = modules[spec.name].__spec__
        return modules[spec.name]

    def exec_module(self, module: ModuleType) -> None:
        """Undo what importing by a second name did to a module that was complete before."""
        if module.__spec__ is not None and module.__spec__.loader is self:
            module.__spec__ = module.__spec__.loader_state

    def find_distributions(self, context: Any) -> list[Any]:
        """What `importlib.metadata.version` reads the version of the library from."""
        if (context.name or "").lower() != self.library.lower():
            return []
        from gossamer.compat.metadata import FacadeDistribution

        version = import_module(self.packages[self.library]).__version__
        return [FacadeDistribution(self.library, version)]
