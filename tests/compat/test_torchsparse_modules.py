"""TorchSparse's layers: parameters, norms and activations are torch's on the rows of a tensor."""

import math

import pytest
import torch
from torch import nn

from gossamer.compat import torchsparse
from gossamer.compat.torchsparse import backends
from gossamer.compat.torchsparse import nn as spnn
from gossamer.compat.torchsparse.nn import functional as F
from gossamer.compat.torchsparse.nn.utils import get_kernel_offsets
from tests.compat.torchsparse_by_hand import defaults, rows, taps, tensor

pytestmark = pytest.mark.usefixtures(defaults.__name__)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    ("size", "stride", "shape"),
    [(3, 1, (27, 5, 7)), (1, 1, (5, 7)), (1, 2, (1, 5, 7)), ((3, 1, 2), 1, (6, 5, 7))],
)
def test_parameters_have_the_names_shapes_and_bounds_of_torchsparse(
    size, stride, shape, transposed
):
    conv = spnn.Conv3d(5, 7, size, stride, bias=True, transposed=transposed)
    assert {k: v.shape for k, v in conv.state_dict().items()} == {"kernel": shape, "bias": (7,)}
    bound = 1 / math.sqrt((7 if transposed else 5) * conv.kernel_volume)
    for parameter in conv.parameters():
        assert parameter.abs().max() <= bound
    assert conv.kernel.abs().max() > 0.9 * bound
    assert abs(float(conv.kernel.detach().mean())) < 0.3 * bound
    plain = spnn.Conv3d(5, 7, size, stride)
    assert plain.bias is None and list(plain.state_dict()) == ["kernel"]


def test_arguments_come_in_the_order_of_torchsparse_and_are_kept():
    conv = spnn.Conv3d(
        1, 2, (3, 2, 3), (1, 1, 2), (5, 6, 7), 1, True, True, False, {"ifsort": True}
    )
    assert (conv.in_channels, conv.out_channels, conv.dilation) == (1, 2, 1)
    assert (conv.kernel_size, conv.stride) == ((3, 2, 3), (1, 1, 2))
    assert conv.padding == (1, 6, 7)
    assert conv.transposed and not conv.generative and conv._config == {"ifsort": True}
    told = "1, 2, kernel_size=(3, 2, 3), stride=(1, 1, 2), transposed=True"
    assert conv.extra_repr() == told
    assert spnn.Conv3d(1, 2).extra_repr() == "1, 2, kernel_size=(3, 3, 3), bias=False"
    dilated = spnn.Conv3d(1, 2, (3, 5, 3), (1, 1, 2), dilation=2)
    assert dilated.padding == (2, 4, 0)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, (3, 3, 2), (1, 3, 5)])
