"""The version of TorchSparse whose API this is."""

__version__ = "2.1.0"
