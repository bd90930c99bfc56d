"""From points to voxels."""

from gossamer.compat.torchsparse.nn.functional.voxelize import spvoxelize as spvoxelize

__all__ = ["spvoxelize"]
