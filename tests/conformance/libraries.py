"""What stands behind `spconv`, `torchsparse`, `MinkowskiEngine` and `mmcv.ops` in this process."""

import os

from tests.conformance import mmcv_ext

# "gossamer" or "spconv" in the environment that `run` makes, and nothing anywhere else.
LIBRARY = os.environ.get("CONFORMANCE_LIBRARY", "")
# Which API of TorchSparse this process has, for it can have but one; mmdet3d is written for 1.4.
TORCHSPARSE = os.environ.get("CONFORMANCE_TORCHSPARSE", "2.1")


def prepare(library: str) -> None:
    """Make the frameworks importable, on `library`; before any of them is imported."""
    mmcv_ext.install()
    if library == "gossamer":
        from gossamer.compat import install

        install("spconv")
        install("torchsparse", api=TORCHSPARSE)
        install("MinkowskiEngine")
        import gossamer.compat.mmdet3d  # noqa: F401
