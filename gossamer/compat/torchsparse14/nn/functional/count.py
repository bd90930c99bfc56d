"""How many points each voxel has."""

from gossamer.compat.torchsparse.nn.functional.count import spcount as spcount

__all__ = ["spcount"]
