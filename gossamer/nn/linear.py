"""A linear layer on the features of sites."""

from torch import nn

from gossamer import checks
from gossamer.geometry import Geometry
from gossamer.nn.located import located
from gossamer.nn.product import multiply
from gossamer.ops.conv import Epilogue
from gossamer.tensor import SparseTensor

# Made here and not in a call, because torch.compile can hand out only what was there before.
ONE_TAP = {ndim: Geometry.of("submanifold", ndim, 1) for ndim in (1, 2, 3, 4)}


class Linear(nn.Linear):
    """torch.nn.Linear on the features of a SparseTensor.

    On the CPU it is a convolution with a single tap: for many rows of few channels that took half
    the time of torch's matrix product, forwards and backwards.
    """

    def forward(self, input):
        """[N, in_features] -> [N, out_features] on the same sites."""
        if not isinstance(input, SparseTensor):
            return super().forward(input)
        if input.device.type != "cpu":
            return input.with_features(super().forward(input.features))
        return self.multiplied(input)

    @located
    def multiplied(self, x: SparseTensor, then: Epilogue | None = None) -> SparseTensor:
        """The same, with `then` in place of the bias."""
        checks.channels("the input", x.channels, self.in_features)
        rulebook = x.sites.rulebook(ONE_TAP[x.ndim])
        weight = self.weight.mT.contiguous().unsqueeze(0)
        return x.with_features(multiply(x.features, rulebook, weight, self.bias, then=then))
