"""How wide a tile is where no matrix unit says so."""

NARROWEST = 16


def columns_of(channels: int, most: int) -> int:
    """The power of two, `most` or less, that leaves the fewest columns of a tile idle.

    Args:
        channels: C.
        most: a power of two, NARROWEST or more.
    """
    if channels <= NARROWEST:
        return power_of_two(channels)
    widths = [most >> i for i in range((most // NARROWEST).bit_length())]
    return min(widths, key=lambda width: -(-channels // width) * width)


def power_of_two(least: int) -> int:
    """The smallest power of two that is no less; 1 for what is below 1."""
    return 1 << max(0, least - 1).bit_length()
