"""The way to a layer's result in spconv 1.x, where all layers with one key have one rulebook."""

import warnings
from collections.abc import Sequence
from math import prod
from typing import Protocol

from gossamer.compat.arrays.rulebooks import rulebook_of
from gossamer.compat.layers import routing
from gossamer.compat.layers.routing import Route
from gossamer.compat.older.indices import Indices, Made
from gossamer.compat.older.kernels import seeing_itself
from gossamer.compat.older.tensor import SparseConvTensor
from gossamer.compat.rows.placed import Ends, Placed
from gossamer.compat.rows.sites import Link, Rows, Sites
from gossamer.geometry import Geometry

Data = Indices | Sequence  # the second is a plain tuple of five, which a program put there


class Layer(Protocol):
    """What a layer says about its kernel and its rulebook."""

    kernel_size: list[int]
    stride: list[int]
    padding: list[int]
    dilation: list[int]
    output_padding: list[int]
    subm: bool
    transposed: bool
    indice_key: str | None
    shares_keys: bool


def made_for(layer: Layer) -> Made:
    """The kernel of a layer."""
    moves = (layer.stride, layer.padding, layer.output_padding)
    return Made(
        layer.subm,
        layer.transposed,
        tuple(layer.kernel_size),
        tuple(layer.dilation),
        () if layer.subm else tuple(tuple(move) for move in moves),
    )


def new(
    x: SparseConvTensor, layer: Layer, kernel: Geometry, bound: tuple[int, ...] | None = None
) -> Route:
    """The route through a rulebook built for `kernel`, kept under the layer's key if it has one.

    Args:
        x: the tensor that is read. Its `indice_dict` gets the rulebook, so that other layers that
            read the same tensor find it.
        layer: what reads it.
        kernel: its geometry.
        bound: the output's spatial shape, for a generative kernel.
    """
    place = x._place()
    link, target = routing.linked(place, kernel, bound)
    if layer.subm:
        link = seeing_itself(link, kernel)
    if layer.indice_key is not None:
        x.indice_dict[layer.indice_key] = Indices(link, Ends(place, target), made_for(layer))
    return Route(link, target, x.indice_dict)


def again(x: SparseConvTensor, layer: Layer, data: Data, shape: Sequence[int]) -> Route:
    """The route through the rulebook that another layer with the same key built.

    Args:
        x: the tensor that is read.
        layer: what reads it.
        data: what it found under its key.
        shape: the output's spatial shape by the layer's own kernel.

    Raises:
        ValueError: the rulebook is of other rows, or of a kernel that this layer can't share.
    """
    found = _found(data, shape, x.batch_size)
    if found.made != made_for(layer):
        _check_shared(layer, found, shape)
    routing._adopt(x, found.ends.source, "layers")
    target = x._place() if layer.subm else found.ends.target.untouched()
    return Route(found.link, target, x.indice_dict)


def back(x: SparseConvTensor, layer: Layer, data: Data | None) -> Route:
    """The route back to the rows from which a layer with the same key came.

    Raises:
        AssertionError: there is no such layer, or its kernel has another number of taps.
        ValueError: `x` has not the rows it made, or its kernel is one that this can't share.
    """
    assert data is not None, (
        f"indice_key is {layer.indice_key!r}, and no layer before this inverse convolution has "
        "it; give it to the convolution that is to be undone"
    )
    found = _found(data, x.spatial_shape, x.batch_size)
    taps = found.link.rulebook.taps
    assert prod(layer.kernel_size) == taps, (
        "inverse conv must have same kernel size as its couple conv: kernel_size is "
        f"{layer.kernel_size} and the rulebook under indice_key {layer.indice_key!r} has {taps} "
        "taps"
    )
    if found.made is not None and found.made.kernel_size != tuple(layer.kernel_size):
        _share(layer, found)
    routing._adopt(x, found.ends.target, "layers")
    return Route(found.link.T, found.ends.source.untouched(), x.indice_dict)


def _found(data: Data, shape: Sequence[int], batch: int) -> Indices:
    """What is under a key; `shape` is that of the rows written, which a plain tuple has not."""
    if isinstance(data, Indices):
        return data
    outids, indices, pairs, counts, source_shape = data
    inputs, outputs = len(indices), len(outids)
    rulebook = rulebook_of([pairs, counts], inputs, outputs, inverse=False, subm=False)
    source = Placed(Sites.of(indices, source_shape, batch), indices)
    target = Placed(Sites.of(outids, shape, batch), outids)
    return Indices(Link(Rows(inputs), Rows(outputs), rulebook), Ends(source, target), None)


def _check_shared(layer: Layer, found: Indices, shape: Sequence[int]) -> None:
    """Let a layer use a rulebook that was made for another kernel, where that has a meaning.

    Raises:
        ValueError: it has none, or the layer is not to.
    """
    taps, mine = found.link.rulebook.taps, prod(layer.kernel_size)
    target = found.ends.target.sites.coords.spatial_shape
    kept = len(found.link.source) == len(found.link.target)
    if mine < taps or tuple(shape) != target or (layer.subm and not kept):
        raise ValueError(
            f"indice_key {layer.indice_key!r} has a rulebook of {taps} taps that leads to "
            f"{len(found.link.target)} rows on {target}; this layer's kernel has {mine} taps and "
            f"leads to {tuple(shape)}{', with the rows it gets' if layer.subm else ''}; choose "
            "another key"
        )
    if found.made is not None or mine != taps:
        _share(layer, found)


def _share(layer: Layer, found: Indices) -> None:
    taps, mine = found.link.rulebook.taps, prod(layer.kernel_size)
    which = f"kernel_size {list(found.made.kernel_size)}" if found.made else f"{taps} taps"
    about = (
        f"{type(layer).__name__} with kernel_size {layer.kernel_size} has indice_key "
        f"{layer.indice_key!r}, under which there is a rulebook for another kernel, of {which}"
    )
    if not layer.shares_keys:
        raise ValueError(
            f"{about}; choose another key, or set shares_keys = True on the layer or on "
            "SparseConvolution, to use that rulebook as spconv 1.x does"
        )
    warnings.warn(
        f"{about}; that one is used, as in spconv 1.x, with the first {taps} of this layer's "
        f"{mine} taps. Networks that were trained so count on it; for a new one choose another "
        "key. SparseConvolution.shares_keys = False makes this an error",
        stacklevel=2,
    )
