"""What spconv's layers do beside convolving: activations, residuals, autocast, higher gradients."""

import pytest
import torch
from torch import Tensor, nn

import gossamer.compat.spconv.pytorch as spconv
from gossamer.compat.cumm import tensorview as tv
from gossamer.compat.spconv.pytorch.conv import SparseConvolution
from tests.compat.rows import ORDERS, summed, tensor
from tests.dense import gathered

Activation = tv.gemm.Activation
ACTIVATIONS = {
    Activation.None_: lambda y: y,
    Activation.ReLU: torch.relu,
    Activation.Sigmoid: torch.sigmoid,
    Activation.LeakyReLU: lambda y: nn.functional.leaky_relu(y, 0.3),
}
KINDS = ("SubMConv", "SparseConv", "SparseConvTranspose", "SparseInverseConv")


def layer_and_input(
    kind: str, channels: int, out: int, x: spconv.SparseConvTensor
) -> tuple[SparseConvolution, spconv.SparseConvTensor]:
    """A 3-tap layer of some kind over D axes, and a tensor that it can take."""
    leaf = getattr(spconv, f"{kind}{len(x.spatial_shape)}d")
    if kind != "SparseInverseConv":
        return leaf(channels, out, 3, 2, 1).to(x.features.dtype), x
    pool = getattr(spconv, f"SparseMaxPool{len(x.spatial_shape)}d")
    return leaf(channels, out, 3, "key").to(x.features.dtype), pool(3, 2, 1, indice_key="key")(x)


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("kind", ["Conv", "ConvTranspose"])
def test_weights_in_krsc_are_those_of_torch_with_their_axes_moved(ndim, kind):
    x = tensor(ndim, 40, 3, uneven=True, dtype=torch.float64)
    layer = getattr(spconv, f"Sparse{kind}{ndim}d")(3, 5, 3, 2, 1, bias=False).double()
    twin = getattr(nn, f"{kind}{ndim}d")(3, 5, 3, 2, 1, bias=False).double()
    out_and_in = (0, ndim + 1) if kind == "Conv" else (ndim + 1, 0)
    with torch.no_grad():
        twin.weight.copy_(layer.weight.permute(*out_and_in, *range(1, ndim + 1)))
    torch.testing.assert_close(layer(x).dense(), twin(x.dense()))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", ["SubMConv", "SparseConv"])
def test_a_layer_of_one_tap_multiplies_by_the_weight_as_it_lies_in_memory(kind, ndim, order):
    x = tensor(ndim, 40, 6, order)
    padding = 1 if kind == "SubMConv" else 0  # which has nothing to say there
    layer = getattr(spconv, f"{kind}{ndim}d")(6, 4, 1, padding=padding, indice_key="key")
    y = layer(x)
    expected = x.features @ layer.weight.view(6, 4) + layer.bias
    torch.testing.assert_close(y.features, expected)
    assert y.indices is x.indices
    assert y.indice_dict == {}


@pytest.mark.parametrize("options", [{"stride": 2}, {"groups": 2}])
def test_a_layer_of_one_tap_that_is_more_than_a_product_has_its_weight_in_krsc(options):
    x = tensor(3, 40, 6, dtype=torch.float64)
    layer = spconv.SparseConv3d(6, 4, 1, bias=False, **options).double()
    twin = nn.Conv3d(6, 4, 1, bias=False, **options).double()
    with torch.no_grad():
        twin.weight.copy_(layer.weight.permute(0, 4, 1, 2, 3))
    torch.testing.assert_close(layer(x).dense(), twin(x.dense()))


