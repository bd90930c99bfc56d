"""Sparse convolution."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from gossamer.compat.layers.graphs import outside_graphs
from gossamer.compat.layers.passing import through
from gossamer.compat.rows.sites import Link
from gossamer.compat.rows.values import Values
from gossamer.compat.torchsparse14.kernels import Axes, Kernel
from gossamer.compat.torchsparse14.maps import KernelMap
from gossamer.compat.torchsparse14.places import Place
from gossamer.compat.torchsparse14.tensor import SparseTensor, place_of
from gossamer.compat.voxelnets.given import check_kind, check_rows
from gossamer.nn.autocast import in_autocast_dtype

__all__ = ["conv3d"]


def conv3d(
    input: SparseTensor,
    weight: Tensor,
    kernel_size: int | Sequence[int],
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    dilation: int | Sequence[int] = 1,
    transposed: bool = False,
) -> SparseTensor:
    """A convolution, which keeps the rows where its stride is 1.

    Args:
        input: with C_in channels.
        weight: [K, C_in, C_out], or [C_in, C_out] for one tap; taps in the order of
            `get_kernel_offsets`.
        kernel_size, stride, dilation: one int or three.
        bias: [C_out].
        transposed: back to the rows of the finer stride, along the way a convolution of these
            sizes comes from there. Those rows are what `input.cmaps` has for that stride.

    Returns:
        A tensor that shares `cmaps` and `kmaps` with the input.

    Raises:
        TypeError: input is no SparseTensor, or feats or coords are no tensors.
        ValueError: a size is below 1, feats and coords have not as many rows, weight or bias have
            another shape, the coords are out of range, or the finer rows are unknown.
    """
    check_kind(input, SparseTensor)
    check_rows(input._values, input.coords)
    kernel = Kernel.of(kernel_size, stride, dilation)
    return outside_graphs(_convolved, input, weight, kernel, bias, transposed)


class Way(NamedTuple):
    """From the rows of a tensor to those of the result."""

    link: Link
    target: Place
    stride: Axes


def _convolved(
    x: SparseTensor, weight: Tensor, kernel: Kernel, bias: Tensor | None, transposed: bool
) -> SparseTensor:
    weight = _fitting(x, weight, kernel, bias)
    if kernel.pointwise:
        values, rows = x._values.at_hand, x._values.rows
        values, one, shift = in_autocast_dtype(values, weight[0], bias)
        y = values @ one
        out = x._with(Values(y if shift is None else y + shift, rows))
    else:
        way = _back(x, kernel) if transposed else _onward(x, kernel)
        out = x._on(way.target, way.stride, through(x._values, way.link, weight, bias))
    x.cmaps.setdefault(x.stride, x.coords)
    x.cmaps.setdefault(out.stride, out.coords)
    return out


def _onward(x: SparseTensor, kernel: Kernel) -> Way:
    source = x._where()
    target = source.coarser(x.stride, kernel) if kernel.strided else source
    link = source.link(x.stride, kernel, target)
    _note(x, x.stride, kernel, KernelMap(link, source, target))
    return Way(link, target, tuple(t * s for t, s in zip(x.stride, kernel.stride, strict=True)))


def _back(x: SparseTensor, kernel: Kernel) -> Way:
    strides = list(zip(x.stride, kernel.stride, strict=True))
    finer = tuple(t // s for t, s in strides)
    if any(t % s for t, s in strides):
        raise ValueError(
            f"stride is {kernel.stride}, transposed, and the input has stride {x.stride}; wanted "
            "one that divides it: a transposed convolution leads back to the voxels that a "
            "strided one came from"
        )
    coarse = x._where()
    fine = _came_from(x, finer, kernel, coarse)
    link = fine.link(finer, kernel, coarse)
    _note(x, finer, kernel, KernelMap(link, fine, coarse))
    return Way(link.T, fine, finer)


def _came_from(x: SparseTensor, finer: Axes, kernel: Kernel, coarse: Place) -> Place:
    """The rows that such a kernel led here from, or else those that `cmaps` has."""
    led = x.kmaps.get(_key(finer, kernel))
    if isinstance(led, KernelMap) and led.target is coarse and led.source.says(led.source.coords):
        return led.source
    coords = x.cmaps.get(finer, x.coords if finer == x.stride else None)
    if coords is None:
        raise ValueError(
            f"the voxels of stride {finer} are unknown: input.cmaps has {list(x.cmaps)}; a "
            "transposed convolution leads to voxels that were there before; take cmaps from the "
            f"tensor that had them (x.cmaps = y.cmaps), or say x.cmaps[{finer}] = coords"
        )
    return coarse if coords is x.coords else place_of(coords, x.kmaps)


def _note(x: SparseTensor, stride: Axes, kernel: Kernel, found: KernelMap) -> None:
    key = _key(stride, kernel)
    known = x.kmaps.get(key)
    if not isinstance(known, KernelMap) or known.link is not found.link:
        x.kmaps[key] = found


def _key(stride: Axes, kernel: Kernel) -> tuple[Axes, Axes, Axes, Axes]:
    return stride, kernel.size, kernel.stride, kernel.dilation


def _fitting(x: SparseTensor, weight: Tensor, kernel: Kernel, bias: Tensor | None) -> Tensor:
    """`weight` as [K, C_in, C_out]."""
    count = kernel.size[0] * kernel.size[1] * kernel.size[2]
    whole = weight.unsqueeze(0) if weight.ndim == 2 else weight
    channels = x._values.at_hand.shape[1:]
    if whole.ndim != 3 or whole.shape[0] != count or channels != whole.shape[1:2]:
        raise ValueError(
            f"weight has shape {tuple(weight.shape)}, kernel_size is {kernel.size} and feats have "
            f"shape {tuple(x.feats.shape)}; wanted a weight of [taps, C_in, C_out] and feats of "
            "[N, C_in]"
        )
    if bias is not None and bias.shape != whole.shape[2:]:
        raise ValueError(
            f"bias has shape {tuple(bias.shape)}; wanted {whole.shape[2]}, one an output channel"
        )
    return whole
