"""mmcv's sparse layers over gossamer.

They are written in Python over a few compiled functions, and those are replaced. The classes of
`mmcv.ops` stay what they are, so it does not matter what was imported, subclassed or registered
before; weights keep mmcv's layout, [*k, C_in, C_out], and `features` can be assigned.

So does a rule that published Cylinder3D checkpoints were trained with: layers that share an
indice_key share the rulebook of the first one, whatever kernels they have themselves, and use only
as many taps of their filters, from the first on, as that rulebook has.
"""

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from gossamer.compat.arrays.building import deconv_size
from gossamer.compat.arrays.layouts import full_lists, link_of_pairs
from gossamer.compat.older.kernels import seeing_itself, submanifold
from gossamer.compat.rows.sites import Link, Sites
from gossamer.geometry import Geometry

PerAxis = int | Sequence[int]
# The rulebook whose lists a tensor holds, so that a layer need not read them again; and how often
# these had been written into then.
LINKS = WeakTensorKeyDictionary()


def install() -> None:
    """From now on, the sparse layers of `mmcv.ops` in this process run on gossamer.

    Raises:
        ImportError: there is no `mmcv.ops`.
    """
    try:
        from mmcv.ops import sparse_functional, sparse_ops, sparse_pool
    except ImportError as error:
        raise ImportError(
            f"mmcv.ops can't be imported ({error}); mmcv-lite has none: pip install mmcv, or use "
            "spconv's layers by gossamer.compat.install('spconv')"
        ) from error
    for module in (sparse_functional, sparse_ops, sparse_pool):
        for name, function in REPLACED.items():
            if hasattr(module, name):
                setattr(module, name, function)


