"""The tiles: by family of GPU and what a product costs, then by channels and rows.

Every one compiles without spilling, and with matrix instructions fed by asynchronous copies where
the GPU has them, for every architecture of its family.
"""

from dataclasses import dataclass

from gossamer.ops.plans.choice import Tile

ANY = 1 << 62


@dataclass(frozen=True)
class Line:
    """One line of a table; the first that fits holds.

    Args:
        channels: for up to so many output channels; of a weight gradient, input channels too.
        rows: for under so many output rows, a power of two.
        tile: what one program computes; its channels and columns are the most there are.
    """

    channels: int
    rows: int
    tile: Tile


Table = dict[tuple[str, str], tuple[Line, ...]]
"""By family and by cost: "half", a precision of float32, or "float" for those not named."""

# A small problem has too few large tiles for all processors. Many rows a tile read the weights
# less often, which is most of what 128 channels and more read; and all columns in one tile read
# the rows of x once. The copy of an index takes stages of its own, so 5 stages are 3 buffers.
_IEEE = (
    Line(16, ANY, Tile(128, 16, 16, 4, 5)),
    Line(32, ANY, Tile(128, 32, 16, 4, 5)),
    Line(64, 1 << 14, Tile(64, 64, 16, 4, 5)),
    Line(64, ANY, Tile(128, 64, 16, 8, 5)),
    Line(ANY, 1 << 14, Tile(64, 128, 16, 8, 5)),
    Line(ANY, ANY, Tile(128, 128, 16, 8, 3)),
)
_WIDE_HALF = (
    Line(64, 1 << 13, Tile(64, 64, 64, 4, 5)),
    Line(64, 1 << 15, Tile(128, 64, 64, 4, 5)),
    Line(64, ANY, Tile(256, 64, 64, 8, 5)),
    Line(128, 1 << 13, Tile(64, 128, 64, 4, 5)),
    Line(128, 1 << 16, Tile(128, 128, 64, 4, 5)),
    Line(128, ANY, Tile(256, 128, 64, 8, 5)),
    Line(ANY, 1 << 12, Tile(64, 128, 64, 4, 5)),
    Line(ANY, 1 << 14, Tile(64, 256, 64, 8, 5)),
    Line(ANY, ANY, Tile(128, 256, 64, 8, 5)),
)
CONV: Table = {
    ("ampere", "half"): (
        Line(16, ANY, Tile(128, 16, 32, 4, 5)),
        Line(32, ANY, Tile(128, 32, 32, 4, 5)),
        Line(64, 1 << 14, Tile(64, 64, 32, 4, 5)),
        Line(64, ANY, Tile(128, 64, 32, 4, 5)),
        Line(128, 1 << 14, Tile(64, 128, 32, 4, 5)),
        Line(ANY, 1 << 13, Tile(64, 128, 32, 4, 5)),
        Line(ANY, ANY, Tile(128, 128, 32, 8, 5)),
    ),
    ("ampere", "float"): (
        Line(16, ANY, Tile(128, 16, 32, 4, 5)),
        Line(32, ANY, Tile(128, 32, 32, 8, 5)),
        Line(64, 1 << 14, Tile(64, 64, 32, 8, 5)),
        Line(64, ANY, Tile(128, 64, 32, 8, 5)),
        Line(ANY, 1 << 14, Tile(64, 128, 16, 8, 5)),
        Line(ANY, ANY, Tile(128, 128, 16, 8, 5)),
    ),
    ("ampere", "ieee"): _IEEE,
    ("hopper", "half"): (
        Line(16, ANY, Tile(128, 16, 64, 4, 5)),
        Line(32, 1 << 15, Tile(128, 32, 64, 4, 5)),
        Line(32, ANY, Tile(256, 32, 64, 4, 5)),
        *_WIDE_HALF,
    ),
    ("blackwell", "half"): (
        Line(16, ANY, Tile(128, 16, 64, 4, 5)),
        # With 4 warps this spills, where work items are bounded.
        Line(32, ANY, Tile(128, 32, 64, 8, 5)),
        *_WIDE_HALF,
    ),
    ("hopper", "float"): (
        Line(16, ANY, Tile(128, 16, 32, 4, 5)),
        Line(32, ANY, Tile(128, 32, 32, 4, 5)),
        Line(64, 1 << 13, Tile(64, 64, 32, 4, 5)),
        Line(64, ANY, Tile(128, 64, 32, 8, 5)),
        Line(ANY, 1 << 13, Tile(64, 128, 32, 4, 5)),
        Line(ANY, ANY, Tile(128, 128, 32, 8, 5)),
    ),
    ("hopper", "ieee"): _IEEE,
    ("cdna", "half"): (
        Line(16, ANY, Tile(128, 16, 64, 4, 2)),
        Line(32, ANY, Tile(128, 32, 64, 4, 2)),
        Line(64, 1 << 15, Tile(64, 64, 64, 4, 2)),
        Line(64, ANY, Tile(128, 64, 64, 4, 2)),
        Line(ANY, 1 << 13, Tile(64, 128, 64, 4, 2)),
        Line(ANY, ANY, Tile(128, 128, 64, 8, 2)),
    ),
    ("cdna", "float"): (
        Line(16, ANY, Tile(128, 16, 32, 4, 2)),
        Line(32, ANY, Tile(128, 32, 32, 4, 2)),
        Line(64, ANY, Tile(64, 64, 32, 4, 2)),
        Line(ANY, 1 << 13, Tile(64, 128, 32, 8, 2)),
        Line(ANY, ANY, Tile(128, 128, 32, 8, 2)),
    ),
    ("interpreter", "half"): (Line(ANY, ANY, Tile(16, 16, 16, 4, 2)),),
}

