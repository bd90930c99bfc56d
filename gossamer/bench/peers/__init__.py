"""Other libraries that do what gossamer does, each behind the same few names.

A peer is a file here. It has `NAME`; `CASES`, what it has an answer to; `SAFE_THREADS`, with more
of which its results are wrong (None for any number); `refuses(problem)`, which says why it cannot
take a problem of these cases, or ""; and `work(problem)`. A peer whose library is not installed
does not import, and is left out.
"""

from importlib import import_module
from types import ModuleType

# In the order of their rows: the strongest first.
PEERS = ("spconv", "gather_mm", "dense")


def installed() -> tuple[dict[str, ModuleType], list[str]]:
    """The peers that can be measured here, by name, and a sentence on each that cannot."""
    found, missing = {}, []
    for name in PEERS:
        try:
            found[name] = import_module(f"{__name__}.{name}")
        except ImportError as error:
            missing.append(
                f"{name} is left out: it cannot be imported ({error}); "
                "the peers come with: pip install gossamer[bench]"
            )
    return found, missing
