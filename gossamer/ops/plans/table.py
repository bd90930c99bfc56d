"""The choice that the table makes: a line of it, fitted to the channels, and the work divided."""

from dataclasses import replace

from gossamer.ops.plans.chips import INTERPRETER, chip
from gossamer.ops.plans.choice import Choice, Demand, Tile
from gossamer.ops.plans.dataflow import cost_of, dataflow
from gossamer.ops.plans.tiles import CONV, WEIGHT_GRAD, Line
from gossamer.ops.plans.work import limit, parts

NARROWEST = 16  # a matrix instruction has no fewer columns or channels
_TABLES = {"conv": CONV, "weight_grad": WEIGHT_GRAD}
_LIKE = {"rdna": "cdna", "consumer": "ampere", "blackwell": "hopper"}


def choice(demand: Demand, scale: int, precision: str) -> Choice:
    """What the table says.

    Args:
        demand: what is computed.
        scale: of its rows, see `gossamer.ops.plans.store.scale`.
        precision: of its products.
    """
    gpu, cost = chip(demand.arch), cost_of(demand.dtype, precision)
    flow, _ = dataflow(demand, cost)
    tile = _tile(demand, scale, lines(demand.op, gpu.family, cost))
    if demand.op == "weight_grad":
        count = parts(demand, scale, tile, gpu.processors)
        return Choice(flow, tile, 0, count, precision)
    bound = 0 if flow == "planes" else limit(demand, scale, tile, gpu.processors)
    return Choice(flow, tile, bound, 0, precision)


def lines(op: str, family: str, cost: str) -> tuple[Line, ...]:
    """The part of the table that a problem looks into."""
    table = _TABLES[op]
    width = "half" if cost == "half" or family == INTERPRETER else "float"
    for name in (family, _LIKE.get(family, family)):
        if found := table.get((name, cost)) or table.get((name, width)):
            return found
    raise ValueError(f"the table has no line for {op} on {family} in {cost}")


def _tile(demand: Demand, scale: int, table: tuple[Line, ...]) -> Tile:
    gradient = demand.op == "weight_grad"
    widest = max(demand.inputs, demand.outputs) if gradient else demand.outputs
    found = next(each.tile for each in table if widest <= each.channels and 1 << scale <= each.rows)
    step = min(found.channels, _covering(demand.inputs))
    if not gradient:
        step = _step(demand.inputs, step)
    return replace(found, columns=min(found.columns, _covering(demand.outputs)), channels=step)


def _step(channels: int, most: int) -> int:
    """Channels a step: so many that the last step is a whole one too, where that can be."""
    divisors = (step for step in (most, most // 2, most // 4) if step >= NARROWEST)
    return next((step for step in divisors if channels % step == 0), most)


def _covering(channels: int) -> int:
    """The width of the narrowest tile that has room for all channels."""
    return max(NARROWEST, 1 << (channels - 1).bit_length())