def get_indice_pairs(
    indices: Tensor,
    batch_size: int,
    spatial_shape: Sequence[int],
    ksize: PerAxis = 3,
    stride: PerAxis = 1,
    padding: PerAxis = 0,
    dilation: PerAxis = 1,
    out_padding: PerAxis = 0,
    subm: bool = False,
    transpose: bool = False,
    grid: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The rulebook of a kernel, as lists.

    Args:
        indices: [N, 1+D] int32, (batch, axes), in any order.
        batch_size: B.
        spatial_shape: D ints.
        ksize, stride, padding, dilation, out_padding: one int or D.
        subm: whether outputs are the input's sites; then stride and padding have nothing to say.
        transpose: whether outputs are the sites that taps reach.
        grid: not needed here.

    Returns:
        outids: [M, 1+D] int32, the rows that are written; `indices` itself for a submanifold one.
        indice_pairs: [K, 2, N] int32, for every tap the rows read and written, -1 past the count.
        indice_pair_num: [K] int32, the counts.

    Raises:
        ValueError: a coordinate is negative, or a batch index not below batch_size.
    """
    ndim = indices.shape[1] - 1
    sizes = [_per_axis(ndim, value) for value in (ksize, stride, padding, dilation, out_padding)]
    sites = Sites.of(indices, _holding(indices, spatial_shape), int(batch_size))
    target, link = _led(sites, sizes, bool(subm), bool(transpose))
    lists, counts = full_lists(link.triples(), link.rulebook.taps, len(sites.rows))
    pairs = lists.transpose(0, 1).contiguous()
    if not (subm and sites.rows.repeat):
        LINKS[pairs] = _written(pairs, counts), link
    return indices if subm else target.indices(), pairs, counts


def _led(
    sites: Sites, sizes: list[tuple[int, ...]], subm: bool, transpose: bool
) -> tuple[Sites, Link]:
    """The sites that a kernel leads to, and its rulebook."""
    ksize, stride, padding, dilation, _ = sizes
    if subm:
        kernel = submanifold(ksize, dilation)
        rulebook = sites.coords.rulebook(kernel)
        return sites, seeing_itself(Link(sites.rows, sites.rows, rulebook, True), kernel)
    kind = "generative" if transpose else "regular"
    kernel = Geometry.of(kind, len(ksize), ksize, stride=stride, padding=padding, dilation=dilation)
    shape = sites.coords.spatial_shape or ()
    bound = tuple(deconv_size(shape, *sizes)) if transpose else None
    target = sites.led_to(kernel, bound)
    return target, Link(sites.rows, target.rows, sites.coords.rulebook(kernel, bound))


def _per_axis(ndim: int, value: PerAxis) -> tuple[int, ...]:
    return tuple(int(v) for v in value) if isinstance(value, Sequence) else (int(value),) * ndim


def _holding(indices: Tensor, spatial_shape: Sequence[int]) -> list[int]:
    """`spatial_shape`, or as much more as the rows need."""
    shape = [int(n) for n in spatial_shape]
    if not len(indices):
        return shape
    reached = [int(c) + 1 for c in indices[:, 1:].amax(0)]
    if all(r <= n for r, n in zip(reached, shape, strict=True)):
        return shape
    warnings.warn(
        f"indices reach {[r - 1 for r in reached]}, outside spatial_shape {shape}; the grid is "
        "taken to be as large as they need; clip the coordinates, or give a larger spatial_shape",
        stacklevel=3,
    )
    return [max(pair) for pair in zip(reached, shape, strict=True)]


def indice_conv(
    features: Tensor,
    filters: Tensor,
    indice_pairs: Tensor,
    indice_pair_num: Tensor,
    num_activate_out: int,
    inverse: bool = False,
    subm: bool = False,
) -> Tensor:
    """[M, C_out]: a convolution along a rulebook.

    Args:
        features: [N, C_in].
        filters: [*k, C_in, C_out]; of its taps in a row the first K count.
        indice_pairs, indice_pair_num: [K, 2, any] and [K] int32, as get_indice_pairs returns them.
        num_activate_out: M.
        inverse: whether to read the rulebook backwards.
        subm: taken for the order of arguments.

    Raises:
        ValueError: filters has fewer than K taps, or the rulebook is of other rows.
    """
    ends = (len(features), int(num_activate_out))
    link = _link(indice_pairs, indice_pair_num, *(reversed(ends) if inverse else ends))
    link = link.T if inverse else link
    weight = filters.reshape(-1, *filters.shape[-2:])
    if len(weight) < len(indice_pairs):
        raise ValueError(
            f"filters has {len(weight)} taps and the rulebook {len(indice_pairs)}; of layers that "
            "share an indice_key the first has the smallest kernel; choose another key"
        )
    values = link.source.onto(features, "first" if link.submanifold else "sum")
    return link.target.back(link.convolve(values, weight[: len(indice_pairs)], None))


def indice_inverse_conv(
    features: Tensor,
    filters: Tensor,
    indice_pairs: Tensor,
    indice_pair_num: Tensor,
    num_activate_out: int,
) -> Tensor:
    """`indice_conv` with the rulebook read backwards."""
    return indice_conv(
        features, filters, indice_pairs, indice_pair_num, num_activate_out, inverse=True
    )


def fused_indice_conv(
    features: Tensor,
    filters: Tensor,
    bias: Tensor,
    indice_pairs: Tensor,
    indice_pair_num: Tensor,
    num_activate_out: int,
    inverse: bool,
    subm: bool,
) -> Tensor:
    """`indice_conv` and a bias [C_out]."""
    y = indice_conv(
        features, filters, indice_pairs, indice_pair_num, num_activate_out, inverse, subm
    )
    return y + bias


def indice_conv_backward(
    features: Tensor,
    filters: Tensor,
    out_bp: Tensor,
    indice_pairs: Tensor,
    indice_pair_num: Tensor,
    inverse: bool = False,
    subm: bool = False,
) -> tuple[Tensor, ...]:
    """The gradients of `indice_conv`, of features and of filters, for `out_bp` [M, C_out]."""
    with torch.enable_grad():
        leaves = features.detach().requires_grad_(), filters.detach().requires_grad_()
        y = indice_conv(*leaves, indice_pairs, indice_pair_num, len(out_bp), inverse, subm)
    return torch.autograd.grad(y, leaves, out_bp)


def indice_maxpool(
    features: Tensor, indice_pairs: Tensor, indice_pair_num: Tensor, num_activate_out: int
) -> Tensor:
    """[M, C]: the largest feature that each output reads, and 0 where it reads none.

    Raises:
        ValueError: the rulebook is of other rows.
    """
    link = _link(indice_pairs, indice_pair_num, len(features), int(num_activate_out))
    values = link.source.onto(features, "max")
    return link.target.back(link.rulebook.reduce(values, "max"))


def indice_maxpool_backward(
    features: Tensor,
    out_features: Tensor,
    out_bp: Tensor,
    indice_pairs: Tensor,
    indice_pair_num: Tensor,
) -> Tensor:
    """The gradient of `indice_maxpool` for `out_bp` [M, C]."""
    with torch.enable_grad():
        leaf = features.detach().requires_grad_()
        y = indice_maxpool(leaf, indice_pairs, indice_pair_num, len(out_bp))
    return torch.autograd.grad(y, leaf, out_bp)[0]


def _link(pairs: Tensor, counts: Tensor, inputs: int, outputs: int) -> Link:
    written, link = LINKS.get(pairs) or (None, None)
    if link is None or written != _written(pairs, counts):
        lists = pairs.transpose(0, 1), counts.to(pairs.device)
        link = link_of_pairs(*lists, inputs, outputs, submanifold=False)
        LINKS[pairs] = _written(pairs, counts), link
    if (len(link.source), len(link.target)) != (inputs, outputs):
        raise ValueError(
            f"the rulebook leads from {len(link.source)} rows to {len(link.target)}; wanted from "
            f"{inputs} to {outputs}; it was built for other sites, so choose another indice_key"
        )
    return link


def _written(*lists: Tensor) -> tuple[int | None, ...]:
    """How often each list has been written into; None where torch does not count."""
    return tuple(None if t.is_inference() else t._version for t in lists)


REPLACED = {
    "get_indice_pairs": get_indice_pairs,
    "indice_conv": indice_conv,
    "indice_subm_conv": indice_conv,
    "indice_inverse_conv": indice_inverse_conv,
    "indice_conv_backward": indice_conv_backward,
    "fused_indice_conv": fused_indice_conv,
    "indice_maxpool": indice_maxpool,
    "indice_maxpool_backward": indice_maxpool_backward,
}
