"""Hashes of coordinates."""

from gossamer.compat.torchsparse.nn.functional.hash import sphash

__all__ = ["sphash"]
