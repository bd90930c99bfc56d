"""The files of a code base as the modules that they import from one another."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from gossamer.compat.dropin.uses import Symbols


class Codebase:
    """Finds the file behind an import, and remembers which names of other libraries it passes on.

    Attributes:
        exports: for each file, as `module` calls it, its names and what they stand for.
    """

    def __init__(self, paths: Iterable[Path]):
        self.exports: dict[str, Mapping[str, Symbols]] = {}
        self._files: dict[tuple[str, ...], str] = {}
        self._by_last: dict[str, list[tuple[str, ...]]] = {}
        for path in paths:
            parts = path.absolute().with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            self._files[parts] = self.key(path)
            self._by_last.setdefault(parts[-1], []).append(parts)
            self.exports[self.key(path)] = {}

    @staticmethod
    def key(path: Path) -> str:
        """What a file is called here: nothing that an imported name could be."""
        return f"file:{path.absolute()}"

    def module(self, importer: Path, name: str, level: int) -> str | None:
        """The file of this code base that an import in `importer` means, if it is one.

        Args:
            importer: the file that the import stands in.
            name: what is imported, with dots.
            level: how many dots stand before it.
        """
        parts = tuple(name.split("."))
        if level:
            below = parts if name else ()
            return self._files.get((*importer.absolute().parts[:-level], *below))
        # Which folders are on the path of the program is not known, so any whose end fits will do.
        fitting = [
            file for file in self._by_last.get(parts[-1], ()) if file[-len(parts) :] == parts
        ]
        return self._files[min(fitting, key=len)] if fitting else None
