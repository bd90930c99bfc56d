"""What the largest of several values is, where the first of equals wins and a NaN beats numbers.

Each value has a place; of equals the one with the smallest place is the first. So the result does
not depend on the order in which values are met. It starts with -Inf at a place behind all others.
"""

import triton
import triton.language as tl


@triton.jit
def better(held, place, value, there, found):
    """The winners of (held, place) and, where `found`, (value, there)."""
    is_nan = value != value
    was_nan = held != held
    over = (value > held) | (is_nan & (held == held))
    equal = (value == held) | (is_nan & was_nan)
    wins = found & (over | (equal & (there < place)))
    return tl.where(wins, value, held), tl.where(wins, there, place)


@triton.jit
def first_of_largest(held, place, nowhere: tl.constexpr):
    """[A, C]: along the middle axis of [A, B, C], the place of the winner; `nowhere` for none."""
    is_nan = held != held
    some = tl.max(is_nan.to(tl.int32), 1) > 0
    largest = tl.max(tl.where(is_nan, float("-inf"), held), 1)
    wins = tl.where(some[:, None, :], is_nan, held == largest[:, None, :])
    return tl.min(tl.where(wins, place, nowhere), 1)
