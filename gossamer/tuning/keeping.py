"""Measured choices on disk, where several processes may come to write at once."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gossamer.io.atomic import written_beside
from gossamer.ops.plans.store import Measured, read

try:
    import fcntl
except ImportError:  # Windows, where the last of several writers wins
    fcntl = None


def keep(file: Path, measured: Measured) -> None:
    """Add to what a file says, or begin it; what it said of the same problems is replaced.

    Raises:
        OSError: the file cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with _alone(file.with_suffix(".lock")):
        try:
            measured = read(file).merged(measured)
        except (OSError, ValueError):
            # There is none, or it is damaged, and then nobody can use what it says.
            pass
        with written_beside(file) as unfinished:
            unfinished.write_text(json.dumps(measured.as_json(), indent=1))


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """A block that one process at a time is in."""
    with lock.open("w") as held:
        if fcntl is not None:
            fcntl.flock(held, fcntl.LOCK_EX)
        yield