# Matrix instructions of a Hopper want 64 columns of the turned rows of x; below that they are those
# of an Ampere.
_NARROW_FLOAT = (Line(16, ANY, Tile(32, 16, 16, 4, 5)), Line(32, ANY, Tile(32, 32, 32, 4, 5)))
_NARROW_HALF = (Line(16, ANY, Tile(64, 16, 16, 4, 5)), Line(32, ANY, Tile(64, 32, 32, 4, 5)))
WEIGHT_GRAD: Table = {
    ("ampere", "half"): (
        *_NARROW_HALF,
        Line(64, ANY, Tile(32, 64, 64, 4, 7)),
        Line(ANY, ANY, Tile(32, 128, 128, 8, 7)),
    ),
    ("ampere", "tf32"): (
        *_NARROW_FLOAT,
        Line(64, ANY, Tile(32, 64, 64, 8, 5)),
        Line(ANY, ANY, Tile(32, 128, 128, 8, 5)),
    ),
    ("ampere", "float"): (
        *_NARROW_FLOAT,
        Line(64, ANY, Tile(32, 64, 64, 8, 5)),
        Line(ANY, ANY, Tile(16, 128, 128, 8, 5)),
    ),
    ("hopper", "half"): (
        Line(16, ANY, Tile(128, 16, 16, 4, 5)),
        Line(32, ANY, Tile(64, 32, 32, 4, 5)),
        Line(64, ANY, Tile(64, 64, 64, 4, 5)),
        Line(128, ANY, Tile(64, 128, 128, 8, 7)),
        Line(ANY, ANY, Tile(64, 256, 128, 8, 5)),
    ),
    ("hopper", "float"): (
        *_NARROW_FLOAT,
        Line(64, ANY, Tile(32, 64, 64, 4, 5)),
        Line(ANY, ANY, Tile(32, 128, 128, 8, 5)),
    ),
    ("hopper", "ieee"): (
        *_NARROW_FLOAT,
        Line(64, ANY, Tile(32, 64, 64, 8, 5)),
        Line(ANY, ANY, Tile(16, 128, 128, 8, 5)),
    ),
    ("blackwell", "half"): (
        Line(16, ANY, Tile(128, 16, 16, 4, 5)),
        Line(32, ANY, Tile(64, 32, 32, 4, 5)),
        Line(64, ANY, Tile(64, 64, 64, 4, 5)),
        Line(ANY, ANY, Tile(64, 128, 128, 8, 5)),
    ),
    ("blackwell", "float"): (
        *_NARROW_FLOAT,
        Line(64, ANY, Tile(32, 64, 64, 8, 5)),
        Line(ANY, ANY, Tile(32, 128, 128, 8, 5)),
    ),
    ("blackwell", "ieee"): (
        *_NARROW_FLOAT,
        Line(64, ANY, Tile(32, 64, 64, 8, 5)),
        Line(ANY, ANY, Tile(16, 128, 128, 8, 5)),
    ),
    ("cdna", "half"): (
        Line(16, ANY, Tile(64, 16, 16, 4, 2)),
        Line(32, ANY, Tile(64, 32, 32, 4, 2)),
        Line(64, ANY, Tile(64, 64, 64, 4, 2)),
        Line(128, ANY, Tile(64, 128, 128, 8, 2)),
        Line(ANY, ANY, Tile(32, 256, 128, 8, 2)),
    ),
    ("cdna", "float"): (
        Line(16, ANY, Tile(32, 16, 16, 4, 2)),
        Line(32, ANY, Tile(32, 32, 32, 4, 2)),
        Line(64, ANY, Tile(32, 64, 64, 4, 2)),
        Line(ANY, ANY, Tile(32, 128, 128, 8, 2)),
    ),
    ("interpreter", "half"): (Line(ANY, ANY, Tile(16, 16, 16, 4, 2)),),
}
