"""Convolution along a kernel map that is given, under the names of TorchSparse's dataflows."""

from gossamer.compat.torchsparse.nn.functional.conv.func.fetch_on_demand import (
    FetchOnDemandConvolutionFuntion,
)
from gossamer.compat.torchsparse.nn.functional.conv.func.gather_scatter import (
    GatherScatterConvolutionFuntion,
)
from gossamer.compat.torchsparse.nn.functional.conv.func.implicit_gemm import (
    ImplicitGEMMConvolutionFuntion,
)

__all__ = [
    "FetchOnDemandConvolutionFuntion",
    "GatherScatterConvolutionFuntion",
    "ImplicitGEMMConvolutionFuntion",
]
