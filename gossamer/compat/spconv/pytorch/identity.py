"""A module that does nothing."""

from torch.nn import Module


class Identity(Module):
    """Returns what it gets; inside a SparseSequential that is the features."""

    def forward(self, input):
        return input

    def input_spatial_size(self, out_size):
        """The spatial size that leads to `out_size`."""
        return out_size
