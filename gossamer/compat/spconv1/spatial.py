"""Spatial helpers."""

from gossamer.compat.spconv.pytorch.spatial import RemoveDuplicate as RemoveDuplicate
