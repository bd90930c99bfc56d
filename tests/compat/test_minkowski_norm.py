"""Norms of MinkowskiEngine's API: over all rows as torch has it, or over each sample alone."""

import pytest
import torch
from torch import Tensor, nn

import gossamer.compat.minkowski as ME
from gossamer.compat.minkowski.utils.gradcheck import gradcheck
from tests.compat.clouds_of_sites import cloud, field

BATCH_NORMS = [ME.MinkowskiBatchNorm, ME.MinkowskiSyncBatchNorm]
INSTANCE_NORMS = {ME.MinkowskiInstanceNorm: 1e-8, ME.MinkowskiStableInstanceNorm: 1e-6}


@pytest.mark.parametrize("norm", BATCH_NORMS)
@pytest.mark.parametrize("make", [cloud, field])
def test_batch_norm_is_torchs_over_all_rows(norm, make):
    mine, other, x = norm(4), nn.BatchNorm1d(4), make()
    for _ in range(2):
        torch.testing.assert_close(mine(x).F, other(x.F), rtol=1e-5, atol=1e-5)
    for name, buffer in other.named_buffers():
        torch.testing.assert_close(mine.state_dict()[f"bn.{name}"], buffer)
    torch.testing.assert_close(mine.eval()(x).F, other.eval()(x.F))


@pytest.mark.parametrize("norm", BATCH_NORMS)
def test_batch_norm_keeps_torchs_names_and_settings(norm):
    layer = norm(4, eps=0.5, momentum=0.25, affine=True, track_running_stats=True)
    assert set(layer.state_dict()) == {f"bn.{name}" for name in nn.BatchNorm1d(4).state_dict()}
    assert (layer.bn.eps, layer.bn.momentum) == (0.5, 0.25)
    assert repr(layer) == (
        f"{norm.__name__}(4, eps=0.5, momentum=0.25, affine=True, track_running_stats=True)"
    )
    bare = norm(4, affine=False, track_running_stats=False)
    assert not bare.state_dict()
    torch.testing.assert_close(bare(cloud()).F.mean(0), torch.zeros(4), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_of_half_types_is_that_of_wider_ones(dtype, training):
    x, layer = cloud(dtype=dtype), ME.MinkowskiBatchNorm(4).train(training)
    y = layer(x).F
    assert y.dtype == dtype
    expected = nn.BatchNorm1d(4).train(training)(x.F.float())
    torch.testing.assert_close(y.float(), expected, rtol=1e-2, atol=1e-2)


def test_batch_norm_has_gradients():
    x = cloud((5, 4), dtype=torch.float64)
    layer = ME.MinkowskiBatchNorm(4).double()
    features = x.F.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda f: layer(on(x, f)).F, (features,))


@pytest.mark.parametrize("count", [0, 1])
def test_batch_norm_of_less_than_two_rows_takes_the_running_statistics(count):
    layer = ME.MinkowskiBatchNorm(4)
    layer.bn.running_mean.fill_(2.0)
    x = cloud((count,))
    torch.testing.assert_close(layer(x).F, (x.F - 2) / (1 + 1e-5) ** 0.5)
    assert layer.bn.running_mean.tolist() == [2.0] * 4
    assert layer.eval()(x).F.shape == (count, 4)


def test_batch_norm_runs_the_hooks_on_the_inner_norm():
    layer, seen = ME.MinkowskiBatchNorm(4), []
    layer.bn.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    layer(cloud())
    assert seen == [(33, 4)]


@pytest.mark.parametrize("norm", [*BATCH_NORMS, *INSTANCE_NORMS])
def test_a_norm_refuses_other_channels(norm):
    with pytest.raises(ValueError, match="the input has 4 channels; this layer was built for 1"):
        norm(1)(cloud())


def test_norms_of_a_network_become_synchronised_ones():
    network = nn.Sequential(
        ME.MinkowskiBatchNorm(4, eps=0.5, momentum=0.2),
        nn.Sequential(ME.MinkowskiReLU(), ME.MinkowskiBatchNorm(4, affine=False)),
    )
    network(cloud())
    before, state = list(network.parameters()), network.state_dict()
    converted = ME.MinkowskiSyncBatchNorm.convert_sync_batchnorm(network)
    assert converted is network
    assert isinstance(network[0], ME.MinkowskiSyncBatchNorm)
    assert isinstance(network[1][1], ME.MinkowskiSyncBatchNorm)
    assert isinstance(network[0].bn, nn.SyncBatchNorm)
    assert (network[0].bn.eps, network[0].bn.momentum) == (0.5, 0.2)
    assert all(a is b for a, b in zip(before, network.parameters(), strict=True))
    assert all(torch.equal(state[name], tensor) for name, tensor in network.state_dict().items())


