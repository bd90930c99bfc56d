"""What a scan found: a line of a file, a name, and whether its facade has it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path


class Status(str, Enum):
    """What becomes of a name under `gossamer run`."""

    COVERED = "covered"
    GUARDED = "guarded"  # it is missing, and the program goes on without
    MISSING = "not covered"


@dataclass(frozen=True)
class Finding:
    """One name in one line.

    Attributes:
        file: where it stands.
        place: the line, or in a notebook the cell and the line in it.
        symbol: the name in full, as upstream has it.
        library: whose name it is.
        status: what becomes of it.
        hint: what else there is to say, or nothing.
    """

    file: Path
    place: str
    symbol: str
    library: str
    status: Status
    hint: str = ""


@dataclass(frozen=True)
class Report:
    """All that a scan found.

    Attributes:
        findings: in the order of files and lines.
        files: how many were read.
        skipped: those that may use something but could not be read, and why.
        apis: for each library that is used, the api that it was held against.
    """

    findings: Sequence[Finding]
    files: int
    skipped: Sequence[tuple[Path, str]]
    apis: Mapping[str, str]

    @property
    def covered(self) -> bool:
        """Whether nothing is missing that the code base would stumble over."""
        return all(f.status != Status.MISSING for f in self.findings)
