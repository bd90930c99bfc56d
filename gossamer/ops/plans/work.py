"""How the work of one tile, or of one tap, is divided among programs, so that none is left last.

Both follow from the problem alone, never from what the card is doing: same inputs, same bits.
"""

from gossamer.ops.plans.choice import Demand, Tile

SOME, MANY = 14, 16
"""Scales of rows: from 8192, from 32768; see `gossamer.ops.plans.store.scale`."""

FEWEST_TAPS = 9  # of a kernel whose tiles are worth dividing
WIDE = 256  # channels that a processor works on at a time, in one program or in some narrow ones
MOST_A_PROCESSOR, LEAST_A_PROCESSOR = 8, 2  # programs
LEAST_PARTS, MOST_PROGRAMS = 32, 1024
INTERPRETED_PARTS = 4


def limit(demand: Demand, scale: int, tile: Tile, processors: int) -> int:
    """Taps that a program of a convolution walks at most; 0 for all.

    A tile at a crowded place walks every tap, and when tiles are few everyone waits for it. With
    four waves of tiles there is other work meanwhile.

    Args:
        demand: what is computed.
        scale: of its rows.
        tile: what a program computes.
        processors: of the GPU.
    """
    if demand.taps < FEWEST_TAPS or processors < 2:
        return 0
    rows = 1 << scale >> 1
    programs = -(-rows // tile.rows) * -(-demand.outputs // tile.columns)
    if programs >= 4 * processors:
        return 0
    pieces = 2 if programs >= processors else 4
    return -(-demand.taps // pieces)


def parts(demand: Demand, scale: int, tile: Tile, processors: int) -> int:
    """Programs that the pairs of a weight gradient are divided among.

    Fewer where there are few rows: each part leaves sums that are to be added.

    Args:
        demand: what is computed.
        scale: of its output rows.
        tile: what a program computes.
        processors: of the GPU.
    """
    if processors < 2:
        return INTERPRETED_PARTS
    widest = max(demand.inputs, demand.outputs)
    each = min(MOST_A_PROCESSOR, max(LEAST_A_PROCESSOR, WIDE // widest))
    tiles = -(-demand.inputs // tile.channels) * -(-demand.outputs // tile.columns)
    halvings = (scale < MANY) + (scale < SOME)
    programs = min(MOST_PROGRAMS, each * processors)
    return max(LEAST_PARTS, programs // tiles >> halvings)
