"""Norms are torch's: over all sites, over each site's channels, or over each sample's sites."""

import copy

import pytest
import torch
from torch import nn

from gossamer import SparseTensor
from gossamer import nn as gnn
from gossamer.ops.rows import moments
from tests.scenes import scene

EPS = torch.finfo(torch.float32).eps


def with_affine(layer: nn.Module) -> nn.Module:
    torch.manual_seed(1)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    return layer


def samples(x: SparseTensor) -> list[torch.Tensor]:
    """[1, C, n]: each sample's features, as torch's norms over positions take them."""
    return [x.features[x.sites.batch == b].mT.unsqueeze(0) for b in range(x.batch_size)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("momentum", [0.1, None])
def test_batch_norm_is_that_of_torch_with_the_same_running_statistics(
    backend, train, momentum, dtype
):
    ours, theirs = (
        with_affine(norm(6, momentum=momentum)).train(train)
        for norm in (gnn.BatchNorm, nn.BatchNorm1d)
    )
    if dtype == torch.float64:
        ours, theirs = ours.double(), theirs.double()
    # Numbers of unit size around 3, a few hundred of them.
    eps = torch.finfo(torch.float64 if dtype == torch.float64 else torch.float32).eps
    within = {"rtol": 0, "atol": 300 * eps}
    for seed in range(3):
        x = scene(3, 200, 6, side=9, seed=seed, dtype=dtype)
        leaf, other = ((x.features + 3).requires_grad_() for _ in range(2))
        y, expected = ours(x.with_features(leaf)).features, theirs(other)
        assert y.dtype == dtype
        rounded = {"rtol": 0, "atol": 300 * eps + 8 * torch.finfo(dtype).eps}
        torch.testing.assert_close(y, expected, **rounded)
        cotangent = torch.randn_like(y)
        y.backward(cotangent)
        expected.backward(cotangent)
        torch.testing.assert_close(leaf.grad, other.grad, **rounded)
    for mine, yours in zip(ours.parameters(), theirs.parameters(), strict=True):
        scaled = {"rtol": 0, "atol": 3 * 200 * rounded["atol"]}
        torch.testing.assert_close(mine.grad, yours.grad, **scaled)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for key, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[key], value, **within)


@pytest.mark.parametrize("options", [{}, {"affine": False}, {"track_running_stats": False}])
@pytest.mark.parametrize("sites", [2, 9])
def test_batch_norm_has_true_gradients_of_first_and_second_order(backend, options, sites):
    x = scene(2, sites, 3, dtype=torch.float64)
    layer = with_affine(gnn.BatchNorm(3, **options).double())
    inputs = [x.features.clone().requires_grad_(), *layer.parameters()]

    def run(features, *affine):
        named = dict(zip(("weight", "bias"), affine, strict=False))
        moved = (x.with_features(features),)
        return torch.func.functional_call(layer, named, moved).features

    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)


@pytest.mark.parametrize("offset", [0, 1e3])
def test_a_variance_is_not_lost_beside_a_large_mean(backend, offset):
    x = torch.randn(20_000, 3, dtype=torch.float64)
    narrow = (x + offset).float()
    mean, variance = moments(narrow)
    torch.testing.assert_close(mean.double(), narrow.double().mean(0), rtol=4 * EPS, atol=4 * EPS)
    exact = narrow.double().var(0, unbiased=False)
    torch.testing.assert_close(variance.double(), exact, rtol=128 * EPS * max(1, offset), atol=0)


def assert_same_state(ours: nn.Module, theirs: nn.Module) -> None:
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for key, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[key], value)


@pytest.mark.parametrize("norm", [gnn.BatchNorm, gnn.SyncBatchNorm])
@pytest.mark.parametrize("count", [0, 1])
def test_too_few_sites_to_learn_from_leave_the_statistics_as_they_were(norm, count):
    layer = with_affine(norm(4))
    layer(scene(seed=1))
    before = copy.deepcopy(layer.state_dict())
    x = scene(sites=count)
    x = x.with_features(x.features.requires_grad_())
    y = layer(x).features
    assert_same_state_dict(layer.state_dict(), before)
    expected = layer.eval()(x).features
    torch.testing.assert_close(y, expected)
    y.sum().backward()
    assert layer.weight.grad.isfinite().all()
    assert x.features.grad.isfinite().all()


