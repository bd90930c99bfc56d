"""Kernels on several cores: Python threads that run compiled code without the interpreter's lock.

Numba's own parallel loops are not used: their OpenMP layer kills a forked DataLoader worker, their
workqueue layer aborts when two Python threads call it, and a parallel kernel takes several times
longer to compile. A pool hand-over costs about 20 us, so small work stays on the calling thread.

Work is cut where the data says, never where the thread count says, and every piece writes its own
rows; so any number of threads gives the same bits.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import count

import torch


def for_each(pieces: int, work: Callable[[int], None]) -> None:
    """Call `work(piece)` once for every piece, on as many threads as torch uses.

    Pieces are handed out one by one, so a thread that is slow does not hold up the rest.
    """
    threads = min(torch.get_num_threads(), pieces)
    tickets = count()

    def drain() -> None:
        while (piece := next(tickets)) < pieces:
            work(piece)

    if threads <= 1:
        return drain()
    helpers = [_pool(os.getpid(), threads).submit(drain) for _ in range(threads - 1)]
    drain()
    for helper in helpers:
        helper.result()
    return None


@lru_cache(maxsize=4)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    # Keyed by process, because threads do not survive a fork.
    return ThreadPoolExecutor(threads - 1, thread_name_prefix="gossamer")
