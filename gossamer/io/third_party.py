"""Libraries of others: imported when needed, and their errors in our words."""

import importlib
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gossamer.errors import FormatError


def imported(name: str) -> Any:
    """The module called `name`.

    Raises:
        ImportError: it is not installed; the message says how to get it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"this file format needs the package {name}, which cannot be imported ({error}); "
            "install it with: pip install gossamer[io]"
        ) from error


@contextmanager
def parsing(path: Path, kind: str) -> Iterator[None]:
    """A block in which whatever goes wrong means that `path` is no sound file of this kind.

    Raises:
        FormatError: any error but a missing package or permission; names the file.
    """
    try:
        yield
    except (FormatError, ImportError, PermissionError):
        raise
    except BaseException as error:
        # a panic of a Rust library is no Exception, but is as much about the file
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        # a KeyError says only the key; some libraries' messages have many lines
        reason = repr(error) if isinstance(error, KeyError) or not str(error) else str(error)
        reason = textwrap.shorten(reason, 200)
        raise FormatError(
            f"{path} ({path.stat().st_size} bytes) is no sound {kind} file: {reason}; "
            "it may be truncated, or of another format than its name says"
        ) from error
