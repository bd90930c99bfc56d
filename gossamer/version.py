"""The version, written once: packaging, the command and `gossamer.__version__` read it."""

__version__ = "0.1.0"
