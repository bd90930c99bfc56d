"""A chain that takes sparse and dense modules alike."""

from torch import nn

from gossamer.nn.chain import Link, Plus, is_bare, run
from gossamer.tensor import SparseTensor


class SparseSequential(nn.Sequential):
    """nn.Sequential in which modules of torch.nn act on the features.

    Modules of gossamer and containers get the SparseTensor itself; any other module of torch.nn
    (nn.Linear, nn.ReLU, nn.BatchNorm1d, ...) gets its features. A chain of gossamer modules alone
    computes the same in a plain nn.Sequential, but here a batch norm, the ReLU behind it and, where
    no gradient is wanted, the convolution before it are one pass over memory.
    """

    def forward(self, input):
        """What the chain makes of `input`, a SparseTensor or a tensor."""
        return run(list(self), input, _through)


class Residual(nn.Module):
    """activation(body(x) + around(x)), the last steps of it together where they can be.

    Args:
        body: from a SparseTensor to one, for instance a SparseSequential that ends in a norm.
        around: the same; onto the sites and channels of what `body` makes, or there is a union.
            Default: x itself.
        activation: of the sum. Default: none.
    """

    def __init__(
        self,
        body: nn.Module,
        around: nn.Module | None = None,
        activation: nn.Module | None = None,
    ):
        super().__init__()
        self.body = body
        self.around = SparseSequential() if around is None else around
        self.activation = SparseSequential() if activation is None else activation

    def forward(self, x: SparseTensor) -> SparseTensor:
        """[N, C_in] -> [M, C_out]."""
        body = self.body
        # What a user hung a hook on has to be called, so it is one link.
        links = list(body) if type(body) is SparseSequential and is_bare(body) else [body]
        return run([*links, Plus(self.around(x)), self.activation], x, _through)


def _through(link: Link, x):
    if isinstance(x, SparseTensor) and isinstance(link, nn.Module) and _is_torch_leaf(link):
        return x.with_features(link(x.features))
    return link(x)


def _is_torch_leaf(module: nn.Module) -> bool:
    # By where its class is written, not by a list, so user modules see the SparseTensor.
    containers = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
    return type(module).__module__.startswith("torch.nn.") and not isinstance(module, containers)
