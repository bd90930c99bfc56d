"""A chain that takes sparse and dense modules alike."""

from torch import Tensor, nn

from gossamer.tensor import SparseTensor


class SparseSequential(nn.Sequential):
    """nn.Sequential in which modules of torch.nn act on the features.

    Modules of gossamer and containers get the SparseTensor itself; any other module of torch.nn
    (nn.Linear, nn.ReLU, nn.BatchNorm1d, ...) gets its features. A chain of gossamer modules alone
    needs no more than a plain nn.Sequential.
    """

    def forward(self, input):
        """What the chain makes of `input`, a SparseTensor or a tensor."""
        for module in self:
            input = _through(module, input)
        return input


def _through(module: nn.Module, x: SparseTensor | Tensor):
    if isinstance(x, SparseTensor) and _is_torch_leaf(module):
        return x.with_features(module(x.features))
    return module(x)


def _is_torch_leaf(module: nn.Module) -> bool:
    # By where its class is written, not by a list, so user modules see the SparseTensor.
    containers = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
    return type(module).__module__.startswith("torch.nn.") and not isinstance(module, containers)
