"""The way from a tensor's rows to a layer's result: built, found under a key, or read backwards."""

from functools import lru_cache
from typing import NamedTuple, Protocol

from gossamer.compat.arrays.indice_data import (
    BuiltImplicitGemmIndiceData,
    BuiltIndiceData,
    ImplicitGemmIndiceData,
    IndiceData,
)
from gossamer.compat.arrays.layouts import link_of_pairs, link_of_table
from gossamer.compat.rows.placed import Ends, Placed
from gossamer.compat.rows.sites import Link, Sites
from gossamer.compat.spconv.core import ConvAlgo
from gossamer.compat.spconv.pytorch.core import SparseConvTensor
from gossamer.geometry import Geometry

Axes = tuple[int, ...]
Data = IndiceData | ImplicitGemmIndiceData


class Layer(Protocol):
    """What a layer says about its kernel and its rulebook."""

    kernel_size: list[int]
    stride: list[int]
    padding: list[int]
    dilation: list[int]
    subm: bool
    indice_key: str | None
    algo: ConvAlgo


class Route(NamedTuple):
    """The way from a tensor's rows to those of the result."""

    link: Link
    target: Placed
    indice_dict: dict


@lru_cache(maxsize=1024)
def geometry(kind: str, size: Axes, stride: Axes, padding: Axes, dilation: Axes) -> Geometry:
    """`Geometry.of`, kept: a layer's attributes may change, so it asks each time it runs.

    Raises:
        RuntimeError: an even submanifold kernel.
    """
    if kind == "submanifold":
        if any(edge % 2 == 0 for edge in size):
            raise RuntimeError(
                f"kernel_size is {list(size)}; subm only support odd ksize, which has a centre; "
                "use an odd one, or a SparseConv"
            )
        stride = (1,) * len(size)
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    return Geometry.of(kind, len(size), size, **options)


def geometry_of(layer: Layer, kind: str) -> Geometry:
    """The kernel of a layer as a geometry of some kind."""
    sizes = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    return geometry(kind, *map(tuple, sizes))


def new(x: SparseConvTensor, layer: Layer, kernel: Geometry, bound: Axes | None = None) -> Route:
    """The route through a rulebook built for `kernel`, kept under the layer's key if it has one.

    Args:
        x: the tensor that is read.
        layer: what reads it.
        kernel: its geometry.
        bound: the output's spatial shape, for a generative kernel.

    Raises:
        AssertionError: there is a rulebook under that key already.
    """
    place = x._place()
    link, target = linked(place, kernel, bound)
    if layer.indice_key is None:
        return Route(link, target, x.indice_dict)
    assert layer.indice_key not in x.indice_dict, (
        f"your indice key {layer.indice_key} already exists in this sparse tensor; only a "
        "submanifold or inverse convolution can use a rulebook again; choose another key"
    )
    data = kept(layer, link, Ends(place, target))
    return Route(link, target, {**x.indice_dict, layer.indice_key: data})


def linked(place: Placed, kernel: Geometry, bound: Axes | None = None) -> tuple[Link, Placed]:
    """The rulebook of `kernel` on the sites of `place`, and where it leads."""
    submanifold = kernel.kind == "submanifold"
    target = place if submanifold else Placed(place.sites.led_to(kernel, bound))
    rulebook = place.sites.coords.rulebook(kernel, bound)
    return Link(place.sites.rows, target.sites.rows, rulebook, submanifold), target


def kept(layer: Layer, link: Link, ends: Ends) -> Data:
    """A rulebook as it is kept under an indice key."""
    native = layer.algo == ConvAlgo.Native
    return (BuiltIndiceData if native else BuiltImplicitGemmIndiceData)(
        link,
        ends,
        spatial_shape=list(ends.source.sites.coords.spatial_shape or ()),
        out_spatial_shape=list(ends.target.sites.coords.spatial_shape or ()),
        is_subm=link.submanifold,
        algo=layer.algo,
        ksize=list(layer.kernel_size),
        stride=list(layer.stride),
        dilation=list(layer.dilation),
        padding=list(layer.padding),
    )


