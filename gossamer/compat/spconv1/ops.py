"""Rulebooks as arrays, and what is computed with them: `spconv.ops` of 1.2.

Lists are [2, K, N] and count every tap; filters are [*k, C_in, C_out]. Everything has gradients.
"""

from collections.abc import Sequence
from enum import Enum

import torch
from torch import Tensor

from gossamer.compat.arrays.building import conv_size, deconv_size
from gossamer.compat.clouds.boxes import suppressed
from gossamer.compat.layers.activation import number
from gossamer.compat.spconv.pytorch.core import expand_nd
from gossamer.compat.spconv.pytorch.ops import get_conv_output_size as get_conv_output_size
from gossamer.compat.spconv.pytorch.ops import get_deconv_output_size as get_deconv_output_size
from gossamer.compat.spconv1 import torch_ops

Ints = Sequence[int]
PerAxis = int | Ints

torch_ops.register()


class ConvAlgo(Enum):
    """How upstream walks a rulebook; here all do the same."""

    Native = 0
    Batch = 1
    BatchGemmGather = 2


def get_indice_pairs(
    indices: Tensor,
    batch_size: int,
    spatial_shape: Ints,
    ksize: PerAxis = 3,
    stride: PerAxis = 1,
    padding: PerAxis = 0,
    dilation: PerAxis = 1,
    out_padding: PerAxis = 0,
    subm: bool = False,
    transpose: bool = False,
    grid: Tensor | None = None,
    use_hash: bool = False,
) -> list[Tensor]:
    """The rulebook of a kernel, as lists.

    Args:
        indices: [N, 1+D] int32, (batch, axes), in any order; rows may repeat.
        batch_size: B.
        spatial_shape: D ints.
        ksize, stride, padding, dilation, out_padding: one int or D.
        subm: whether outputs are the input's rows; then stride and padding have nothing to say.
        transpose: whether outputs are the sites that taps reach.
        grid, use_hash: taken for the order of arguments.

    Returns:
        outids: [M, 1+D] int32, the rows that are written.
        indice_pairs: [2, K, N] int32, for every tap the rows read and written, -1 past the count.
        indice_pair_num: [K] int32, the counts.

    Raises:
        ValueError: a wrong shape, a row out of range, or an empty output shape.
    """
    ndim = indices.shape[1] - 1
    shape = [int(n) for n in spatial_shape]
    kernel = [expand_nd(ndim, v) for v in (ksize, stride, padding, dilation, out_padding)]
    out_shape = shape
    if not subm:
        out_shape = deconv_size(shape, *kernel) if transpose else conv_size(shape, *kernel[:4])
    return torch.ops.spconv.get_indice_pairs(
        indices, int(batch_size), out_shape, shape, *kernel, int(subm), int(transpose), 0
    )


def indice_conv(
    features: Tensor,
    filters: Tensor,
    indice_pairs: Tensor,
    indice_pair_num: Tensor,
    num_activate_out: int,
    inverse: bool = False,
    subm: bool = False,
    algo: int | ConvAlgo = ConvAlgo.Native.value,
) -> Tensor:
    """[M, C_out]: a convolution along a rulebook.

    Args:
        features: [N, C_in].
        filters: [*k, C_in, C_out].
        indice_pairs, indice_pair_num: [2, K, any] and [K] int32.
        num_activate_out: M.
        inverse: whether to read the rulebook backwards.
        subm, algo: taken for the order of arguments.

    Raises:
        TypeError: dtypes differ, or arrays are not of ints.
        ValueError: a wrong shape, or a count or row out of range.
    """
    way = int(inverse), int(subm), number(algo)
    return torch.ops.spconv.indice_conv(
        features, filters, indice_pairs, indice_pair_num, num_activate_out, *way
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
    way = int(inverse), int(subm)
    return torch.ops.spconv.fused_indice_conv_bn(
        features, filters, bias, indice_pairs, indice_pair_num, num_activate_out, *way
    )


def indice_conv_backward(
    features: Tensor,
    filters: Tensor,
    out_bp: Tensor,
    indice_pairs: Tensor,
    indice_pair_num: Tensor,
    inverse: bool = False,
    subm: bool = False,
    algo: int | ConvAlgo = ConvAlgo.Native.value,
) -> list[Tensor]:
    """The gradients of `indice_conv`, of features and of filters, for `out_bp` [M, C_out]."""
    way = int(inverse), int(subm), number(algo)
    return torch.ops.spconv.indice_conv_backward(
        features, filters, out_bp, indice_pairs, indice_pair_num, *way
    )


def indice_maxpool(
    features: Tensor, indice_pairs: Tensor, indice_pair_num: Tensor, num_activate_out: int
) -> Tensor:
    """[M, C]: the largest value that an output sees, also where all are negative; 0 without any."""
    return torch.ops.spconv.indice_maxpool(
        features, indice_pairs, indice_pair_num, num_activate_out
    )


def indice_maxpool_backward(
    features: Tensor,
    out_features: Tensor,
    out_bp: Tensor,
    indice_pairs: Tensor,
    indice_pair_num: Tensor,
) -> Tensor:
    """[N, C]: the gradient of `indice_maxpool` for `out_bp` [M, C]."""
    return torch.ops.spconv.indice_maxpool_backward(
        features, out_features, out_bp, indice_pairs, indice_pair_num
    )


def nms(
    boxes: Tensor, scores: Tensor, pre_max_size: int, post_max_size: int, thresh: float, eps: float
) -> Tensor:
    """[at most post_max_size] int64: the boxes that stay, the best one first.

    Args:
        boxes: [N, 4 or more]: x1, y1, x2, y2.
        scores: [N], the higher the better.
        pre_max_size: how many of the best boxes are looked at.
        post_max_size: how many may stay.
        thresh: an IoU of so much or more with a better box that stays drops a box.
        eps: added to every length.
    """
    order = scores.argsort(descending=True, stable=True)[:pre_max_size]
    host = boxes.detach().cpu().numpy(), order.cpu().numpy()
    kept = suppressed(*host, thresh, eps)[:post_max_size]
    return torch.tensor(kept, dtype=torch.int64, device=boxes.device)
