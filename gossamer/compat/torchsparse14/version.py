"""Which version's API this is."""

__version__ = "1.4.0"
