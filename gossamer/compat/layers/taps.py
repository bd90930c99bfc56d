"""The cells of a box-shaped kernel, in the order in which some library counts them."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import product

Tap = tuple[int, ...]


def box(lows: Sequence[int], sizes: Sequence[int], *, first_fastest: bool) -> tuple[Tap, ...]:
    """The K positions of a box, each of D ints.

    Args:
        lows: D ints, the corner of the box.
        sizes: D ints, cells an axis.
        first_fastest: whether neighbours in the order differ in the first axis, or in the last.
    """
    return _box(tuple(lows), tuple(sizes), first_fastest)


@lru_cache(maxsize=256)
def _box(lows: Tap, sizes: Tap, first_fastest: bool) -> tuple[Tap, ...]:
    axes = [range(low, low + size) for low, size in zip(lows, sizes, strict=True)]
    if not first_fastest:
        return tuple(product(*axes))
    return tuple(tap[::-1] for tap in product(*axes[::-1]))
