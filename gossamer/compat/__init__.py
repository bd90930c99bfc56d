"""The APIs of other libraries over gossamer, and how a program gets them under their own names."""

from gossamer.compat.install import install

__all__ = ["install"]
