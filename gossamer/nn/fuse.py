"""Networks for inference: normalisation folded into weights, activation into the convolution."""

from copy import deepcopy

import torch
from torch import Tensor, nn

from gossamer import checks
from gossamer.nn.activation import LeakyReLU, ReLU
from gossamer.nn.autocast import in_autocast_dtype
from gossamer.nn.conv import SparseConvolution
from gossamer.nn.located import located
from gossamer.nn.norm import BatchNorm, SyncBatchNorm
from gossamer.ops.conv import Epilogue
from gossamer.tensor import SparseTensor

Normalisation = BatchNorm | SyncBatchNorm
Activation = ReLU | LeakyReLU


def fuse(model: nn.Module) -> nn.Module:
    """A copy of `model` for inference, in eval mode and without gradients, that computes the same.

    In every chain (nn.Sequential, SparseSequential) a convolution takes over the BatchNorm behind
    it, whose running statistics become part of its weights, and the ReLU or LeakyReLU behind that.
    `model` itself stays as it is.
    """
    copy = deepcopy(model).eval().requires_grad_(False)
    for chain in [m for m in copy.modules() if isinstance(m, nn.Sequential)]:
        _fuse_chain(chain)
    return copy


class FusedConvolution(nn.Module):
    """A convolution with a folded BatchNorm and an activation, in one pass. `fuse` makes it.

    Attributes:
        convolution: the layer, its weight [K, C_in/groups, C_out] scaled by the normalisation.
        shift: [C_out], what the normalisation and the bias add.
    """

    shift: Tensor

    def __init__(self, convolution: SparseConvolution, norm, activation):
        super().__init__()
        scale, shift = _affine(norm, convolution.weight)
        bias = 0 if convolution.bias is None else convolution.bias
        convolution.weight.mul_(scale)
        self.register_buffer("shift", shift + bias * scale)
        convolution.bias = None
        self.convolution = convolution
        self.activation = {ReLU: "relu", LeakyReLU: "leaky_relu"}.get(type(activation), "none")
        self.slope = getattr(activation, "negative_slope", 0.0)

    @located
    def forward(self, x: SparseTensor) -> SparseTensor:
        """[N, C_in] -> [M, C_out], on the sites that the convolution leads to."""
        layer = self.convolution
        checks.channels("the input", x.channels, layer.in_channels)
        rulebook, sites = layer.route(x.sites)
        features, weight, shift = in_autocast_dtype(x.features, layer.weight, self.shift)
        epilogue = Epilogue(shift=shift, activation=self.activation, slope=self.slope)
        return SparseTensor(rulebook.convolve(features, weight, layer.groups, epilogue), sites)

    def extra_repr(self) -> str:
        return f"activation={self.activation}"


def _affine(norm: Normalisation | None, like: Tensor) -> tuple[Tensor, Tensor]:
    """What a BatchNorm in eval mode multiplies by and adds, [C] each."""
    if norm is None:
        return like.new_ones(like.shape[2]), like.new_zeros(like.shape[2])
    assert norm.running_mean is not None and norm.running_var is not None  # or _fuse_chain skips it
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    shift = -norm.running_mean.double() * scale
    if norm.affine:
        scale, shift = scale * norm.weight, shift * norm.weight + norm.bias
    return scale.to(like.dtype), shift.to(like.dtype)


@torch.no_grad()
def _fuse_chain(chain: nn.Sequential) -> None:
    links, fused = list(chain), []
    while links:
        first = links.pop(0)
        if isinstance(first, SparseConvolution):
            norm = links.pop(0) if links and _is_foldable(links[0]) else None
            activation = links.pop(0) if links and isinstance(links[0], Activation) else None
            if norm is not None or activation is not None:
                first = FusedConvolution(first, norm, activation)
        fused.append(first)
    chain._modules.clear()
    for i, module in enumerate(fused):
        chain.add_module(str(i), module)


def _is_foldable(module: nn.Module) -> bool:
    # Without running statistics a norm depends on its input even in eval mode.
    return isinstance(module, Normalisation) and module.running_mean is not None
