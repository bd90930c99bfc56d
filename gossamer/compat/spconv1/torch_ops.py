"""`torch.ops.spconv`, what spconv 1.2 registers: lists that count every tap, filters as RSCK.

The convolutions and poolings are written in this library's own ops, so they have gradients of every
order. `nms` and `pillar_scatter_*` are not there.
"""

from collections.abc import Sequence
from functools import cache
from math import prod

import torch
from torch import Tensor

from gossamer.checks import per_axis
from gossamer.compat.arrays.building import conv_size
from gossamer.compat.arrays.conv import LINEAR, lists
from gossamer.compat.arrays.layouts import full_lists
from gossamer.compat.arrays.pool import max_of_lists, max_rows, scatter_to_winners
from gossamer.compat.older.kernels import seeing_itself, submanifold
from gossamer.compat.rows.sites import Link, Sites
from gossamer.geometry import Geometry
from gossamer.ops.register import compose, new_size
from gossamer.ops.register import register as _op

Ints = Sequence[int]
NAMES = (
    "get_indice_pairs",
    "indice_conv",
    "indice_conv_batch",
    "indice_conv_backward",
    "fused_indice_conv_bn",
    "indice_maxpool",
    "indice_maxpool_backward",
)


@cache
def register() -> None:
    """Put the ops into `torch.ops.spconv`; a second call changes nothing.

    Raises:
        ImportError: spconv's own library has put its ops there.
    """
    if there := [name for name in NAMES if hasattr(torch.ops.spconv, name)]:
        raise ImportError(
            f"torch.ops.spconv has {', '.join(there)} already, from a library of spconv 1.x that "
            "this process has loaded; start another process, or uninstall that library"
        )
    arrays = "Tensor indice_pairs, Tensor indice_num"
    way = "int inverse, int subm"
    conv = f"Tensor features, Tensor filters, {arrays}, SymInt num_act_out, {way}"
    _op(
        "get_indice_pairs(Tensor indices, SymInt batch_size, SymInt[] out_spatial_shape,"
        " SymInt[] spatial_shape, int[] kernel_size, int[] stride, int[] padding, int[] dilation,"
        " int[] out_padding, int subm, int transpose, int use_hash) -> Tensor[]",
        run=_pairs,
        shape=_pairs_shape,
        namespace="spconv",
    )
    for schema, run in (
        (f"indice_conv({conv}, int algo) -> Tensor", _conv),
        (f"indice_conv_batch({conv}, bool batch_scatter) -> Tensor", _conv),
        (
            f"indice_conv_backward(Tensor features, Tensor filters, Tensor out_grad, {arrays},"
            f" {way}, int algo) -> Tensor[]",
            _conv_backward,
        ),
        (
            f"fused_indice_conv_bn(Tensor features, Tensor filters, Tensor bias, {arrays},"
            f" SymInt num_act_out, {way}) -> Tensor",
            _fused,
        ),
        (f"indice_maxpool(Tensor features, {arrays}, SymInt num_act) -> Tensor", max_of_lists),
        (
            f"indice_maxpool_backward(Tensor features, Tensor out_features, Tensor out_grad,"
            f" {arrays}) -> Tensor",
            _maxpool_backward,
        ),
    ):
        compose(schema, run, namespace="spconv")


