"""The metadata of a facade, for programs that ask `importlib.metadata` which version they have."""

from importlib.metadata import Distribution
from pathlib import Path


class FacadeDistribution(Distribution):
    """A distribution of a name and a version, and without files."""

    def __init__(self, library: str, version: str):
        self._text = f"Metadata-Version: 2.1\nName: {library}\nVersion: {version}\n"

    def read_text(self, filename: str) -> str | None:
        """The metadata, and nothing for any other file."""
        return self._text if filename == "METADATA" else None

    def locate_file(self, path: object) -> Path:
        """A path that does not exist: a facade has no files of its own."""
        return Path(str(path))