def test_offsets_come_in_the_order_of_a_kernel_from_the_left_middle_on(size):
    sizes = (size,) * 3 if isinstance(size, int) else size
    wanted = [[d - (k - 1) // 2 for d, k in zip(t, sizes, strict=True)] for t in taps(sizes)]
    came = get_kernel_offsets(size)
    assert came.dtype == torch.int32 and came.tolist() == wanted
    scaled = get_kernel_offsets(size, (1, 2, 3), 2)
    assert torch.equal(scaled, came * torch.tensor([2, 4, 6]))


@pytest.mark.parametrize("behind_a_layer", [False, True])
@pytest.mark.parametrize(
    ("layer", "function", "reference"),
    [
        (spnn.ReLU, F.relu, nn.ReLU()),
        (lambda inplace: spnn.LeakyReLU(0.1, inplace), F.leaky_relu, nn.LeakyReLU(0.1)),
        (spnn.SiLU, F.silu, nn.SiLU()),
    ],
)
def test_activations_are_those_of_torch(layer, function, reference, behind_a_layer):
    x = tensor(rows(), dtype=torch.float32)
    x = spnn.Conv3d(3, 3, 3)(x).detach() if behind_a_layer else x
    wanted = reference(x.F.clone())
    for inplace in (False, True):
        given = torchsparse.SparseTensor(x.F.clone(), x.C)
        y = layer(inplace)(given)
        assert torch.equal(y.F, wanted) and y.C is x.C
        assert torch.equal(given.F, wanted) is inplace
        for options, written in (({"inplace": inplace}, inplace), ({}, True)):
            given = torchsparse.SparseTensor(x.F.clone(), x.C)
            assert torch.equal(function(given, **options).F, wanted)
            assert torch.equal(given.F, wanted) is written


def samples(x) -> list[torch.Tensor]:
    return [(x.C[:, 0] == b).nonzero().squeeze(1) for b in x.C[:, 0].unique()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("affine", [False, True])
def test_instance_norm_is_that_of_torch_on_each_sample(dtype, affine):
    x = tensor(rows(), 4, dtype=dtype)
    norm = spnn.InstanceNorm(4, affine=affine).to(dtype)
    for parameter in norm.parameters():
        nn.init.uniform_(parameter)
    y = norm(x)
    assert y.F.dtype == dtype
    for own in samples(x):
        reference = nn.InstanceNorm1d(4, affine=affine).to(torch.float64)
        reference.load_state_dict(norm.state_dict())
        wanted = reference(x.F[own].double().T.unsqueeze(0)).squeeze(0).T
        atol = 20 * torch.finfo(dtype).eps
        torch.testing.assert_close(y.F[own].double(), wanted, rtol=0, atol=atol)


@pytest.mark.parametrize("momentum", [0.1, 0.5, None])
def test_running_statistics_are_the_mean_of_those_of_the_samples_and_count_in_eval(momentum):
    coords = rows()[:40]
    coords[:, 0] = torch.arange(40) % 2
    x = tensor(coords, 4, dtype=torch.float32)
    options = {"momentum": momentum, "affine": True, "track_running_stats": True}
    norm, reference = spnn.InstanceNorm(4, **options), nn.InstanceNorm1d(4, **options)
    together = torch.stack([x.F[own].T for own in samples(x)])
    for _ in range(2):
        y, wanted = norm(x), reference(together)
        for own, each in zip(samples(x), wanted, strict=True):
            torch.testing.assert_close(y.F[own], each.T)
    for key, value in reference.state_dict().items():
        torch.testing.assert_close(norm.state_dict()[key], value)
    y, wanted = norm.eval()(x), reference.eval()(together)
    for own, each in zip(samples(x), wanted, strict=True):
        torch.testing.assert_close(y.F[own], each.T)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_group_norm_is_that_of_torch_on_each_sample(dtype, groups):
    x = tensor(rows(), 6, spatial_range=(3, 8, 8, 8), dtype=dtype)
    norm = spnn.GroupNorm(groups, 6).to(dtype)
    for parameter in norm.parameters():
        nn.init.uniform_(parameter)
    y = norm(x)
    assert (y.F.dtype, y.spatial_range) == (dtype, x.spatial_range) and y.C is x.C
    reference = nn.GroupNorm(groups, 6).double()
    reference.load_state_dict(norm.state_dict())
    for own in samples(x):
        wanted = reference(x.F[own].double().T.unsqueeze(0)).squeeze(0).T
        atol = 20 * torch.finfo(dtype).eps
        torch.testing.assert_close(y.F[own].double(), wanted, rtol=0, atol=atol)


@pytest.mark.parametrize("train", [True, False])
def test_batch_norm_is_that_of_torch_on_all_rows(train):
    x = tensor(rows(), 4, dtype=torch.float32)
    norm, reference = spnn.BatchNorm(4).train(train), nn.BatchNorm1d(4).train(train)
    torch.testing.assert_close(norm(x).F, reference(x.F))
    torch.testing.assert_close(norm.state_dict(), reference.state_dict())
    assert isinstance(norm, nn.BatchNorm1d)


@pytest.mark.parametrize(
    "norm", [spnn.InstanceNorm(2, affine=True), spnn.GroupNorm(1, 2), spnn.BatchNorm(2)], ids=repr
)
def test_norms_have_the_gradients_of_finite_differences(cpu_backend, norm):
    norm = norm.double()
    coords = rows(9)

    def run(feats):
        return norm(torchsparse.SparseTensor(feats, coords)).F

    feats = torch.randn(9, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(run, feats)


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize(
    "norm", [spnn.InstanceNorm, spnn.BatchNorm, lambda c: spnn.GroupNorm(2, c)]
)
def test_norms_take_few_rows_or_none(norm, count):
    x = tensor(rows(count), 4, dtype=torch.float32, grad=True)
    y = norm(4)(x)
    assert y.F.shape == (count, 4) and y.F.isfinite().all()
    y.F.sum().backward()
    assert x.F.grad is not None


def test_a_norm_of_another_width_says_so():
    x = tensor(rows(), 4, dtype=torch.float32)
    for norm in (spnn.InstanceNorm(3), spnn.GroupNorm(1, 3)):
        with pytest.raises(ValueError, match=r"feats has shape \(60, 4\).*\[N, 3\]"):
            norm(x)


def test_settings_of_kernels_are_there_without_a_gpu():
    backends.benchmark = True
    backends.init()
    assert backends.benchmark is False and backends.hash_rsv_ratio == 2
    assert isinstance(backends.allow_tf32, bool) and isinstance(backends.allow_fp16, bool)
    assert backends.device_capability >= 0


def test_every_name_of_torchsparse_is_there():
    layers = (
        "Conv3d BatchNorm InstanceNorm GroupNorm ReLU LeakyReLU SiLU GlobalAvgPool GlobalMaxPool"
    )
    layers += " SparseCrop ToBEVConvolution ToBEVReduction ToDenseBEVConvolution"
    layers += " ToBEVHeightCompression"
    functions = "relu silu leaky_relu conv3d spcount spcrop spdevoxelize calc_ti_weights sphash"
    functions += " sphashquery global_avg_pool global_max_pool spvoxelize build_kernel_map"
    functions += " transpose_kernel_map spdownsample spupsample_generative Dataflow ConvMode"
    functions += " convert_transposed_out_in_map get_conv_mode set_conv_mode get_kmap_mode"
    functions += " set_kmap_mode get_downsample_mode set_downsample_mode conv_config"
    functions += " get_default_conv_config set_global_conv_config"
    top = "SparseTensor PointTensor cat generative_add tune backends __version__ tensor nn utils"
    for module, names in ((spnn, layers), (F, functions), (torchsparse, top)):
        assert [name for name in names.split() if not hasattr(module, name)] == []


@pytest.mark.parametrize("bounded", [False, True])
def test_a_network_goes_on_where_a_stride_has_stepped_over_every_site(bounded):
    x = tensor(torch.tensor([[0, 1, 1, 1]]).int(), 3, (3, 7, 8, 9) if bounded else None)
    x = spnn.Conv3d(3, 3, 1, 3).double()(x)
    assert x.F.shape == (0, 3)
    for size, stride, padding in ((3, 1, 0), (4, 2, 0), (1, 2, 1)):
        x = spnn.Conv3d(3, 3, size, stride, padding).double()(x)
        assert x.F.shape == (0, 3)
    assert spnn.Conv3d(3, 3, 1, 2, 1, transposed=True).double()(x).s == (6, 6, 6)


def test_the_range_of_nothing_does_not_fall_below_nothing():
    x = tensor(rows(0), spatial_range=(3, 1, 5, 1))
    assert spnn.Conv3d(3, 3, 5, 2).double()(x).spatial_range == (3, 0, 1, 0)


@pytest.mark.parametrize(
    "norm", [spnn.BatchNorm(4), spnn.GroupNorm(2, 4), spnn.InstanceNorm(4)], ids=repr
)
def test_a_norm_says_what_it_was_built_for(norm):
    with pytest.raises(TypeError, match=r"the input is a Tensor; wanted a torchsparse\.SparseTen"):
        norm(torch.zeros(3, 4))
    with pytest.raises(ValueError, match="this layer was built for"):
        norm(torchsparse.SparseTensor(torch.zeros(5, 3), torch.arange(20).view(5, 4).int()))
