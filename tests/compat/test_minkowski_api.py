"""Every name that MinkowskiEngine 0.5 exports is here, and an installed facade gives it."""

import subprocess
import sys
from importlib import import_module

import pytest
import torch
from torch import nn

import gossamer.compat.minkowski as ME
from gossamer.compat.minkowski.backend import _C

TOP = """
print_diagnostics MinkowskiAlgorithm CoordinateMapKey GPUMemoryAllocatorType CoordinateMapType
RegionType PoolingMode BroadcastMode is_cuda_available cuda_version cudart_version
get_gpu_memory_info KernelRegion KernelGenerator convert_region_type get_kernel_volume
SparseTensorOperationMode SparseTensorQuantizationMode set_sparse_tensor_operation_mode
sparse_tensor_operation_mode global_coordinate_manager set_global_coordinate_manager
clear_global_coordinate_manager SparseTensor TensorField convert_to_int_tensor MinkowskiModuleBase
set_memory_manager_backend set_gpu_allocator CoordsManager CoordinateManager
MinkowskiConvolutionFunction MinkowskiConvolution MinkowskiConvolutionTransposeFunction
MinkowskiConvolutionTranspose MinkowskiGenerativeConvolutionTranspose
MinkowskiChannelwiseConvolution MinkowskiLocalPoolingFunction MinkowskiSumPooling
MinkowskiAvgPooling MinkowskiMaxPooling MinkowskiLocalPoolingTransposeFunction
MinkowskiPoolingTranspose MinkowskiGlobalPoolingFunction MinkowskiGlobalPooling
MinkowskiGlobalSumPooling MinkowskiGlobalAvgPooling MinkowskiGlobalMaxPooling
MinkowskiDirectMaxPoolingFunction MinkowskiBroadcastFunction MinkowskiBroadcastAddition
MinkowskiBroadcastMultiplication MinkowskiBroadcast MinkowskiBroadcastConcatenation MinkowskiELU
MinkowskiHardshrink MinkowskiHardsigmoid MinkowskiHardtanh MinkowskiHardswish MinkowskiLeakyReLU
MinkowskiLogSigmoid MinkowskiPReLU MinkowskiReLU MinkowskiReLU6 MinkowskiRReLU MinkowskiSELU
MinkowskiCELU MinkowskiGELU MinkowskiSigmoid MinkowskiSiLU MinkowskiSoftplus MinkowskiSoftshrink
MinkowskiSoftsign MinkowskiTanh MinkowskiTanhshrink MinkowskiThreshold MinkowskiSoftmin
MinkowskiSoftmax MinkowskiLogSoftmax MinkowskiAdaptiveLogSoftmaxWithLoss MinkowskiDropout
MinkowskiAlphaDropout MinkowskiSinusoidal MinkowskiBatchNorm MinkowskiSyncBatchNorm
MinkowskiInstanceNorm MinkowskiInstanceNormFunction MinkowskiStableInstanceNorm MinkowskiPruning
MinkowskiPruningFunction MinkowskiUnion MinkowskiUnionFunction MinkowskiInterpolation
MinkowskiInterpolationFunction MinkowskiNetwork MinkowskiOps MinkowskiLinear
MinkowskiToSparseTensor MinkowskiToDenseTensor MinkowskiToFeature MinkowskiStackCat
MinkowskiStackSum MinkowskiStackMean MinkowskiStackVar cat mean var to_sparse to_sparse_all
dense_coordinates sum MinkowskiFunctional utils modules spmm MinkowskiSPMMFunction
MinkowskiSPMMAverageFunction
""".split()
FUNCTIONS = """
threshold relu hardtanh hardswish relu6 elu selu celu leaky_relu prelu rrelu glu gelu logsigmoid
hardshrink tanhshrink softsign softplus softmin softmax softshrink gumbel_softmax log_softmax tanh
sigmoid hardsigmoid silu batch_norm normalize linear dropout alpha_dropout binary_cross_entropy
binary_cross_entropy_with_logits poisson_nll_loss cross_entropy hinge_embedding_loss kl_div l1_loss
mse_loss multilabel_margin_loss multilabel_soft_margin_loss multi_margin_loss nll_loss
smooth_l1_loss soft_margin_loss
""".split()
UTILS = """
sparse_quantize ravel_hash_vec fnv_hash_vec unique_coordinate_map SparseCollation
batched_coordinates sparse_collate batch_sparse_collate kaiming_normal_ summary
""".split()
# Names that programs import from the module where upstream writes them.
WITHIN = {
    "MinkowskiCommon": "convert_to_int_list convert_to_int_tensor MinkowskiModuleBase",
    "MinkowskiTensor": "COORDINATE_MANAGER_DIFFERENT_ERROR COORDINATE_KEY_DIFFERENT_ERROR",
    "MinkowskiSparseTensor": "SparseTensor CoordinateMapKey",
    "MinkowskiTensorField": "TensorField",
    "MinkowskiCoordinateManager": "CoordinateManager",
    "MinkowskiKernelGenerator": "KernelGenerator KernelRegion",
    "MinkowskiConvolution": "MinkowskiConvolution MinkowskiConvolutionTranspose",
    "MinkowskiChannelwiseConvolution": "MinkowskiChannelwiseConvolution",
    "MinkowskiPooling": "MinkowskiGlobalMaxPooling MinkowskiAvgPooling",
    "MinkowskiBroadcast": "MinkowskiBroadcast MinkowskiBroadcastMultiplication",
    "MinkowskiNonlinearity": "MinkowskiReLU MinkowskiNonlinearityBase",
    "MinkowskiNormalization": "MinkowskiBatchNorm MinkowskiInstanceNorm",
    "MinkowskiPruning": "MinkowskiPruning",
    "MinkowskiUnion": "MinkowskiUnion",
    "MinkowskiInterpolation": "MinkowskiInterpolation",
    "MinkowskiNetwork": "MinkowskiNetwork",
    "MinkowskiOps": "cat MinkowskiLinear to_sparse dense_coordinates",
    "MinkowskiFunctional": "relu cross_entropy",
    "sparse_matrix_functions": "spmm spmm_average MinkowskiSPMMFunction",
    "diagnostics": "print_diagnostics",
    "modules.resnet_block": "BasicBlock Bottleneck",
    "modules.senet_block": "SELayer SEBasicBlock SEBottleneck",
    "utils.collation": "SparseCollation batched_coordinates",
    "utils.quantization": "sparse_quantize quantize quantize_label",
    "utils.gradcheck": "gradcheck",
    "utils.init": "kaiming_normal_",
    "utils.coords": "get_coords_map",
}
ENUMERATIONS = {
    "GPUMemoryAllocatorType": "PYTORCH CUDA",
    "MinkowskiAlgorithm": "DEFAULT MEMORY_EFFICIENT SPEED_OPTIMIZED",
    "CoordinateMapType": "CPU CUDA",
    "RegionType": "HYPER_CUBE HYPER_CROSS CUSTOM",
    "BroadcastMode": "ELEMENTWISE_ADDITON ELEMENTWISE_MULTIPLICATION",
    "ConvolutionMode": "DEFAULT DIRECT_GEMM COPY_GEMM",
    "PoolingMode": (
        "LOCAL_SUM_POOLING LOCAL_AVG_POOLING LOCAL_MAX_POOLING GLOBAL_SUM_POOLING_DEFAULT "
        "GLOBAL_AVG_POOLING_DEFAULT GLOBAL_MAX_POOLING_DEFAULT GLOBAL_SUM_POOLING_KERNEL "
        "GLOBAL_AVG_POOLING_KERNEL GLOBAL_MAX_POOLING_KERNEL GLOBAL_SUM_POOLING_PYTORCH_INDEX "
        "GLOBAL_AVG_POOLING_PYTORCH_INDEX GLOBAL_MAX_POOLING_PYTORCH_INDEX"
    ),
}


