"""What a rulebook is: one small convolution step by step, and the figures of a real scan's."""

from gossamer.explain.example import WorkedExample, worked_example
from gossamer.explain.page import write_page
from gossamer.explain.scan import KernelFigures, ScanFigures, figures_of

__all__ = [
    "KernelFigures",
    "ScanFigures",
    "WorkedExample",
    "figures_of",
    "worked_example",
    "write_page",
]