def test_an_inverse_layer_of_one_tap_has_its_weight_in_krsc():
    x = tensor(3, 40, 6, "repeated")
    down = spconv.SparseConv3d(6, 6, 1, 2, indice_key="key")
    y = down(x)
    layer = spconv.SparseInverseConv3d(6, 4, 1, "key")
    z = layer(y)
    even = (x.indices[:, 1:] % 2 == 0).all(1, keepdim=True)
    # In a batch of several samples the coarse place is found by its coordinates.
    halves = torch.cat([x.indices[:, :1], x.indices[:, 1:] // 2], 1)
    grid = summed(y.features, y.indices, y.batch_size, y.spatial_shape)
    expected = gathered(grid, halves) @ layer.weight.view(4, 6).t() * even + layer.bias
    torch.testing.assert_close(z.features, expected)


def test_an_inverse_layer_of_one_tap_is_a_product_where_the_sites_were_left_alone():
    x = tensor(3, 40, 6, "shuffled")
    y = spconv.SparseConv3d(6, 6, 1, indice_key="key")(x)
    layer = spconv.SparseInverseConv3d(6, 4, 1, "key")
    z = layer(y)
    torch.testing.assert_close(z.features, y.features @ layer.weight.view(6, 4) + layer.bias)
    assert z.indices is x.indices


@pytest.mark.parametrize("order", ["shuffled", "repeated"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_has_true_gradients_of_first_and_second_order(backend, kind, order):
    x = tensor(2, 6, 2, order, side=5, batch=1, dtype=torch.float64)
    layer, x = layer_and_input(kind, 2, 2, x)

    def run(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        parameters = {"weight": weight, "bias": bias}
        moved = x.replace_feature(features)
        return torch.func.functional_call(layer, parameters, (moved,)).features

    inputs = [t.detach().requires_grad_() for t in (x.features, layer.weight, layer.bias)]
    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, inputs, fast_mode=True)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", [*KINDS, "one tap"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_gives_its_dtype_with_and_without_training(kind, dtype, training):
    x = tensor(3, 60, 8, "repeated")
    if kind == "one tap":
        layer: SparseConvolution = spconv.SubMConv3d(8, 5, 1)
    else:
        layer, x = layer_and_input(kind, 8, 5, x)
    layer.train(training)
    for half_input in (False, True):
        came = x.replace_feature(x.features.to(dtype)) if half_input else x
        for gradients in (True, False):
            with torch.autocast("cpu", dtype), torch.set_grad_enabled(gradients):
                y = layer(came)
            assert y.features.dtype == dtype
            exact = layer(x)
            size = exact.features.abs().max()
            roundings = 8 * torch.finfo(dtype).eps
            assert (y.features - exact.features).abs().max() <= roundings * size
    y.dense()
    with torch.autocast("cpu", dtype):
        layer(x).features.float().sum().backward()
    assert layer.weight.grad.dtype == layer.bias.grad.dtype == torch.float32


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_bias_then_residual_then_activation(kind, act, training, residual):
    x = tensor(2, 30, 4, "repeated", dtype=torch.float64)
    layer, x = layer_and_input(kind, 4, 5, x)
    layer.train(training)
    plain = layer(x)
    add = plain.replace_feature(torch.randn_like(plain.features)) if residual else None
    summand = add.features if add is not None else 0
    layer.act_type, layer.act_alpha = act, 0.3
    expected = ACTIVATIONS[act](plain.features + summand)
    for gradients in (True, False):
        with torch.set_grad_enabled(gradients):
            y = layer(x, add)
        torch.testing.assert_close(y.features, expected)
        assert y.features.requires_grad == gradients


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_a_layer_of_one_tap_adds_a_residual_and_activates_too(act):
    x, add = (tensor(2, 30, 4, "repeated", seed=seed) for seed in (0, 1))
    layer = spconv.SubMConv2d(4, 4, 1)
    plain = layer(x).features
    layer.act_type, layer.act_alpha = act, 0.3
    y = layer(x, add_input=add).features
    torch.testing.assert_close(y, ACTIVATIONS[act](plain + add.features))


def test_an_activation_asked_for_at_construction_is_that_of_its_number():
    x = tensor(2, 30, 4)
    layer = SparseConvolution(2, 4, 5, 3, subm=True, act_type=Activation.ReLU).eval()
    twin = spconv.SubMConv2d(4, 5, 3)
    twin.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer(x).features, twin(x).features.relu())


def test_a_residual_on_other_sites_is_refused():
    x = tensor(2, 30, 4)
    other = spconv.SparseConvTensor(x.features, x.indices.flip(0), x.spatial_shape, 3)
    with pytest.raises(ValueError, match="indices"):
        spconv.SubMConv2d(4, 4, 3)(x, add_input=other)


def test_parameters_are_made_with_the_dtype_asked_for():
    layer = SparseConvolution(2, 4, 5, 3, dtype=torch.float64, device="cpu")
    assert layer.weight.dtype == layer.bias.dtype == torch.float64
    assert layer(tensor(2, 30, 4, dtype=torch.float64)).features.dtype == torch.float64


@pytest.mark.parametrize("order", ORDERS)
def test_rows_in_another_order_give_the_same_sums(order):
    x = tensor(3, 60, 4, order)
    turned = spconv.SparseConvTensor(
        x.features.flip(0).contiguous(), x.indices.flip(0).contiguous(), x.spatial_shape, 3
    )
    layer = spconv.SparseConv3d(4, 5, 3, 2, 1)
    y, other = layer(x), layer(turned)
    assert torch.equal(y.indices, other.indices)
    torch.testing.assert_close(y.features, other.features)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", KINDS)
def test_one_thread_and_two_give_the_same_bits(kind, order):
    # 20 000 rows are enough for kernels to run in parallel.
    x = tensor(3, 20_000, 16, order, side=48)
    layer, x = layer_and_input(kind, 16, 16, x)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 2):
            torch.set_num_threads(threads)
            layer.zero_grad()
            leaf = x.features.detach().requires_grad_()
            fresh = spconv.SparseConvTensor(leaf, x.indices.clone(), x.spatial_shape, 3)
            fresh.indice_dict = x.indice_dict
            y = layer(fresh)
            y.features.square().sum().backward()
            found.append([y.indices, y.features, leaf.grad, layer.weight.grad, layer.bias.grad])
    finally:
        torch.set_num_threads(before)
    for one, two, again in zip(*found, strict=True):
        assert torch.equal(one, two)
        assert torch.equal(two, again)
