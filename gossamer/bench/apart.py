"""A measurement in a process of its own, whose libraries wait for work without spinning."""

import logging
import os
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from gossamer.bench.plan import Plan
from gossamer.bench.results import Results
from gossamer.bench.run import measure

Result = TypeVar("Result")


def measure_apart(plan: Plan) -> Results:
    """The results of a plan, measured in a fresh process, with a progress bar on stderr."""
    return in_fresh_process(_measure, plan)


def in_fresh_process(work: Callable[..., Result], *arguments: object) -> Result:
    """What `work` returns, or raises, in a process that imports everything anew.

    OpenMP reads its settings when it is loaded, which is when torch is imported. A thread that
    spins while it waits would slow everybody else down, so there it does not.

    Raises:
        RuntimeError: the process was killed.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            return process.submit(work, *arguments).result()
    except BrokenProcessPool:
        raise RuntimeError(
            "the measuring process was killed, most likely for lack of memory; use larger voxels "
            "or fewer channels"
        ) from None


def _measure(plan: Plan) -> Results:
    # That a peer uses torch in an outdated way is no news to whoever measures.
    warnings.simplefilter("ignore")
    logging.getLogger("torch").setLevel(logging.ERROR)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(file=sys.stderr)
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        task = progress.add_task("reading the scan", total=None)
        return measure(
            plan,
            lambda what, done, total: progress.update(
                task, description=what, completed=done, total=total
            ),
        )