def _pairs(
    indices: Tensor, batch_size: int, out_shape: Ints, shape: Ints, kernel: Ints, *rest
) -> list[Tensor]:
    """Rows written, lists [2, K, N] and counts [K], from `indices` [N, 1+D] int32.

    Args:
        rest: stride, padding, dilation and output padding, D ints each; whether outputs are the
            input's rows (`stride` and `padding` are then 1 and `kernel // 2`, and `dilation` does
            not widen the padding); whether outputs are all sites that taps reach; and one more.

    Raises:
        ValueError: a wrong shape, a row out of range, an output shape that does not follow.
    """
    stride, padding, dilation, _, subm, transpose, _ = rest
    source = Sites.of(indices, shape, batch_size)
    size = per_axis("kernel_size", kernel, source.coords.ndim, 1)
    taps = prod(size)
    if subm:
        triples = _submanifold(source, size, per_axis("dilation", dilation, len(size), 1))
        return [indices.clone(), *full_lists(triples, taps, len(indices))]
    geometry = Geometry.of(
        "generative" if transpose else "regular",
        len(size),
        size,
        stride=stride,
        padding=padding,
        dilation=dilation,
    )
    bound = _bound(out_shape, conv_size(shape, kernel, stride, padding, dilation), transpose)
    target = source.led_to(geometry, bound)
    link = Link(source.rows, target.rows, source.coords.rulebook(geometry, bound))
    return [target.coords.rows, *full_lists(link.triples(), taps, len(indices))]


def _bound(out_shape: Ints, follows: Ints, transpose: int) -> tuple[int, ...] | None:
    if min(out_shape) < 1 or (not transpose and list(out_shape) != list(follows)):
        raise ValueError(
            f"out_spatial_shape is {list(out_shape)}; wanted what the kernel makes of "
            f"spatial_shape, 1 or more an axis{'' if transpose else f': {list(follows)}'}"
        )
    return tuple(out_shape) if transpose else None


def _submanifold(source: Sites, kernel: Ints, dilation: Ints) -> Tensor:
    """[P, 3] int64: the pairs of a submanifold kernel, each row being its own middle neighbour.

    Upstream's convolution multiplies the row itself there and never looks at the lists; here the
    lists say so.
    """
    geometry = submanifold(tuple(kernel), tuple(dilation))
    rulebook = source.coords.rulebook(geometry)
    link = Link(source.rows, source.rows, rulebook, submanifold=True)
    return seeing_itself(link, geometry).triples()


def _pairs_shape(indices: Tensor, _batch, _out, _shape, kernel: Ints, *rest) -> list[Tensor]:
    *_, subm, _, _ = rest
    taps, rows = prod(kernel), indices.shape[0] if subm else new_size()
    return [
        indices.new_empty(rows, indices.shape[1], dtype=indices.dtype if subm else torch.int32),
        indices.new_empty(2, taps, indices.shape[0], dtype=torch.int32),
        indices.new_empty(taps, dtype=torch.int32),
    ]


def _conv(features: Tensor, filters: Tensor, pairs: Tensor, num: Tensor, rows: int, *rest):
    inverse, *_ = rest
    krsc = filters.movedim(-1, 0)
    return lists.conv(features, krsc, pairs, num, rows, bool(inverse), False, *LINEAR)


def _fused(features: Tensor, filters: Tensor, bias: Tensor, *rest) -> Tensor:
    pairs, num, rows, inverse, _ = rest
    krsc, way = filters.movedim(-1, 0), (rows, bool(inverse), False)
    return lists.conv(features, krsc, pairs, num, *way, bias, *LINEAR[1:])


def _conv_backward(features: Tensor, filters: Tensor, out_grad: Tensor, *rest) -> list[Tensor]:
    pairs, num, inverse, _, _ = rest
    flipped, back = filters.transpose(-1, -2).movedim(-1, 0), not inverse
    way = features.shape[0], back, False
    grad = lists.conv(out_grad, flipped, pairs, num, *way, *LINEAR)
    grad_filters = lists.weight_grad(features, out_grad, pairs, num, bool(inverse), False)
    return [grad, grad_filters.permute(1, 2, 0).reshape(filters.shape)]


def _maxpool_backward(
    features: Tensor, _out_features: Tensor, out_grad: Tensor, pairs: Tensor, num: Tensor
) -> Tensor:
    winner = max_rows(features, [pairs, num], out_grad.shape[0], False)
    return scatter_to_winners(out_grad, winner, features.shape[0])
