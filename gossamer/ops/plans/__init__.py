"""How a problem is computed on a GPU: a dataflow, a tile, a precision, from a table.

What `gossamer.tune` measured on this device comes before the table; nothing is measured unasked.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import lru_cache

from gossamer.checks import one_of
from gossamer.ops.plans import store, table
from gossamer.ops.plans.chips import INTERPRETER, architecture, chip, device_name
from gossamer.ops.plans.choice import DATAFLOWS, Choice, Demand, Tile
from gossamer.ops.plans.precision import precision, torch_setting

__all__ = [
    "DATAFLOWS",
    "INTERPRETER",
    "Choice",
    "Demand",
    "Tile",
    "architecture",
    "choose",
    "in_dataflow",
    "use",
]

Change = Callable[[Demand, Choice], Choice]
_change: ContextVar[Change | None] = ContextVar("changed_choice", default=None)


def choose(demand: Demand, rows: int) -> Choice:
    """The choice for `demand` on `rows` output rows: as asked for by `use`, measured, or the table.

    Its dataflow and its precision are the same for every number of rows.
    """
    choice = _choose(demand, store.scale(rows), torch_setting())
    change = _change.get()
    return choice if change is None else change(demand, choice)


@contextmanager
def use(change: Change) -> Iterator[None]:
    """Compute inside the block as `change` says.

    Args:
        change: takes a demand and what would be chosen for it, and returns the choice.
    """
    token = _change.set(change)
    try:
        yield
    finally:
        _change.reset(token)


@contextmanager
def in_dataflow(name: str) -> Iterator[None]:
    """Build rulebooks inside the block in one dataflow, where a table would choose among them.

    TorchSparse's conv modes 0, 1 and 2 are DATAFLOWS, in that order.

    Args:
        name: one of DATAFLOWS.

    Raises:
        ValueError: there is no such dataflow.
    """
    one_of("dataflow", name, DATAFLOWS)
    with use(lambda demand, choice: replace(choice, dataflow=name)):
        yield


@lru_cache(maxsize=4096)
def _choose(demand: Demand, scale: int, setting: str) -> Choice:
    family = chip(demand.arch).family
    choice = table.choice(demand, scale, precision(family, demand.dtype, setting))
    measured = store.measured(device_name(demand.arch))
    if measured is None:
        return choice
    found = measured.choice(demand, scale, choice)
    return replace(found, precision=choice.precision)


def forget() -> None:
    """Read what was measured anew at the next choice."""
    store.measured.cache_clear()
    _choose.cache_clear()
