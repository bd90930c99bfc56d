"""Which order the rows of a table are in: the rule, and its reason in a sentence.

Rows are computed in tiles, and a tile walks every tap that any of its rows has. On LiDAR scans one
order by mask makes 60 to 130 % more products than there are pairs; an order for each plane of
the kernel makes 8 to 14 % more, and pays with float32 sums of the other planes, which are written
and read once. What is saved grows with the product of input and output channels, the price with
the output channels alone, so enough channels pay; and the dearer a product is, the fewer they are.

The rule does not look at the number of rows: a network's tables are then made alike for every scan.
"""

import torch

from gossamer.ops.plans.choice import Demand

ENOUGH = {"half": 128, "tf32": 64, "tf32x3": 32, "ieee": 32}
"""Channels from which planes pay, by what a product costs."""
CUBES = (27, 125, 343)
"""Taps of a kernel whose first axis makes planes that are worth an order of their own."""


def cost_of(dtype: torch.dtype, precision: str) -> str:
    """What a product costs, one of ENOUGH: that of half types, or of a precision of float32."""
    return precision if dtype == torch.float32 else "half"


def dataflow(demand: Demand, cost: str) -> tuple[str, str]:
    """One of DATAFLOWS, and why.

    Args:
        demand: what is computed.
        cost: of a product, one of ENOUGH.
    """
    # The smaller, so that a convolution and its gradient want the same table.
    channels, enough = min(demand.inputs, demand.outputs), ENOUGH[cost]
    if demand.taps == 1:
        return "natural", "one tap: every row of a tile has it, whatever the order"
    if demand.inputs == 1:
        return "natural", "one input channel a group: reading rows in their order costs least"
    if demand.taps not in CUBES:
        return "sorted", f"{demand.taps} taps are too few a plane for an order of their own"
    kind = {"half": "16-bit", "ieee": "float32"}.get(cost, cost)
    if channels < enough:
        return "sorted", f"under {enough} channels, writing {kind} sums a plane costs more"
    return "planes", f"from {enough} channels, fewer {kind} products pay for sums a plane"
