"""The functions of TorchSparse 1.4's compiled module.

Names that end in _cpu and in _cuda are the same function, on whatever device its tensors are.
"""

import torch
from torch import Tensor

from gossamer.compat.torchsparse.backend import count_cpu as count_cpu
from gossamer.compat.torchsparse.backend import devoxelize_backward_cpu as devoxelize_backward_cpu
from gossamer.compat.torchsparse.backend import devoxelize_forward_cpu as devoxelize_forward_cpu
from gossamer.compat.torchsparse.backend import hash_query_cpu as hash_query_cpu
from gossamer.compat.torchsparse.backend import voxelize_backward_cpu as voxelize_backward_cpu
from gossamer.compat.torchsparse.backend import voxelize_forward_cpu as voxelize_forward_cpu
from gossamer.compat.torchsparse14.nn.functional.hash import sphash
from gossamer.rulebook import Rulebook


def hash_cpu(idx: Tensor) -> Tensor:
    """[N] int64: as `sphash` has them."""
    return sphash(idx)


def kernel_hash_cpu(idx: Tensor, kernel_offset: Tensor) -> Tensor:
    """[K, N] int64: as `sphash` has them."""
    return sphash(idx, kernel_offset)


def convolution_forward_cpu(
    in_feat: Tensor,
    out_feat: Tensor,
    kernel: Tensor,
    neighbor_map: Tensor,
    neighbor_offset: Tensor,
    transpose: bool,
) -> None:
    """Write a convolution of in_feat [N, C_in] over out_feat [M, C_out].

    Args:
        in_feat: the features.
        out_feat: is overwritten.
        kernel: [K, C_in, C_out].
        neighbor_map: [P, 2] int, (input row, output row), tap by tap.
        neighbor_offset: [K] int, how many pairs each tap has.
        transpose: whether pairs are (output row, input row).

    Raises:
        ValueError: the pairs are not as many as neighbor_offset says, or reach past the rows.
    """
    pairs = _pairs(neighbor_map, neighbor_offset, transpose, len(in_feat), len(out_feat))
    with torch.no_grad():
        out_feat.copy_(pairs.convolve(in_feat.detach(), kernel.detach()))


def convolution_backward_cpu(
    in_feat: Tensor,
    grad_in_feat: Tensor,
    grad_out_feat: Tensor,
    kernel: Tensor,
    grad_kernel: Tensor,
    neighbor_map: Tensor,
    neighbor_offset: Tensor,
    transpose: bool,
) -> None:
    """Write the gradients of such a convolution over grad_in_feat and grad_kernel.

    Args:
        in_feat, kernel, neighbor_map, neighbor_offset, transpose: those of the convolution.
        grad_in_feat: [N, C_in], is overwritten.
        grad_out_feat: [M, C_out].
        grad_kernel: [K, C_in, C_out], is overwritten.

    Raises:
        ValueError: the pairs are not as many as neighbor_offset says, or reach past the rows.
    """
    pairs = _pairs(neighbor_map, neighbor_offset, transpose, len(in_feat), len(grad_out_feat))
    with torch.enable_grad():
        given = in_feat.detach().requires_grad_(), kernel.detach().requires_grad_()
        found = torch.autograd.grad(pairs.convolve(*given), given, grad_out_feat)
    for into, gradient in zip((grad_in_feat, grad_kernel), found, strict=True):
        into.resize_as_(gradient).copy_(gradient)


def _pairs(
    neighbor_map: Tensor, neighbor_offset: Tensor, transpose: bool, inputs: int, outputs: int
) -> Rulebook:
    counts = neighbor_offset.to(neighbor_map.device).long()
    if neighbor_map.ndim != 2 or neighbor_map.shape[1] != 2 or counts.sum() != len(neighbor_map):
        raise ValueError(
            f"neighbor_map has shape {tuple(neighbor_map.shape)} and neighbor_offset a sum of "
            f"{int(counts.sum())}; wanted as many pairs of rows"
        )
    sides = neighbor_map.long().flip(1) if transpose else neighbor_map.long()
    if len(sides):
        least, most = sides.amin(0).tolist(), sides.amax(0).tolist()
        if min(least) < 0 or most[0] >= inputs or most[1] >= outputs:
            raise ValueError(
                f"pairs go from {least} to {most} (input row, output row), and there are {inputs} "
                f"and {outputs} rows; wanted rows that there are; is transpose right?"
            )
    taps = torch.arange(len(counts), device=sides.device).repeat_interleave(counts)
    triples = torch.cat([taps.unsqueeze(1), sides], dim=1)
    return Rulebook.of_triples(triples, len(counts), inputs, outputs)


hash_cuda = hash_cpu
kernel_hash_cuda = kernel_hash_cpu
hash_query_cuda = hash_query_cpu
count_cuda = count_cpu
voxelize_forward_cuda = voxelize_forward_cpu
voxelize_backward_cuda = voxelize_backward_cpu
devoxelize_forward_cuda = devoxelize_forward_cpu
devoxelize_backward_cuda = devoxelize_backward_cpu
convolution_forward_cuda = convolution_forward_cpu
convolution_backward_cuda = convolution_backward_cpu
