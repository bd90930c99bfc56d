"""Containers: `spconv.modules` of 1.2."""

from copy import deepcopy

import torch
from torch import nn

from gossamer.compat.older.tensor import SparseConvTensor
from gossamer.compat.spconv.pytorch import modules
from gossamer.compat.spconv.pytorch.modules import SparseModule as SparseModule
from gossamer.compat.spconv1.conv import SparseConvolution
from gossamer.nn.batch_statistics import frozen_affine


def is_spconv_module(module: nn.Module) -> bool:
    """Whether SparseSequential hands `module` the SparseConvTensor itself."""
    return isinstance(module, SparseModule)


def is_sparse_conv(module: nn.Module) -> bool:
    """Whether `module` is a sparse convolution."""
    return isinstance(module, SparseConvolution)


class SparseSequential(modules.SparseSequential):
    """Modules one after the other; those that are not sparse act on the features, in place.

    Modules come as arguments, as one OrderedDict, as keywords, or as arguments and keywords.

    Attributes:
        sparity_dict: for each sparse module, by its name, the share of the grid's cells that had a
            row when it last ran.

    Raises:
        ValueError: a name comes twice.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.sparity_dict: dict[str, float] = {}

    def forward(self, input):
        """What the chain makes of `input`, a SparseConvTensor, a tensor or a list of them."""
        named = [(name, module) for name, module in self._modules.items() if module is not None]
        place = 0
        while place < len(named):
            name, first = named[place]
            if is_spconv_module(first) and isinstance(input, SparseConvTensor):
                self.sparity_dict[name] = input.sparity
            input, taken = modules._step([module for _, module in named[place:]], input)
            place += taken
        return input

    def fused(self) -> "SparseSequential":
        """A new chain in which each convolution has taken in the batch norm behind it.

        It computes what this one does in eval mode; other modules are those of this chain.
        """
        links: list[nn.Module] = []
        for module in self._modules.values():
            if module is None:
                continue
            before = links[-1] if links else None
            if isinstance(module, nn.BatchNorm1d) and isinstance(before, SparseConvolution):
                links[-1] = _taking_in(before, module)
            else:
                links.append(module)
        return SparseSequential(*links)


@torch.no_grad()
def _taking_in(conv: SparseConvolution, norm: nn.BatchNorm1d) -> SparseConvolution:
    """A convolution that does what `conv` and then `norm` do in eval mode."""
    scale, shift = frozen_affine(norm, conv.bias, conv.weight.dtype)
    new = deepcopy(conv)
    new.weight.mul_(scale)
    new.bias = nn.Parameter(shift)
    new.fused_bn = True
    return new
