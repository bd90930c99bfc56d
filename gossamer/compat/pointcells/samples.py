"""How many samples a batch has."""

from torch import Tensor


def samples_of(batch: Tensor, said: int | None = None) -> int:
    """B: as said, or as far as batch indices reach.

    Args:
        batch: [N] int, the batch index of each row.
        said: B, where it is known; then samples behind the last row count too.

    Raises:
        ValueError: a batch index is negative, or not below `said`.
    """
    least, most = (int(batch.min()), int(batch.max())) if len(batch) else (0, -1)
    samples = most + 1 if said is None else said
    if least < 0 or most >= samples:
        raise ValueError(
            f"batch indices of coords go from {least} to {most}; wanted 0 to "
            f"{'the last sample' if said is None else f'{said - 1}, as spatial_range says'}; is "
            "the batch in the column where this version of the library has it?"
        )
    return samples
