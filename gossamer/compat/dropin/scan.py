"""Holds every use of another library's names in a code base against the facades."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gossamer.compat.dropin.coverage import LIBRARY_OF, has, library_of
from gossamer.compat.dropin.files import Source, UnreadableError, files_of, mentions, read
from gossamer.compat.dropin.findings import Finding, Report, Status
from gossamer.compat.dropin.modules import Codebase
from gossamer.compat.dropin.names import Names
from gossamer.compat.dropin.uses import Use
from gossamer.compat.install import FACADES, library_with

# Files pass names on to files that pass them on, seldom further.
ROUNDS = 5
Found = Sequence[tuple[Source, Sequence[Use]]]
Skipped = Sequence[tuple[Path, str]]
Watch = Callable[[int, int], None]


def scan(path: str | Path, api: str | None = None, watch: Watch | None = None) -> Report:
    """Every name of spconv, cumm, torchsparse and MinkowskiEngine that a code base uses.

    Nothing of the code base is run. Methods and attributes of values, such as those of a
    `SparseConvTensor`, are not looked at: what a value is shows only when the program runs.

    Args:
        path: a file, or a folder with all that is below it.
        api: hold the code against this api of the library that has it. Default: of each library
            the one that lacks least.
        watch: is told (files read, files in all) after each; a code base whose files pass names on
            is gone through more than once.

    Raises:
        OSError: there is nothing at `path`.
        ValueError: there is no Python at `path`, or no such api.
    """
    asked = {} if api is None else {library_with(api): api}
    paths = files_of(Path(path))
    found, skipped = _found(paths, watch)
    apis = {
        library: asked.get(library) or _best_api(library, found)
        for library in FACADES
        if any(_library(use) == library for _, uses in found for use in uses)
    }
    findings = {_finding(source, use, apis): None for source, uses in found for use in uses}
    return Report(tuple(findings), len(paths) - len(skipped), skipped, apis)


def _found(paths: Sequence[Path], watch: Watch | None) -> tuple[Found, Skipped]:
    """What the files use, and those that cannot be read.

    A file is looked into only if it has one of their top-level names in it, or a name under which
    another file passes something of theirs on; most of a large code base has none.
    """
    words, known = set(LIBRARY_OF), set()
    sources: dict[Path, Source] = {}
    skipped: dict[Path, str] = {}
    found: Found = ()
    while words - known:
        known |= words
        for done, path in enumerate(paths, 1):
            if path not in sources and path not in skipped:
                try:
                    if mentions(path, words):
                        sources[path] = read(path)
                except UnreadableError as error:
                    skipped[path] = str(error)
            if watch:
                watch(done, len(paths))
        found, words = _uses([sources[path] for path in paths if path in sources])
    return found, sorted(skipped.items())


def _uses(sources: Sequence[Source]) -> tuple[Found, set[str]]:
    """What each file uses, once it is known what files get from one another; and what they give."""
    codebase = Codebase(source.path for source in sources)
    found: Found = ()
    for _ in range(ROUNDS):
        seen = [(source, Names(source.path, source.tree, codebase)) for source in sources]
        found = [(s, sorted(names.uses, key=lambda use: use.line)) for s, names in seen]
        exports = {codebase.key(source.path): names.exports for source, names in seen}
        if exports == codebase.exports:
            break
        codebase.exports.update(exports)
    given = {
        name
        for names in codebase.exports.values()
        for name, symbols in names.items()
        if any(map(library_of, symbols))
    }
    return found, given


def _library(use: Use) -> str:
    return library_of(use.symbols[0]) or ""


def _best_api(library: str, found: Found) -> str:
    """The api of which least is missing; of several, the first."""
    missing = Counter(
        api
        for _, uses in found
        for use in uses
        if _library(use) == library
        for api in FACADES[library]
        if _status(use, {library: api}) == Status.MISSING
    )
    return min(FACADES[library], key=lambda api: missing[api])


def _status(use: Use, apis: Mapping[str, str]) -> Status:
    if any(_has(symbol, apis) for symbol in use.symbols):
        return Status.COVERED
    unreached = any(
        all(any(_has(symbol, apis) for symbol in symbols) for symbols in attempt)
        for attempt in use.instead_of
    )
    if use.caught or unreached:
        return Status.GUARDED
    return Status.MISSING


def _has(symbol: str, apis: Mapping[str, str]) -> bool:
    library = library_of(symbol) or ""
    return library in apis and has(library, apis[library], symbol)


def _finding(source: Source, use: Use, apis: Mapping[str, str]) -> Finding:
    symbol = next((s for s in use.symbols if _has(s, apis)), use.symbols[0])
    library = library_of(symbol) or ""
    status, hint = _status(use, apis), ""
    if status == Status.MISSING:
        others = [api for api in FACADES[library] if has(library, api, symbol)]
        hint = f"api {others[0]} has it" if others else ""
    return Finding(source.path, source.place(use.line), symbol, library, status, hint)
