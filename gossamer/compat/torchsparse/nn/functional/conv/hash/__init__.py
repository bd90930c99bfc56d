"""Hashes of coordinates, and kernel maps read backwards."""

from gossamer.compat.torchsparse.nn.functional.conv.hash.hash import sphash
from gossamer.compat.torchsparse.nn.functional.conv.hash.query import (
    convert_transposed_out_in_map,
    sphashquery,
)

__all__ = ["convert_transposed_out_in_map", "sphash", "sphashquery"]
