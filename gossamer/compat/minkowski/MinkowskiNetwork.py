"""What networks derive from."""

from abc import ABC, abstractmethod

from torch import nn


class MinkowskiNetwork(nn.Module, ABC):
    """A network of sparse layers; whoever derives from it writes `forward(x)`.

    Args:
        D: how many axes there are, kept as an attribute.
    """

    def __init__(self, D: int):
        super().__init__()
        self.D = D

    @abstractmethod
    def forward(self, x):
        """What the network makes of `x`."""
