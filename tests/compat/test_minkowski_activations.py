"""Activations of MinkowskiEngine's API: torch.nn's, on the features, whatever the order of rows."""

import pytest
import torch
from torch import nn

import gossamer.compat.minkowski as ME
from tests.compat.clouds_of_sites import cloud, field

PLAIN = (
    "ELU Hardshrink Hardsigmoid Hardtanh Hardswish LeakyReLU LogSigmoid PReLU ReLU ReLU6 SELU CELU "
    "GELU Sigmoid SiLU Softplus Softshrink Softsign Tanh Tanhshrink"
).split()
ARGUMENTS = {
    "Threshold": (0.1, 20.0),
    "Softmin": (1,),
    "Softmax": (1,),
    "LogSoftmax": (1,),
}
EVERY = [(name, ()) for name in PLAIN] + list(ARGUMENTS.items())


def made(name: str, arguments: tuple, **options) -> tuple[nn.Module, nn.Module]:
    """The layer under test, and torch's."""
    layer = getattr(ME, f"Minkowski{name}")(*arguments, **options)
    return layer, getattr(nn, name)(*arguments, **options)


@pytest.mark.parametrize(("name", "arguments"), EVERY)
@pytest.mark.parametrize("make", [cloud, field])
def test_an_activation_does_to_features_what_torch_does(name, arguments, make):
    layer, other = made(name, arguments)
    x = make() * 8.0  # to both sides of every bend
    y = layer(x)
    assert type(y) is type(x)
    torch.testing.assert_close(y.F, other(x.F), rtol=0, atol=0)
    assert torch.equal(y.C, x.C)
    assert y.coordinate_manager is x.coordinate_manager


@pytest.mark.parametrize(("name", "arguments"), EVERY)
def test_an_activation_behind_a_convolution_keeps_the_rows_of_the_caller(name, arguments):
    layer, other = made(name, arguments)
    x, conv = cloud(), ME.MinkowskiConvolution(4, 6, 3, dimension=3)
    torch.testing.assert_close(layer(conv(x)).F, other(conv(x).F))


@pytest.mark.parametrize(("name", "arguments"), EVERY)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_an_activation_keeps_the_dtype(name, arguments, dtype):
    layer, other = made(name, arguments)
    x = cloud(dtype=dtype)
    y = layer.to(dtype)(x)
    assert y.F.dtype == dtype
    torch.testing.assert_close(y.F, other.to(dtype)(x.F), rtol=0, atol=0)


@pytest.mark.parametrize("name", PLAIN)
def test_an_activation_has_gradients(name):
    layer, _ = made(name, ())
    layer, x = layer.double(), cloud((3, 2), dtype=torch.float64)
    features = x.F.clone().requires_grad_()

    def forward(f):
        tensor = ME.SparseTensor(
            f, coordinate_map_key=x.coordinate_map_key, coordinate_manager=x.coordinate_manager
        )
        return layer(tensor).F

    assert torch.autograd.gradcheck(forward, (features,))


@pytest.mark.parametrize(("name", "arguments"), EVERY)
def test_an_activation_of_a_tensor_without_sites_has_none(name, arguments):
    assert made(name, arguments)[0](cloud((0,))).F.shape == (0, 4)


@pytest.mark.parametrize("name", ["Dropout", "AlphaDropout", "RReLU"])
def test_a_random_layer_draws_in_the_order_of_the_caller(name):
    layer, other = made(name, ())
    x, conv = cloud(), ME.MinkowskiConvolution(4, 6, 3, dimension=3)
    y = conv(x)
    expected = conv(x).F.detach().clone()
    torch.manual_seed(3)
    mine = layer(y).F
    torch.manual_seed(3)
    assert torch.equal(mine, other(expected))
    assert torch.equal(layer.eval()(y).F, other.eval()(expected))


@pytest.mark.parametrize(("name", "arguments"), EVERY)
def test_what_is_no_tensor_of_sites_is_an_error(name, arguments):
    layer, _ = made(name, arguments)
    with pytest.raises(TypeError, match="input is Tensor; wanted a SparseTensor or a TensorField"):
        layer(torch.zeros(3, 4))


def test_dropout_of_everything_leaves_nothing():
    assert not ME.MinkowskiDropout(1.0)(cloud()).F.any()


@pytest.mark.parametrize("name", ["ReLU", "LeakyReLU", "ELU"])
def test_in_place_writes_into_the_features(name):
    x = cloud()
    before = x.F.clone()
    y = getattr(ME, f"Minkowski{name}")(inplace=True)(x)
    assert torch.equal(x.F, y.F)
    assert not torch.equal(x.F, before)


def test_what_a_layer_learns_is_under_module():
    assert list(ME.MinkowskiPReLU(4).state_dict()) == ["module.weight"]


def test_layers_are_shown_without_arguments():
    assert repr(ME.MinkowskiLeakyReLU(0.2)) == "MinkowskiLeakyReLU()"


def test_adaptive_softmax_takes_the_classes():
    x = cloud(channels=32)
    layer = ME.MinkowskiAdaptiveLogSoftmaxWithLoss(32, 12, [4, 8])
    classes = torch.randint(12, (len(x),))
    output, loss = layer(x, classes)
    expected = layer.module.log_prob(x.F).gather(1, classes[:, None]).squeeze(1)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(loss, -expected.mean())


@pytest.mark.parametrize("make", [cloud, field])
def test_a_sinusoidal_layer_is_the_sine_of_an_affine_map(make):
    x, layer = make(), ME.MinkowskiSinusoidal(4, 7)
    parts = layer.state_dict()
    assert {name: tuple(t.shape) for name, t in parts.items()} == {
        "kernel": (4, 7),
        "bias": (1, 7),
        "coef": (1, 7),
    }
    expected = torch.sin(x.F @ parts["kernel"] + parts["bias"]) * parts["coef"]
    torch.testing.assert_close(layer(x).F, expected)


def test_a_sinusoidal_layer_follows_autocast():
    layer = ME.MinkowskiSinusoidal(4, 7)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(cloud())
    torch.testing.assert_close(y.F.float(), layer(cloud()).F, rtol=0.05, atol=0.05)