def again(x: SparseConvTensor, layer: Layer, data: Data) -> Route:
    """The route through the rulebook that another submanifold layer built.

    Raises:
        AssertionError: either layer is not submanifold, or has another algorithm.
        ValueError: kernel, dilation or spatial shape differ, or the sites themselves.
    """
    _check_algo(layer, data)
    assert layer.subm and data.is_subm, (
        f"only support reuse subm indices: indice_key {layer.indice_key!r} was used by a layer "
        f"that is {'' if data.is_subm else 'not '}submanifold, and this one is "
        f"{'' if layer.subm else 'not '}submanifold; choose another key"
    )
    wanted = {"kernel size": data.ksize, "dilation": data.dilation}
    came = {"kernel size": layer.kernel_size, "dilation": layer.dilation}
    wanted["spatial structure"], came["spatial structure"] = data.spatial_shape, x.spatial_shape
    for what, expected in wanted.items():
        _same("subm", what, expected, came[what])
    ends = _ends(data, x.batch_size)
    _adopt(x, ends.source, "subm")
    return Route(_link(data, ends), x._place(), x.indice_dict)


def back(x: SparseConvTensor, layer: Layer, data: Data | None) -> Route:
    """The route back to the rows from which a layer with the same key came.

    Raises:
        AssertionError: there is no such layer, it is submanifold, or has another algorithm.
        ValueError: kernel or spatial shape differ, or the sites are not those it made.
    """
    assert data is not None, (
        f"indice_key is {layer.indice_key!r}, and no layer before this inverse convolution has "
        "it; give it to the convolution or pooling that is to be undone"
    )
    _check_algo(layer, data)
    assert data.is_subm is False, (
        "inverse conv can only be used with standard conv and pool ops; indice_key "
        f"{layer.indice_key!r} is a submanifold layer's"
    )
    _same("Inverse", "kernel size", data.ksize, layer.kernel_size)
    _same("Inverse", "spatial structure", data.out_spatial_shape, x.spatial_shape)
    ends = _ends(data, x.batch_size)
    _adopt(x, ends.target, "Inverse")
    return Route(_link(data, ends).T, ends.source.untouched(), x.indice_dict)


def _check_algo(layer: Layer, data: Data) -> None:
    assert layer.algo == data.algo, (
        "you must provide same algo to layers share same indice key: indice_key "
        f"{layer.indice_key!r} has {data.algo}, this layer {layer.algo}"
    )


def _same(who: str, what: str, expected: list[int], came: list[int]) -> None:
    if list(expected) != list(came):
        raise ValueError(
            f"{who} with same indice_key must have same {what}: expect {list(expected)}, this "
            f"layer has {list(came)}; choose another key"
        )


def _adopt(x: SparseConvTensor, placed: Placed, who: str) -> None:
    """Let `x` lie on the very sites of a kept rulebook, if they are its own."""
    own = x._place()
    if own.sites is placed.sites:
        return
    if not own.sites.same(placed.sites):
        raise ValueError(
            f"{who} with same indice_key must have same indices: the rulebook was built for "
            f"{len(placed.sites.rows)} rows, this input has {len(own.sites.rows)}, and they are "
            "not the same sites; choose another key, or start with an empty indice_dict"
        )
    x._relocate(Placed(placed.sites, x.indices))


def _ends(data: Data, batch: int) -> Ends:
    if isinstance(data, (BuiltIndiceData, BuiltImplicitGemmIndiceData)):
        return data.ends
    sides = ((data.indices, data.spatial_shape), (data.out_indices, data.out_spatial_shape))
    source, target = (Placed(Sites.of(rows, shape, batch), rows) for rows, shape in sides)
    return Ends(source, target)


def _link(data: Data, ends: Ends) -> Link:
    if isinstance(data, (BuiltIndiceData, BuiltImplicitGemmIndiceData)):
        return data.link
    inputs, outputs = len(data.indices), len(data.out_indices)
    if isinstance(data, IndiceData):
        lists = data.indice_pairs, data.indice_pair_num
        return link_of_pairs(*lists, inputs, outputs, data.is_subm)
    table = data.pair_fwd[0] if data.pair_fwd.ndim == 3 else data.pair_fwd
    return link_of_table(table, inputs)
