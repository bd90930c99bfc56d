"""Sites in memory of a given size, for backends whose host knows how many there are."""

from torch import Tensor


def existing(rows: Tensor, count: Tensor | None) -> Tensor:
    """The first `count` [1] of `rows`; None for all."""
    return rows if count is None else rows[: int(count)]


def padded(rows: Tensor, capacity: int) -> tuple[Tensor, Tensor]:
    """[capacity, 1+D]: as many of `rows` as there is place for, then zeros; [1]: how many came."""
    out = rows.new_zeros(capacity, rows.shape[1])
    out[: len(rows)] = rows[:capacity]
    return out, rows.new_tensor([len(rows)]).long()
