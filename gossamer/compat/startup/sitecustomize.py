"""Begins every Python process under `gossamer run`: the program itself, and all that it starts.

Python imports the first `sitecustomize` on its path when it starts; `gossamer run` puts this folder
on PYTHONPATH, which children inherit. The program sees neither: the folder leaves the path again,
and a `sitecustomize` of the environment's own runs after this one.
"""

import os
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec

HERE = os.path.dirname(os.path.abspath(__file__))


def _register() -> None:
    # A checkout that is not installed can be imported only while one stands in it.
    root = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
    if root not in sys.path:
        sys.path.append(root)
    from gossamer.compat.install import register

    for facade in os.environ.get("GOSSAMER_RUN_AS", "").split():
        library, _, api = facade.partition("=")
        register(library, api)


def _own_of_the_environment() -> None:
    spec = PathFinder.find_spec("sitecustomize", sys.path)
    if spec and spec.loader:
        module = module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


sys.path[:] = [folder for folder in sys.path if os.path.abspath(folder) != HERE]
# A program may start another Python than its own, which gossamer does not support.
if sys.version_info >= (3, 10):  # noqa: UP036
    try:
        _register()
    except (ImportError, ValueError) as error:
        # Python would go on after an error here, and the program with a library that was not meant.
        print(f"error: GOSSAMER_RUN_AS: {error}", file=sys.stderr, flush=True)  # noqa: T201
        os._exit(2)
_own_of_the_environment()
