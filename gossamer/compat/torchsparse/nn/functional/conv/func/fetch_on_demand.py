"""Convolution along a kernel map that is given."""

from gossamer.compat.voxelnets.along import AlongKernelMap

__all__ = ["FetchOnDemandConvolutionFuntion"]


class FetchOnDemandConvolutionFuntion(AlongKernelMap):
    """What TorchSparse computes in this dataflow; the results of all are the same."""
