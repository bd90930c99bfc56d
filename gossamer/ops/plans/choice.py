"""The values that a choice is made of."""

from dataclasses import dataclass

import torch

DATAFLOWS = ("natural", "sorted", "planes")
"""How the rows of a table are ordered: as they are, by one mask, or by one mask a kernel plane."""


@dataclass(frozen=True)
class Demand:
    """What is to be computed, as far as the choice depends on it.

    Args:
        op: "conv" (its gradient of x too) or "weight_grad".
        arch: "sm_90", "gfx942" …, or "interpreter".
        dtype: of the features.
        inputs: input channels a group.
        outputs: output channels a group.
        taps: K.
    """

    op: str
    arch: str
    dtype: torch.dtype
    inputs: int
    outputs: int
    taps: int


@dataclass(frozen=True)
class Tile:
    """What one program computes, and how.

    Args:
        rows: output rows; pairs a step for a weight gradient.
        columns: output channels.
        channels: input channels a step.
        warps, stages: num_warps and num_stages of Triton.
    """

    rows: int
    columns: int
    channels: int
    warps: int
    stages: int


@dataclass(frozen=True)
class Choice:
    """How a demand is met.

    Args:
        dataflow: one of DATAFLOWS.
        tile: what one program computes.
        limit: taps that a program walks before it leaves the rest to another; 0 is no limit.
        parts: programs that a weight gradient's pairs are divided among; 0 elsewhere.
        precision: "ieee", "tf32" or "tf32x3", of float32 products.
    """

    dataflow: str
    tile: Tile
    limit: int
    parts: int
    precision: str
