"""Memory for intermediate results, kept from call to call.

Linux hands out fresh memory page by page, and the first touch of every 4 KB costs about as much as
a kernel needs to fill them. So what does not outlive a call is written to memory that each thread
keeps; it is as large as the largest such result so far.
"""

import threading

import numpy as np


class _Kept(threading.local):
    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}


_KEPT = _Kept()


def scratch(name: str, size: int, dtype: type) -> np.ndarray:
    """At least `size` numbers of any value, the same memory whenever this thread asks for `name`.

    Args:
        name: what it is for; each has one `dtype`. What asked for it before must be done with it.
        size: how many numbers; those that are not written take no memory.
        dtype: of the numbers.
    """
    kept = _KEPT.arrays.get(name)
    if kept is None or kept.size < size:
        kept = _KEPT.arrays[name] = np.empty(size + size // 4, dtype)
    return kept


def keep(name: str, memory: np.ndarray) -> None:
    """Let `memory` be what this thread gets for `name` from now on."""
    _KEPT.arrays[name] = memory
