"""Layers of TorchSparse 1.4, and where programs find what they import."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from gossamer.compat.torchsparse14 import SparseTensor
from gossamer.compat.torchsparse14 import nn as spnn
from gossamer.compat.torchsparse14.nn import functional as F
from tests.compat.test_torchsparse14_conv import places

ROOT = Path(__file__).resolve().parents[2]
NAMES = {
    "torchsparse": "SparseTensor PointTensor cat backend __version__",
    "torchsparse.tensor": "SparseTensor PointTensor",
    "torchsparse.operators": "cat",
    "torchsparse.version": "__version__",
    "torchsparse.nn": "Conv3d BatchNorm GroupNorm ReLU LeakyReLU GlobalAvgPool GlobalMaxPool "
    "SparseCrop ToBEVConvolution ToBEVReduction ToDenseBEVConvolution ToBEVHeightCompression",
    "torchsparse.nn.modules": "Conv3d BatchNorm",
    "torchsparse.nn.modules.activation": "ReLU LeakyReLU",
    "torchsparse.nn.modules.bev": "ToBEVReduction ToBEVConvolution",
    "torchsparse.nn.modules.conv": "Conv3d",
    "torchsparse.nn.modules.crop": "SparseCrop",
    "torchsparse.nn.modules.norm": "BatchNorm GroupNorm",
    "torchsparse.nn.modules.pooling": "GlobalAvgPool GlobalMaxPool",
    "torchsparse.nn.functional": "relu leaky_relu conv3d spcount spcrop spdevoxelize "
    "calc_ti_weights spdownsample sphash global_avg_pool global_max_pool sphashquery spvoxelize",
    "torchsparse.nn.functional.activation": "relu leaky_relu",
    "torchsparse.nn.functional.conv": "conv3d",
    "torchsparse.nn.functional.count": "spcount",
    "torchsparse.nn.functional.crop": "spcrop",
    "torchsparse.nn.functional.devoxelize": "spdevoxelize calc_ti_weights",
    "torchsparse.nn.functional.downsample": "spdownsample",
    "torchsparse.nn.functional.hash": "sphash",
    "torchsparse.nn.functional.pooling": "global_avg_pool global_max_pool",
    "torchsparse.nn.functional.query": "sphashquery",
    "torchsparse.nn.functional.voxelize": "spvoxelize",
    "torchsparse.nn.utils": "fapply get_kernel_offsets",
    "torchsparse.nn.utils.apply": "fapply",
    "torchsparse.nn.utils.kernel": "get_kernel_offsets",
    "torchsparse.utils": "make_ntuple",
    "torchsparse.utils.utils": "make_ntuple",
    "torchsparse.utils.collate": "sparse_collate sparse_collate_fn",
    "torchsparse.utils.quantize": "sparse_quantize",
    "torchsparse.backend": " ".join(
        f"{name}_{device}"
        for name in "convolution_forward convolution_backward voxelize_forward voxelize_backward "
        "devoxelize_forward devoxelize_backward hash kernel_hash hash_query count".split()
        for device in ("cpu", "cuda")
    ),
}


def tensor(channels=4, samples=3, dtype=torch.float32):
    coords = places(60, samples=samples)
    return SparseTensor(torch.randn(len(coords), channels, dtype=dtype), coords)


def test_every_name_is_where_programs_import_it_from():
    lines = ["from gossamer.compat import install", "install('torchsparse', api='1.4')"]
    lines += [f"from {module} import {name}" for module in NAMES for name in NAMES[module].split()]
    lines += ["from torchsparse.nn.utils import *", "from torchsparse.nn.functional import *"]
    lines += ["assert fapply and spvoxelize", "import torchsparse.nn.functional as spf"]
    lines += ["import torchsparse, torchsparse.nn as spnn, importlib.metadata as metadata"]
    lines += ["assert spf.conv3d and spnn.functional is spf and torchsparse.backend.hash_cpu"]
    lines += ["assert metadata.version('torchsparse') == torchsparse.__version__ == '1.4.0'"]
    lines += ["install('spconv')", "import spconv.pytorch"]
    program = "\n".join(lines)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_convolution_is_declared_as_upstream_declares_it():
    conv = spnn.Conv3d(3, 5, (3, 1, 2), 2, 4, True, True)
    assert (conv.in_channels, conv.out_channels) == (3, 5)
    assert (conv.kernel_size, conv.stride, conv.dilation) == ((3, 1, 2), (2, 2, 2), 4)
    assert conv.transposed is True and conv.kernel_volume == 6
    assert {k: tuple(v.shape) for k, v in conv.state_dict().items()} == {
        "kernel": (6, 3, 5),
        "bias": (5,),
    }
    for stride in (1, 2):
        assert list(spnn.Conv3d(3, 5, 1, stride).state_dict()) == ["kernel"]
        assert spnn.Conv3d(3, 5, 1, stride).kernel.shape == (3, 5)
    assert str(spnn.Conv3d(3, 5)) == "Conv3d(3, 5, kernel_size=(3, 3, 3), bias=False)"
    assert "stride=(2, 2, 2), dilation=4, transposed=True" in str(conv)


@pytest.mark.parametrize("transposed", [False, True])
def test_weights_start_even_in_a_reach_that_fits_their_number(transposed):
    conv = spnn.Conv3d(30, 50, 3, bias=True, transposed=transposed)
    reach = ((50 if transposed else 30) * 27) ** -0.5
    for parameter in (conv.kernel, conv.bias):
        assert parameter.abs().max() <= reach
    assert conv.kernel.abs().max() > 0.99 * reach and conv.kernel.mean().abs() < 0.02 * reach
    assert conv.kernel.std().item() == pytest.approx(reach / 3**0.5, rel=0.02)
    torch.manual_seed(5)
    conv.reset_parameters()
    torch.manual_seed(5)
    drawn = torch.empty(27, 30, 50).uniform_(-reach, reach)
    assert torch.equal(conv.kernel.detach(), drawn)


def test_batch_norm_is_torchs_and_its_state_too():
    x, own, theirs = tensor(), spnn.BatchNorm(4), nn.BatchNorm1d(4)
    assert list(own.state_dict()) == list(theirs.state_dict())
    for training in (True, False):
        own.train(training)
        theirs.train(training)
        torch.testing.assert_close(own(x).F, theirs(x.F))
    torch.testing.assert_close(own.running_var, theirs.running_var)
    single = SparseTensor(torch.randn(1, 4), torch.zeros(1, 4).int())
    assert own.train()(single).F.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_group_norm_is_torchs_on_each_sample_alone(groups, affine, dtype):
    x = tensor(samples=2, dtype=dtype)  # of samples 0 and 2, none of 1
    own, theirs = (make(groups, 4, affine=affine) for make in (spnn.GroupNorm, nn.GroupNorm))
    if affine:
        for norm in (own, theirs):
            nn.init.constant_(norm.weight, 1.5)
            nn.init.constant_(norm.bias, -0.5)
    y = own(x)
    assert y.C is x.C and y.kmaps is x.kmaps and y.F.dtype == dtype
    near = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 0, "atol": 5e-3}
    for sample in (0, 2):
        rows = x.C[:, 3] == sample
        wanted = theirs(x.F[rows].float().t().unsqueeze(0))[0].t()
        torch.testing.assert_close(y.F[rows].float(), wanted, **near)


def test_group_norm_has_the_gradient_it_should():
    x, norm = tensor(dtype=torch.float64), spnn.GroupNorm(2, 4).double()
    feats = x.F.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda f: norm(SparseTensor(f, x.C)).F, feats)
    assert norm(SparseTensor(feats[:0], x.C[:0])).F.shape == (0, 4)


def test_activations_are_torchs_and_write_in_place_where_asked():
    x = tensor()
    kept = x.F.clone()
    torch.testing.assert_close(spnn.ReLU()(x).F, kept.relu())
    torch.testing.assert_close(spnn.LeakyReLU(0.3)(x).F, nn.functional.leaky_relu(kept, 0.3))
    assert torch.equal(x.F, kept)
    torch.testing.assert_close(
        F.leaky_relu(x, inplace=False).F, nn.functional.leaky_relu(kept, 0.1)
    )
    y = F.relu(x)
    assert y.F is x.F and torch.equal(x.F, kept.relu()) and y.cmaps is x.cmaps


@pytest.mark.parametrize("how", ["avg", "max"])
def test_global_pools_have_one_row_a_sample(how):
    x = tensor(samples=2)
    layer = {"avg": spnn.GlobalAvgPool, "max": spnn.GlobalMaxPool}[how]()
    x.F.requires_grad_()
    y = layer(x)
    assert y.shape == (3, 4) and not y[1].any()
    for sample in (0, 2):
        rows = x.F[x.C[:, 3] == sample]
        torch.testing.assert_close(y[sample], rows.mean(0) if how == "avg" else rows.amax(0))
    y.sum().backward()
    assert x.F.grad.sum() == pytest.approx(8.0, rel=1e-5)
    assert layer(SparseTensor(x.F[:0], x.C[:0])).shape == (0, 4)


def test_a_crop_is_the_one_of_its_function():
    x = tensor()
    y = spnn.SparseCrop((0, 0, 0), (3, 3, 3))(x)
    assert torch.equal(y.C, F.spcrop(x, (0, 0, 0), (3, 3, 3)).C) and 0 < len(y.C) < len(x.C)


def net():
    return nn.Sequential(
        spnn.Conv3d(4, 6, bias=True),
        spnn.BatchNorm(6),
        spnn.ReLU(True),
        spnn.Conv3d(6, 8, 2, 2),
        spnn.GroupNorm(2, 8),
        spnn.LeakyReLU(0.1, True),
        spnn.Conv3d(8, 6, 2, 2, transposed=True),
        spnn.Conv3d(6, 3, 1),
    )


@pytest.mark.parametrize("training", [True, False])
def test_everything_has_gradients_in_training_and_in_evaluation(training):
    layers, x = net().train(training), tensor()
    x.F.requires_grad_()
    layers(x).F.square().sum().backward()
    assert x.F.grad.any()
    for name, parameter in layers.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.any() or parameter.ndim == 1, name


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_whole_networks_run_in_every_dtype(dtype):
    layers, x = net().eval(), tensor()
    wanted = layers(x).F
    y = layers.to(dtype)(SparseTensor(x.F.to(dtype), x.C)).F
    assert y.dtype == dtype
    torch.testing.assert_close(
        y.float(), wanted, rtol=0, atol=0.1 if dtype != torch.float64 else 1e-5
    )


SHAPE, OFFSET = (7, 9, 6), (-2, 4, 0)


def above(samples=2, stride=(1, 1, 1)):
    """A tensor inside the map that begins at OFFSET, with heights from 0 on."""
    dice = torch.Generator().manual_seed(3)
    cells = torch.stack([torch.randint(0, size, (40,), generator=dice) for size in SHAPE], 1)
    rows = torch.unique(torch.cat([cells, torch.randint(0, samples, (40, 1))], 1), dim=0)
    rows[:, :3] = rows[:, :3] * torch.tensor(stride)
    return rows, torch.randn(len(rows), 3, dtype=torch.float64)


@pytest.mark.parametrize("stride", [(1, 1, 1), (2, 1, 3)])
@pytest.mark.parametrize("dim", [0, 1, 2])
def test_a_dense_map_sums_each_voxel_through_the_kernel_of_its_height(dim, stride):
    rows, feats = above(stride=stride)
    layer = spnn.ToDenseBEVConvolution(3, 2, SHAPE, dim=dim).double()
    y = layer(SparseTensor(feats, rows.int(), stride))
    axes = [axis for axis in range(3) if axis != dim]
    wanted = torch.zeros(2, 2, *(SHAPE[axis] for axis in axes), dtype=torch.float64)
    for (*p, b), value in zip(rows.tolist(), feats, strict=True):
        cell = [v // s for v, s in zip(p, stride, strict=True)]
        wanted[b, :, cell[axes[0]], cell[axes[1]]] += value @ layer.kernel[cell[dim]]
    torch.testing.assert_close(y, wanted)
    assert sorted(layer.state_dict()) == ["kernel", "offset", "shape"]


@pytest.mark.parametrize("stride", [(1, 1, 1), (2, 1, 3)])
def test_a_compressed_map_has_heights_in_its_channels(stride):
    rows, feats = above(stride=stride)
    layer = spnn.ToBEVHeightCompression(3, SHAPE, offset=OFFSET, dim=1)
    moved = rows.clone()
    moved[:, :3] += torch.tensor(OFFSET)
    if stride != (1, 1, 1):
        moved, layer = rows, spnn.ToBEVHeightCompression(3, SHAPE)
    y = layer(SparseTensor(feats, moved.int(), stride))
    wanted = torch.zeros(2, SHAPE[1], 3, SHAPE[0], SHAPE[2], dtype=torch.float64)
    for (*p, b), value in zip(rows.tolist(), feats, strict=True):
        cell = [v // s for v, s in zip(p, stride, strict=True)]
        wanted[b, cell[1], :, cell[0], cell[2]] = value
    torch.testing.assert_close(y, wanted.flatten(1, 2))


def test_a_sparse_map_keeps_coordinates_in_voxels_of_the_input():
    rows, feats = above(stride=(2, 2, 2))
    x = SparseTensor(feats, rows.int(), 2)
    y = spnn.ToBEVReduction(dim=2)(x)
    columns: dict[tuple[int, ...], list] = {}
    for (i, j, _, b), value in zip(rows.tolist(), feats, strict=True):
        columns.setdefault((i, j, 0, b), []).append(value)
    assert y.s == (2, 2, 2) and sorted(map(tuple, y.C.tolist())) == sorted(columns)
    for row, value in zip(y.C.tolist(), y.F, strict=True):
        torch.testing.assert_close(value, torch.stack(columns[tuple(row)]).mean(0))
    layer = spnn.ToBEVConvolution(3, 2, 6, stride=2, dim=2).double()
    z = layer(x)
    sums: dict[tuple[int, ...], torch.Tensor] = {}
    for (i, j, k, b), value in zip(rows.tolist(), feats, strict=True):
        cell = (i // 4 * 4, j // 4 * 4, 0, b)
        sums[cell] = sums.get(cell, 0) + value @ layer.kernel[k // 2]
    assert z.s == (4, 4, 4) and sorted(map(tuple, z.C.tolist())) == sorted(sums)
    for row, value in zip(z.C.tolist(), z.F, strict=True):
        torch.testing.assert_close(value, sums[tuple(row)])


@pytest.mark.parametrize("norm", [spnn.BatchNorm(4), spnn.GroupNorm(2, 4)], ids=repr)
def test_a_norm_says_what_it_was_built_for(norm):
    with pytest.raises(TypeError, match=r"the input is a Tensor; wanted a torchsparse\.SparseTen"):
        norm(torch.zeros(3, 4))
    with pytest.raises(ValueError, match="feats has 3 channels; this layer was built for 4"):
        norm(SparseTensor(torch.zeros(5, 3), torch.arange(20).view(5, 4).int() % 3))
