"""Real scans for tests, which live beside the checkout and are never part of it."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data"


def real_scan(name: str) -> Path:
    """The path of a real scan, or a skip where the folder is missing."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"no real scan {name} beside the checkout")
    return path
