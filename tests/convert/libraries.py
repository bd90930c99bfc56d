"""Checkpoints as each library writes them, tap by tap, by formulas of their own."""

from dataclasses import dataclass
from itertools import product
from math import prod

import torch
from torch import Tensor

FORMATS = (
    "native",
    "spconv1",
    "spconv2",
    "torchsparse",
    "torchsparse14",
    "minkowski",
    "mmdet3d",
)


@dataclass(frozen=True)
class Layer:
    """A sparse convolution with a batch norm behind it.

    Args:
        name: its path.
        size: taps an axis.
        channels: C_in and C_out.
        strided: whether it has a stride, which matters if it has one tap.
        bias: whether it has one.
        norm: path of the norm behind it, if any.
    """

    name: str
    size: tuple[int, ...]
    channels: tuple[int, int]
    strided: bool = False
    bias: bool = False
    norm: str = ""
    dtype: torch.dtype = torch.float32

    def tap(self, place: tuple[int, ...]) -> Tensor:
        """[C_in, C_out] of one tap, numbers that no other place has."""
        rows, columns = self.channels
        code = sum(at * 11**axis for axis, at in enumerate(place)) + 1
        numbers = torch.arange(rows * columns).reshape(rows, columns) * 7 + code * 13
        return (numbers % 2039).to(self.dtype)

    @property
    def places(self):
        return product(*map(range, self.size))


def row_major(place, size) -> int:
    index = 0
    for at, extent in zip(place, size, strict=True):
        index = index * extent + at
    return index


def column_major(place, size) -> int:
    index = 0
    for at, extent in zip(reversed(place), reversed(size), strict=True):
        index = index * extent + at
    return index


def weight(layer: Layer, library: str) -> Tensor:
    """The weight as a library stores it."""
    taps, (rows, columns), size = prod(layer.size), layer.channels, layer.size
    plain = taps == 1 and not layer.strided
    if library in ("spconv2", "mmdet3d", "RSKC"):
        if plain:
            shape = (*size, columns, rows) if library == "RSKC" else (columns, *size, rows)
            return layer.tap((0,) * len(size)).clone().reshape(shape)
        if library == "RSKC":
            stored = torch.empty(*size, columns, rows, dtype=layer.dtype)
            for place in layer.places:
                stored[place] = layer.tap(place).T
            return stored
        stored = torch.empty(columns, *size, rows, dtype=layer.dtype)
        for place in layer.places:
            stored[(slice(None), *place)] = layer.tap(place).T
        return stored
    if library == "spconv1":
        stored = torch.empty(*size, rows, columns, dtype=layer.dtype)
        for place in layer.places:
            stored[place] = layer.tap(place)
        return stored
    stored = torch.empty(taps, rows, columns, dtype=layer.dtype)
    first = library == "minkowski" or (library.startswith("torchsparse") and taps % 2 == 1)
    for place in layer.places:
        stored[(column_major if first else row_major)(place, size)] = layer.tap(place)
    flat = library == "torchsparse14" or (library in ("torchsparse", "minkowski") and plain)
    return stored[0] if flat and taps == 1 else stored


def checkpoint(layers: list[Layer], library: str, prefix: str = "") -> dict[str, Tensor]:
    """The state_dict of some layers, a dense layer behind them."""
    kernel = library.startswith("torchsparse") or library == "minkowski"
    state: dict[str, Tensor] = {}
    for layer in layers:
        state[f"{layer.name}.{'kernel' if kernel else 'weight'}"] = weight(layer, library)
        if layer.bias:
            bias = torch.arange(layer.channels[1]).to(layer.dtype)
            state[f"{layer.name}.bias"] = bias[None] if library == "minkowski" else bias
        if layer.norm:
            norm = f"{layer.norm}.bn" if library == "minkowski" else layer.norm
            for name in ("weight", "bias", "running_mean", "running_var"):
                state[f"{norm}.{name}"] = torch.full((layer.channels[1],), float(len(name)))
            state[f"{norm}.num_batches_tracked"] = torch.tensor(len(layers))
    state["head.weight"] = torch.arange(60.0).reshape(5, 12)
    state["head.bias"] = torch.arange(5.0)
    return {prefix + key: value for key, value in state.items()}


def same(one: dict, other: dict) -> bool:
    """Whether two state_dicts have the same keys in the same order, and the same bits."""
    return list(one) == list(other) and all(
        one[key].dtype == other[key].dtype and torch.equal(one[key], other[key]) for key in one
    )