def assert_same_state_dict(ours: dict, theirs: dict) -> None:
    for key, value in theirs.items():
        assert torch.equal(ours[key], value)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("norm", [gnn.BatchNorm, gnn.SyncBatchNorm])
def test_without_running_statistics_one_site_is_its_own_mean(norm, train):
    layer = with_affine(norm(4, track_running_stats=False)).train(train)
    torch.testing.assert_close(layer(scene(sites=1)).features, layer.bias[None])
    assert layer(scene(sites=0)).features.shape == (0, 4)
    x = scene(sites=9)
    expected = nn.functional.batch_norm(
        x.features, None, None, layer.weight, layer.bias, training=True
    )
    torch.testing.assert_close(layer(x).features, expected)


@pytest.mark.parametrize("options", [{}, {"affine": False}, {"track_running_stats": False}])
def test_every_batch_norm_becomes_a_sync_batch_norm_with_its_state(options):
    model = gnn.SparseSequential(
        gnn.SubMConv3d(4, 6, 3), gnn.BatchNorm(6, **options), nn.Sequential(gnn.BatchNorm(6))
    )
    model(scene())
    model.eval()
    twin = gnn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(model))
    assert [type(m) for m in twin.modules()].count(gnn.SyncBatchNorm) == 2
    assert_same_state(twin, model)
    assert torch.equal(twin(scene(seed=3)).features, model(scene(seed=3)).features)


def test_layer_norm_is_that_of_torch_on_every_site():
    ours, theirs = with_affine(gnn.LayerNorm(6)), with_affine(nn.LayerNorm(6))
    x = scene(channels=6)
    assert torch.equal(ours(x).features, theirs(x.features))


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_group_norm_is_that_of_torch_on_each_sample(backend, groups, affine):
    ours = with_affine(gnn.GroupNorm(groups, 6, affine=affine))
    theirs = with_affine(nn.GroupNorm(groups, 6, affine=affine))
    assert_on_each_sample(ours, theirs)


@pytest.mark.parametrize("affine", [True, False])
def test_instance_norm_is_that_of_torch_on_each_sample(backend, affine):
    ours = with_affine(gnn.InstanceNorm(6, affine=affine))
    theirs = with_affine(nn.InstanceNorm1d(6, affine=affine))
    assert_on_each_sample(ours, theirs)


def assert_on_each_sample(ours: nn.Module, theirs: nn.Module) -> None:
    x = scene(channels=6)
    assert (x.sites.batch.bincount(minlength=3) == 0).tolist() == [False, True, False]
    leaf = x.features.clone().requires_grad_()
    y = ours(x.with_features(leaf)).features
    other = x.features.clone().requires_grad_()
    parts = [theirs(part) for part in samples(x.with_features(other)) if part.numel()]
    expected = torch.cat([part[0].mT for part in parts])
    # Means of n numbers of size 1, divided by a deviation near 1.
    within = {"rtol": 0, "atol": 8 * len(x) * EPS}
    torch.testing.assert_close(y, expected, **within)
    cotangent = torch.randn_like(y)
    y.backward(cotangent)
    expected.backward(cotangent)
    torch.testing.assert_close(leaf.grad, other.grad, **within)
    for mine, yours in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, yours.grad, **within)


@pytest.mark.parametrize("make", [lambda: gnn.GroupNorm(2, 4), lambda: gnn.InstanceNorm(4)])
def test_norms_of_samples_have_true_gradients_of_first_and_second_order(backend, make):
    x, layer = scene(2, 7, dtype=torch.float64), make().double()
    leaf = x.features.clone().requires_grad_()

    def run(features):
        return layer(x.with_features(features)).features

    assert torch.autograd.gradcheck(run, (leaf,), fast_mode=True)
    assert torch.autograd.gradgradcheck(run, (leaf,), fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_variance_in_half_precision_is_not_lost(backend, dtype):
    # 2000 sites around 300: squares leave the range of float16, and bfloat16 has 8 bits.
    x = scene(2, 2000, 4, side=64, batch=1)
    x = x.with_features((x.features * 2 + 300).to(dtype))
    y = gnn.InstanceNorm(4)(x).features
    assert y.dtype == dtype
    expected = nn.functional.layer_norm(x.features.float().mT, (2000,)).mT
    assert ((y - expected).abs() <= torch.finfo(dtype).eps * (expected.abs() + 1)).all()
