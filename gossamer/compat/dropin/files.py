"""Python code as syntax trees: scripts, modules, and the code cells of notebooks."""

import ast
import json
import os
import tokenize
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

SUFFIXES = (".py", ".ipynb")
NOT_THEIRS = {"__pycache__", "node_modules"}


@dataclass(frozen=True)
class Source:
    """A file that was read.

    Attributes:
        path: where it lies.
        tree: what stands in it.
        places: for a notebook, the cell and the line in it of each line of the tree.
    """

    path: Path
    tree: ast.Module
    places: tuple[str, ...] = ()

    def place(self, line: int) -> str:
        """Where a line of the tree is to be found, as a person looks for it."""
        return self.places[line - 1] if self.places else str(line)


class UnreadableError(ValueError):
    """A file cannot be read as Python of this version."""


def files_of(path: Path) -> list[Path]:
    """The file itself, or every script, module and notebook under a folder.

    Hidden folders, virtual environments, and what is no regular file are left out.

    Raises:
        OSError: there is nothing at `path`.
        ValueError: there is no Python in the folder.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}; wanted a file or a folder of Python code")
    if path.is_file():
        return [path]
    found = []
    for folder, below, names in os.walk(path):
        below[:] = sorted(name for name in below if _is_theirs(Path(folder, name)))
        named = (Path(folder, name) for name in sorted(names) if name.endswith(SUFFIXES))
        # A pipe would be waited for without end.
        found += [file for file in named if file.is_file()]
    if not found:
        raise ValueError(f"there is no {' and no '.join(SUFFIXES)} file under {path}")
    return found


def _is_theirs(folder: Path) -> bool:
    hidden = folder.name.startswith(".") or folder.name in NOT_THEIRS
    return not hidden and not (folder / "pyvenv.cfg").exists()


def mentions(path: Path, words: Iterable[str]) -> bool:
    """Whether any of these words stands in a file.

    Raises:
        UnreadableError: the file may not be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UnreadableError(str(error)) from None
    return any(word.encode() in content for word in words)


def read(path: Path) -> Source:
    """The syntax tree of a file.

    Raises:
        UnreadableError: it is no text, no notebook, or not Python of this version.
    """
    try:
        if path.suffix == ".ipynb":
            return _notebook(path)
        with tokenize.open(path) as file:
            return Source(path, _parse(file.read()))
    except SyntaxError as error:
        where = f"line {error.lineno}: " if error.lineno else ""
        raise UnreadableError(f"{where}{error.msg}") from None
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        raise UnreadableError(f"{type(error).__name__}: {error}") from None


def _parse(text: str) -> ast.Module:
    with warnings.catch_warnings():
        # What is unusual in their strings is no news to whoever asks for names.
        warnings.simplefilter("ignore")
        return ast.parse(text)


def _notebook(path: Path) -> Source:
    """The code cells of a notebook, one below the other, as they are run."""
    try:
        cells = json.loads(path.read_text("utf-8"))["cells"]
        texts = ["".join(c["source"]) if c["cell_type"] == "code" else "" for c in cells]
    except (KeyError, TypeError) as error:
        raise UnreadableError(f"this is no notebook of format 4: no {error}") from None
    lines, places = [], []
    for number, text in enumerate(texts, 1):
        code = _without_magics(text)
        lines += code
        places += [f"cell {number}:{line}" for line in range(1, len(code) + 1)]
    return Source(path, _parse("\n".join(lines)), tuple(places))


def _without_magics(text: str) -> list[str]:
    """The lines of a cell, where those for IPython, and a cell that is not Python, say nothing."""
    code = []
    for line in text.splitlines():
        bare = line.lstrip()
        code.append(line[: len(line) - len(bare)] + "pass" if bare[:1] in ("%", "!", "?") else line)
    try:
        _parse("\n".join(code))
    except SyntaxError:
        return ["pass"] * len(code)
    return code
