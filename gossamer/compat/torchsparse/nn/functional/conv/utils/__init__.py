"""A dict whose keys are attributes."""

from gossamer.compat.torchsparse.nn.functional.conv.utils.collections import AttributeDict

__all__ = ["AttributeDict"]
