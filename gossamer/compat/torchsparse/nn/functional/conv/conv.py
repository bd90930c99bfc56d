"""Convolution of a tensor by its kernel maps."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gossamer.checks import channels
from gossamer.compat.layers.graphs import outside_graphs
from gossamer.compat.layers.passing import through
from gossamer.compat.rows.sites import Link
from gossamer.compat.rows.values import Values
from gossamer.compat.torchsparse.nn.functional.conv.conv_config import ordered, resolved
from gossamer.compat.torchsparse.tensor import SparseTensor, get_allow_negative_coordinates
from gossamer.compat.torchsparse.utils.utils import make_ntuple
from gossamer.compat.voxelnets import routes
from gossamer.compat.voxelnets.given import check_kind
from gossamer.compat.voxelnets.kernel import Kernel
from gossamer.compat.voxelnets.routes import Origin
from gossamer.compat.voxelnets.values import rowwise
from gossamer.nn.autocast import in_autocast_dtype

__all__ = ["conv3d"]

WAYS = {
    "forward": routes.forward,
    "transposed": routes.transposed,
    "generative": routes.generative,
}
HALVES = (torch.float16, torch.bfloat16)


def conv3d(
    input: SparseTensor,
    weight: Tensor,
    kernel_size: int | Sequence[int],
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    config: Mapping[str, Any] | None = None,
    transposed: bool = False,
    generative: bool = False,
    training: bool = False,
) -> SparseTensor:
    """The features after a convolution, on the sites that it leads to.

    With stride 1 the sites stay. `transposed` leads back to the finer sites that the caches know,
    `generative` with it to all children of every site.

    Args:
        input: N rows.
        weight: [K, C_in, C_out], or [C_in, C_out] for a kernel of one tap.
        kernel_size, stride, dilation: one int or 3, 1 or more.
        bias: [C_out].
        padding: one int or 3; counts as `set_kmap_mode` says.
        config: of this layer.
        transposed, generative: see above.
        training: without meaning; there are gradients in eval, too.

    Raises:
        TypeError: input is no SparseTensor, feats or coords are no tensors, or dtypes differ.
        ValueError: sizes or channels do not fit, there are no sites to lead back to, coordinates
            are out of range, or nothing would be left.
    """
    settings = resolved(config, training)
    given = {"kernel_size": kernel_size, "stride": stride, "padding": padding, "dilation": dilation}
    sizes = (make_ntuple(value, 3, name) for name, value in given.items())
    kernel = Kernel.of(*sizes, settings.kmap_mode, settings.downsample_mode)
    _check(input, weight, bias, kernel)
    if kernel.volume == 1 and kernel.keeps_sites:
        return input._with(rowwise(input._values, lambda x: _pointwise(x, weight, bias)))
    with ordered(settings):
        way = "generative" if generative else "transposed" if transposed else "forward"
        return outside_graphs(_convolved, input, weight, bias, kernel, way)


def _convolved(
    input: SparseTensor, weight: Tensor, bias: Tensor | None, kernel: Kernel, way: str
) -> SparseTensor:
    here = make_ntuple(input.stride, 3)
    shared = input._caches, get_allow_negative_coordinates()
    x = Origin(input._place(), here, input._range(), *shared)
    stride = kernel.coarse_stride(here) if way == "forward" else kernel.fine_stride(here)
    kmap = WAYS[way](x, kernel)
    routes.keep(x, kmap, stride, anew=way == "generative")
    weight = weight.unsqueeze(0) if weight.ndim == 2 else weight
    values = _multiplied(input._values, kmap.link, weight, bias)
    if kernel.keeps_sites and way != "generative":
        new = input._with(values)
        new.spatial_range = kmap.ranges[1]
        return new
    return input._led_to(values, kmap.target, stride, kmap.ranges[1])


def _check(input: SparseTensor, weight: Tensor, bias: Tensor | None, kernel: Kernel) -> None:
    check_kind(input, SparseTensor)
    taps = weight.shape[0] if weight.ndim == 3 else 1
    if weight.ndim not in (2, 3) or taps != kernel.volume:
        raise ValueError(
            f"the kernel has shape {tuple(weight.shape)}; wanted [{kernel.volume}, C_in, C_out] "
            f"for kernel_size {kernel.size}"
        )
    input._check_rows()
    channels("feats", input._values.at_hand.shape[1], weight.shape[-2])
    if bias is not None and bias.shape != weight.shape[-1:]:
        shape, wanted = tuple(bias.shape), weight.shape[-1]
        raise ValueError(f"bias has shape {shape}; wanted [{wanted}], one an output channel")


def _pointwise(feats: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    weight = weight.squeeze(0) if weight.ndim == 3 else weight
    feats, weight, bias = in_autocast_dtype(feats, weight, bias)
    x, w = _alike(feats, weight)
    y = (x @ w).to(weight.dtype)
    return y if bias is None else y + bias


def _multiplied(values: Values, link: Link, weight: Tensor, bias: Tensor | None) -> Values:
    feats, weight, bias = in_autocast_dtype(values.at_hand, weight, bias)
    x, w = _alike(feats, weight)
    given = values if x is values.at_hand else Values(x, values.rows)
    if w is weight:
        return through(given, link, w, bias)
    y = rowwise(through(given, link, w), lambda y: y.to(weight.dtype))
    return y if bias is None else rowwise(y, lambda y: y + bias)


def _alike(feats: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Both in one dtype: where one of them is of 16 bits, in that.

    Raises:
        TypeError: they differ otherwise.
    """
    if feats.dtype == weight.dtype:
        return feats, weight
    short = {t.dtype for t in (feats, weight)} & set(HALVES)
    if len(short) != 1:
        raise TypeError(
            f"feats are {feats.dtype} and the kernel is {weight.dtype}; wanted one dtype, or "
            "float32 with a 16-bit one; convert the model or the features"
        )
    dtype = short.pop()
    return feats.to(dtype), weight.to(dtype)
