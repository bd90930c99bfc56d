"""Files that appear whole or not at all: written beside their place, then renamed into it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def written_beside(path: str | Path) -> Iterator[Path]:
    """A path to write to, which takes the place of `path` when the block ends without an error.

    After an error nothing is left behind, and an older file at `path` stays as it was. The
    yielded path has the name of `path`, so that writers which look at the suffix see it, and lies
    in a hidden folder beside it, so that nobody who lists the folder sees half a file. Missing
    parent folders are made.

    Args:
        path: where the file shall be.

    Raises:
        OSError: the folder cannot be made or written, or something other than a file is there.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise FileExistsError(f"{path} exists and is no regular file; choose another path")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = TemporaryDirectory(dir=path.parent, prefix=".writing-")
    except OSError as error:
        raise type(error)(
            f"cannot write {path}: {error.strerror} ({error.filename}); wanted a folder that can "
            "be made and written, so choose another path or free this one"
        ) from error
    with beside as folder:
        unfinished = Path(folder) / path.name
        yield unfinished
        os.replace(unfinished, path)
