"""MinkowskiEngine 0.5 over gossamer: what `import MinkowskiEngine` gives after `install`.

Submodules have upstream's names, so `MinkowskiEngine.MinkowskiOps.cat` is
`gossamer.compat.minkowski.MinkowskiOps.cat`.
"""

from gossamer.compat.minkowski import MinkowskiFunctional as MinkowskiFunctional
from gossamer.compat.minkowski import MinkowskiOps as MinkowskiOps
from gossamer.compat.minkowski import modules as modules
from gossamer.compat.minkowski import utils as utils
from gossamer.compat.minkowski.backend._C import BroadcastMode as BroadcastMode
from gossamer.compat.minkowski.backend._C import ConvolutionMode as ConvolutionMode
from gossamer.compat.minkowski.backend._C import CoordinateMapKey as CoordinateMapKey
from gossamer.compat.minkowski.backend._C import CoordinateMapType as CoordinateMapType
from gossamer.compat.minkowski.backend._C import GPUMemoryAllocatorType as GPUMemoryAllocatorType
from gossamer.compat.minkowski.backend._C import MinkowskiAlgorithm as MinkowskiAlgorithm
from gossamer.compat.minkowski.backend._C import PoolingMode as PoolingMode
from gossamer.compat.minkowski.backend._C import RegionType as RegionType
from gossamer.compat.minkowski.backend._C import cuda_version as cuda_version
from gossamer.compat.minkowski.backend._C import cudart_version as cudart_version
from gossamer.compat.minkowski.backend._C import get_gpu_memory_info as get_gpu_memory_info
from gossamer.compat.minkowski.backend._C import is_cuda_available as is_cuda_available
from gossamer.compat.minkowski.diagnostics import print_diagnostics as print_diagnostics
from gossamer.compat.minkowski.MinkowskiBroadcast import MinkowskiBroadcast as MinkowskiBroadcast
from gossamer.compat.minkowski.MinkowskiBroadcast import (
    MinkowskiBroadcastAddition as MinkowskiBroadcastAddition,
)
from gossamer.compat.minkowski.MinkowskiBroadcast import (
    MinkowskiBroadcastConcatenation as MinkowskiBroadcastConcatenation,
)
from gossamer.compat.minkowski.MinkowskiBroadcast import (
    MinkowskiBroadcastFunction as MinkowskiBroadcastFunction,
)
from gossamer.compat.minkowski.MinkowskiBroadcast import (
    MinkowskiBroadcastMultiplication as MinkowskiBroadcastMultiplication,
)
from gossamer.compat.minkowski.MinkowskiChannelwiseConvolution import (
    MinkowskiChannelwiseConvolution as MinkowskiChannelwiseConvolution,
)
from gossamer.compat.minkowski.MinkowskiCommon import MinkowskiModuleBase as MinkowskiModuleBase
from gossamer.compat.minkowski.MinkowskiCommon import convert_to_int_tensor as convert_to_int_tensor
from gossamer.compat.minkowski.MinkowskiConvolution import (
    MinkowskiConvolution as MinkowskiConvolution,
)
from gossamer.compat.minkowski.MinkowskiConvolution import (
    MinkowskiConvolutionFunction as MinkowskiConvolutionFunction,
)
from gossamer.compat.minkowski.MinkowskiConvolution import (
    MinkowskiConvolutionTranspose as MinkowskiConvolutionTranspose,
)
from gossamer.compat.minkowski.MinkowskiConvolution import (
    MinkowskiConvolutionTransposeFunction as MinkowskiConvolutionTransposeFunction,
)
from gossamer.compat.minkowski.MinkowskiConvolution import (
    MinkowskiGenerativeConvolutionTranspose as MinkowskiGenerativeConvolutionTranspose,
)
from gossamer.compat.minkowski.MinkowskiCoordinateManager import (
    CoordinateManager as CoordinateManager,
)
from gossamer.compat.minkowski.MinkowskiCoordinateManager import CoordsManager as CoordsManager
from gossamer.compat.minkowski.MinkowskiCoordinateManager import (
    set_gpu_allocator as set_gpu_allocator,
)
from gossamer.compat.minkowski.MinkowskiCoordinateManager import (
    set_memory_manager_backend as set_memory_manager_backend,
)
from gossamer.compat.minkowski.MinkowskiInterpolation import (
    MinkowskiInterpolation as MinkowskiInterpolation,
)
from gossamer.compat.minkowski.MinkowskiInterpolation import (
    MinkowskiInterpolationFunction as MinkowskiInterpolationFunction,
)
from gossamer.compat.minkowski.MinkowskiKernelGenerator import KernelGenerator as KernelGenerator
from gossamer.compat.minkowski.MinkowskiKernelGenerator import KernelRegion as KernelRegion
from gossamer.compat.minkowski.MinkowskiKernelGenerator import (
    convert_region_type as convert_region_type,
)
from gossamer.compat.minkowski.MinkowskiKernelGenerator import (
    get_kernel_volume as get_kernel_volume,
)
from gossamer.compat.minkowski.MinkowskiNetwork import MinkowskiNetwork as MinkowskiNetwork
from gossamer.compat.minkowski.MinkowskiNonlinearity import (
    MinkowskiAdaptiveLogSoftmaxWithLoss as MinkowskiAdaptiveLogSoftmaxWithLoss,
)
from gossamer.compat.minkowski.MinkowskiNonlinearity import (
    MinkowskiAlphaDropout as MinkowskiAlphaDropout,
)
from gossamer.compat.minkowski.MinkowskiNonlinearity import MinkowskiCELU as MinkowskiCELU
from gossamer.compat.minkowski.MinkowskiNonlinearity import MinkowskiDropout as MinkowskiDropout
from gossamer.compat.minkowski.MinkowskiNonlinearity import MinkowskiELU as MinkowskiELU
from gossamer.compat.minkowski.MinkowskiNonlinearity import MinkowskiGELU as MinkowskiGELU
from gossamer.compat.minkowski.MinkowskiNonlinearity import (
    MinkowskiHardshrink as MinkowskiHardshrink,
)
from gossamer.compat.minkowski.MinkowskiNonlinearity import (
    MinkowskiHardsigmoid as MinkowskiHardsigmoid,
)
from gossamer.compat.minkowski.MinkowskiNonlinearity import MinkowskiHardswish as MinkowskiHardswish
from gossamer.compat.minkowski.MinkowskiNonlinearity import MinkowskiHardtanh as MinkowskiHardtanh
from gossamer.compat.minkowski.MinkowskiNonlinearity import MinkowskiLeakyReLU as MinkowskiLeakyReLU
from gossamer.compat.minkowski.MinkowskiNonlinearity import (
    MinkowskiLogSigmoid as MinkowskiLogSigmoid,
)
from gossamer.compat.minkowski.MinkowskiNonlinearity import (
    MinkowskiLogSoftmax as MinkowskiLogSoftmax,
)
from gossamer.compat.minkowski.MinkowskiNonlinearity import MinkowskiPReLU as MinkowskiPReLU
from gossamer.compat.minkowski.MinkowskiNonlinearity import MinkowskiReLU as MinkowskiReLU
from gossamer.compat.minkowski.MinkowskiNonlinearity import MinkowskiReLU6 as MinkowskiReLU6
from gossamer.compat.minkowski.MinkowskiNonlinearity import MinkowskiRReLU as MinkowskiRReLU
from gossamer.compat.minkowski.MinkowskiNonlinearity import MinkowskiSELU as MinkowskiSELU
from gossamer.compat.minkowski.MinkowskiNonlinearity import MinkowskiSigmoid as MinkowskiSigmoid
from gossamer.compat.minkowski.MinkowskiNonlinearity import MinkowskiSiLU as MinkowskiSiLU
from gossamer.compat.minkowski.MinkowskiNonlinearity import (
    MinkowskiSinusoidal as MinkowskiSinusoidal,
)
from gossamer.compat.minkowski.MinkowskiNonlinearity import MinkowskiSoftmax as MinkowskiSoftmax
from gossamer.compat.minkowski.MinkowskiNonlinearity import MinkowskiSoftmin as MinkowskiSoftmin
from gossamer.compat.minkowski.MinkowskiNonlinearity import MinkowskiSoftplus as MinkowskiSoftplus
from gossamer.compat.minkowski.MinkowskiNonlinearity import (
    MinkowskiSoftshrink as MinkowskiSoftshrink,
)
from gossamer.compat.minkowski.MinkowskiNonlinearity import MinkowskiSoftsign as MinkowskiSoftsign
from gossamer.compat.minkowski.MinkowskiNonlinearity import MinkowskiTanh as MinkowskiTanh
from gossamer.compat.minkowski.MinkowskiNonlinearity import (
    MinkowskiTanhshrink as MinkowskiTanhshrink,
)
from gossamer.compat.minkowski.MinkowskiNonlinearity import MinkowskiThreshold as MinkowskiThreshold
from gossamer.compat.minkowski.MinkowskiNormalization import (
    MinkowskiBatchNorm as MinkowskiBatchNorm,
)
from gossamer.compat.minkowski.MinkowskiNormalization import (
    MinkowskiInstanceNorm as MinkowskiInstanceNorm,
)
from gossamer.compat.minkowski.MinkowskiNormalization import (
    MinkowskiInstanceNormFunction as MinkowskiInstanceNormFunction,
)
from gossamer.compat.minkowski.MinkowskiNormalization import (
    MinkowskiStableInstanceNorm as MinkowskiStableInstanceNorm,
)
from gossamer.compat.minkowski.MinkowskiNormalization import (
    MinkowskiSyncBatchNorm as MinkowskiSyncBatchNorm,
)
from gossamer.compat.minkowski.MinkowskiOps import MinkowskiLinear as MinkowskiLinear
from gossamer.compat.minkowski.MinkowskiOps import MinkowskiStackCat as MinkowskiStackCat
from gossamer.compat.minkowski.MinkowskiOps import MinkowskiStackMean as MinkowskiStackMean
from gossamer.compat.minkowski.MinkowskiOps import MinkowskiStackSum as MinkowskiStackSum
from gossamer.compat.minkowski.MinkowskiOps import MinkowskiStackVar as MinkowskiStackVar
from gossamer.compat.minkowski.MinkowskiOps import MinkowskiToDenseTensor as MinkowskiToDenseTensor
from gossamer.compat.minkowski.MinkowskiOps import MinkowskiToFeature as MinkowskiToFeature
from gossamer.compat.minkowski.MinkowskiOps import (
    MinkowskiToSparseTensor as MinkowskiToSparseTensor,
)
from gossamer.compat.minkowski.MinkowskiOps import cat as cat
from gossamer.compat.minkowski.MinkowskiOps import dense_coordinates as dense_coordinates
from gossamer.compat.minkowski.MinkowskiOps import mean as mean
from gossamer.compat.minkowski.MinkowskiOps import to_sparse as to_sparse
from gossamer.compat.minkowski.MinkowskiOps import to_sparse_all as to_sparse_all
from gossamer.compat.minkowski.MinkowskiOps import var as var
from gossamer.compat.minkowski.MinkowskiPooling import MinkowskiAvgPooling as MinkowskiAvgPooling
from gossamer.compat.minkowski.MinkowskiPooling import (
    MinkowskiDirectMaxPoolingFunction as MinkowskiDirectMaxPoolingFunction,
)
from gossamer.compat.minkowski.MinkowskiPooling import (
    MinkowskiGlobalAvgPooling as MinkowskiGlobalAvgPooling,
)
from gossamer.compat.minkowski.MinkowskiPooling import (
    MinkowskiGlobalMaxPooling as MinkowskiGlobalMaxPooling,
)
from gossamer.compat.minkowski.MinkowskiPooling import (
    MinkowskiGlobalPooling as MinkowskiGlobalPooling,
)
from gossamer.compat.minkowski.MinkowskiPooling import (
    MinkowskiGlobalPoolingFunction as MinkowskiGlobalPoolingFunction,
)
from gossamer.compat.minkowski.MinkowskiPooling import (
    MinkowskiGlobalSumPooling as MinkowskiGlobalSumPooling,
)
from gossamer.compat.minkowski.MinkowskiPooling import (
    MinkowskiLocalPoolingFunction as MinkowskiLocalPoolingFunction,
)
from gossamer.compat.minkowski.MinkowskiPooling import (
    MinkowskiLocalPoolingTransposeFunction as MinkowskiLocalPoolingTransposeFunction,
)
from gossamer.compat.minkowski.MinkowskiPooling import MinkowskiMaxPooling as MinkowskiMaxPooling
from gossamer.compat.minkowski.MinkowskiPooling import (
    MinkowskiPoolingTranspose as MinkowskiPoolingTranspose,
)
from gossamer.compat.minkowski.MinkowskiPooling import MinkowskiSumPooling as MinkowskiSumPooling
from gossamer.compat.minkowski.MinkowskiPruning import MinkowskiPruning as MinkowskiPruning
from gossamer.compat.minkowski.MinkowskiPruning import (
    MinkowskiPruningFunction as MinkowskiPruningFunction,
)
from gossamer.compat.minkowski.MinkowskiSparseTensor import SparseTensor as SparseTensor
from gossamer.compat.minkowski.MinkowskiTensor import (
    SparseTensorOperationMode as SparseTensorOperationMode,
)
from gossamer.compat.minkowski.MinkowskiTensor import (
    SparseTensorQuantizationMode as SparseTensorQuantizationMode,
)
from gossamer.compat.minkowski.MinkowskiTensor import (
    clear_global_coordinate_manager as clear_global_coordinate_manager,
)
from gossamer.compat.minkowski.MinkowskiTensor import (
    global_coordinate_manager as global_coordinate_manager,
)
from gossamer.compat.minkowski.MinkowskiTensor import (
    set_global_coordinate_manager as set_global_coordinate_manager,
)
from gossamer.compat.minkowski.MinkowskiTensor import (
    set_sparse_tensor_operation_mode as set_sparse_tensor_operation_mode,
)
from gossamer.compat.minkowski.MinkowskiTensor import (
    sparse_tensor_operation_mode as sparse_tensor_operation_mode,
)
from gossamer.compat.minkowski.MinkowskiTensorField import TensorField as TensorField
from gossamer.compat.minkowski.MinkowskiUnion import MinkowskiUnion as MinkowskiUnion
from gossamer.compat.minkowski.MinkowskiUnion import (
    MinkowskiUnionFunction as MinkowskiUnionFunction,
)
from gossamer.compat.minkowski.sparse_matrix_functions import (
    MinkowskiSPMMAverageFunction as MinkowskiSPMMAverageFunction,
)
from gossamer.compat.minkowski.sparse_matrix_functions import (
    MinkowskiSPMMFunction as MinkowskiSPMMFunction,
)
from gossamer.compat.minkowski.sparse_matrix_functions import spmm as spmm

__version__ = "0.5.4"
sum = MinkowskiOps._sum
