"""Which tap a line of a table is, as a constant of a kernel."""

from torch import Tensor


def naming(taps: Tensor) -> str:
    """How lines name their taps: "natural" (line k, tap k), "mirrored" or "listed".

    Args:
        taps: of the table, [0], [1] or [K]; where K is 1 mirrored and listed are the same.
    """
    return ("natural", "mirrored", "listed")[min(taps.shape[0], 2)]
