"""What stands behind the names `spconv` and `mmcv.ops` in this process."""

import os

from tests.conformance import mmcv_ext

# "gossamer" or "spconv" in the environment that `run` makes, and nothing anywhere else.
LIBRARY = os.environ.get("CONFORMANCE_LIBRARY", "")


def prepare(library: str) -> None:
    """Make the frameworks importable, on `library`; before any of them is imported."""
    mmcv_ext.install()
    if library == "gossamer":
        from gossamer.compat import install

        install("spconv")
        import gossamer.compat.mmdet3d  # noqa: F401