@pytest.mark.parametrize("name", TOP)
def test_the_package_exports_upstreams_names(name):
    assert getattr(ME, name) is not None


@pytest.mark.parametrize(
    ("module", "names"),
    [("MinkowskiFunctional", FUNCTIONS), ("utils", UTILS)]
    + [(module, names.split()) for module, names in WITHIN.items()],
)
def test_modules_have_upstreams_names(module, names):
    found = import_module(f"gossamer.compat.minkowski.{module}")
    assert [name for name in names if not hasattr(found, name)] == []


@pytest.mark.parametrize("name", ENUMERATIONS)
def test_enumerations_have_upstreams_members(name):
    kind = getattr(ME, name)
    assert kind is getattr(_C, name)
    for number, member in enumerate(ENUMERATIONS[name].split()):
        assert int(getattr(kind, member)) == number


def test_the_version_is_that_of_the_api():
    assert ME.__version__ == "0.5.4"


def test_layers_are_modules_of_the_base_by_which_programs_find_them():
    layers = [getattr(ME, name) for name in TOP if name.startswith("Minkowski")]
    modules = [x for x in layers if isinstance(x, type) and issubclass(x, nn.Module)]
    # Upstream has these apart.
    apart = {f"Minkowski{name}" for name in "Network Linear Union BatchNorm SyncBatchNorm".split()}
    apart |= {name for name in TOP if name.startswith("MinkowskiStack")}
    for module in modules:
        assert module.__name__ in apart or issubclass(module, ME.MinkowskiModuleBase), module


def test_questions_about_the_gpu_have_answers_without_one(monkeypatch):
    assert ME.is_cuda_available() == torch.cuda.is_available()
    monkeypatch.setattr(torch.version, "cuda", "12.4")
    assert ME.cuda_version() == ME.cudart_version() == 12040
    monkeypatch.setattr(torch.version, "cuda", None)
    assert ME.cuda_version() == -1
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RuntimeError, match="torch sees no GPU"):
        ME.get_gpu_memory_info()


def test_diagnostics_say_the_versions(capsys):
    ME.print_diagnostics()
    printed = capsys.readouterr().out
    assert torch.__version__ in printed
    assert "gossamer" in printed


def test_a_network_must_say_what_it_computes():
    class Unfinished(ME.MinkowskiNetwork):
        pass

    class Finished(ME.MinkowskiNetwork):
        def forward(self, x):
            return x

    with pytest.raises(TypeError, match="abstract"):
        Unfinished(3)
    assert Finished(3).D == 3


PROGRAM = """
import gossamer.compat
gossamer.compat.install("MinkowskiEngine")
import MinkowskiEngine as ME
import MinkowskiEngine.MinkowskiFunctional as MEF
import MinkowskiEngine.MinkowskiOps as me
import MinkowskiEngineBackend._C as backend
from MinkowskiEngine import SparseTensor
from MinkowskiEngine.modules.resnet_block import BasicBlock
from MinkowskiEngine.utils import sparse_quantize
from MinkowskiEngine.utils.gradcheck import gradcheck
import gossamer.compat.minkowski as facade
assert ME is facade and MEF is facade.MinkowskiFunctional and me.cat is ME.cat
assert backend.RegionType is ME.RegionType
print(ME.__version__)
"""


def test_an_installed_facade_is_found_under_upstreams_name():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.stdout.strip() == "0.5.4", done.stderr


def test_the_library_does_not_load_the_facade():
    loaded = "import gossamer, sys; print('gossamer.compat.minkowski' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