def test_a_synchronised_norm_keeps_eval_mode():
    layer = ME.MinkowskiSyncBatchNorm.convert_sync_batchnorm(ME.MinkowskiBatchNorm(4).eval())
    assert not layer.training
    assert not layer.bn.training


def on(x: ME.SparseTensor, features: Tensor) -> ME.SparseTensor:
    """The sites of `x` with other features."""
    return ME.SparseTensor(
        features,
        coordinate_map_key=x.coordinate_map_key,
        coordinate_manager=x.coordinate_manager,
    )


def alone(features: Tensor, eps: float) -> Tensor:
    """The rows [N, C] of one sample, normalised."""
    centred = features - features.mean(0)
    return centred / (centred.square().mean(0) + eps).sqrt()


@pytest.mark.parametrize("norm", INSTANCE_NORMS)
@pytest.mark.parametrize("counts", [(20, 13), (7,), (9, 0, 6), (1, 5)])
def test_instance_norm_is_that_of_each_sample_alone(norm, counts):
    x, layer = cloud(counts), norm(4)
    with torch.no_grad():
        layer.weight.uniform_(0.5, 2)
        layer.bias.uniform_(-1, 1)
    y = layer(x)
    for sample in range(len(counts)):
        rows = x.C[:, 0] == sample
        if rows.any():
            expected = alone(x.F[rows], INSTANCE_NORMS[norm]) * layer.weight + layer.bias
            torch.testing.assert_close(y.F[rows], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", INSTANCE_NORMS)
def test_instance_norm_behind_a_convolution_keeps_the_rows_of_the_caller(norm):
    x, conv = cloud(), ME.MinkowskiConvolution(4, 4, 3, dimension=3)
    torch.testing.assert_close(norm(4)(conv(x)).F, norm(4)(on(x, conv(x).F)).F)


def test_the_larger_eps_is_seen_where_the_variance_is_small():
    x = cloud()
    small = on(x, x.F * 1e-3)
    plain, stable = ME.MinkowskiInstanceNorm(4)(small).F, ME.MinkowskiStableInstanceNorm(4)(small).F
    assert ((plain - stable).abs() > 0.01).any()


@pytest.mark.parametrize("norm", INSTANCE_NORMS)
def test_instance_norm_keeps_upstreams_names(norm):
    shapes = {name: tuple(t.shape) for name, t in norm(4).state_dict().items()}
    assert shapes == {"weight": (1, 4), "bias": (1, 4)}
    assert repr(norm(4)) == f"{norm.__name__}(nchannels=4)"


@pytest.mark.parametrize("norm", INSTANCE_NORMS)
def test_instance_norm_can_be_reset(norm):
    layer = norm(4)
    with torch.no_grad():
        layer.weight.fill_(3)
        layer.bias.fill_(3)
    layer.reset_parameters()
    assert layer.weight.unique().item() == 1
    assert layer.bias.unique().item() == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_instance_norm_sums_half_types_in_float32(dtype):
    x = cloud((400,), channels=2)
    # The sum of the squares is far above what float16 holds.
    large = on(x, (x.F * 300).to(dtype))
    y = ME.MinkowskiInstanceNorm(2)(large)
    assert y.F.dtype == dtype
    torch.testing.assert_close(y.F.float(), alone(large.F.float(), 0), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("norm", INSTANCE_NORMS)
def test_instance_norm_of_a_tensor_without_sites_has_none(norm):
    assert norm(4)(cloud((0,))).F.shape == (0, 4)


def test_instance_norm_as_a_function_has_gradients_of_both_orders():
    x = cloud((5, 4), channels=2, dtype=torch.float64)
    features = x.F.clone().requires_grad_()
    arguments = (features, x.coordinate_map_key, None, x.coordinate_manager)
    function = ME.MinkowskiInstanceNormFunction()
    assert gradcheck(function, arguments)
    assert torch.autograd.gradgradcheck(lambda f: function.apply(f, *arguments[1:]), (features,))
    expected = ME.MinkowskiInstanceNorm(2).double()(x).F
    torch.testing.assert_close(function.apply(*arguments), expected)


def test_an_error_says_which_layer_of_a_network_it_comes_from():
    network = nn.Sequential(ME.MinkowskiReLU(), nn.Sequential(ME.MinkowskiBatchNorm(3)))
    with pytest.raises(ValueError, match=r"in layer 1\.0 \(MinkowskiBatchNorm\): the input has 4"):
        network(cloud())


def test_arguments_may_be_named():
    x = cloud()
    for layer in (ME.MinkowskiBatchNorm(4), ME.MinkowskiInstanceNorm(4)):
        assert torch.equal(layer(input=x).F, layer(x).F)


def test_instance_norm_refuses_a_field():
    with pytest.raises(AssertionError, match="input is TensorField; wanted a SparseTensor"):
        ME.MinkowskiInstanceNorm(4)(field())
