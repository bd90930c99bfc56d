"""MinkowskiFunctional: torch.nn.functional on features, whatever the order of rows."""

import pytest
import torch
from torch.nn import functional

import gossamer.compat.minkowski as ME
from tests.compat.clouds_of_sites import cloud, field

MEF = ME.MinkowskiFunctional
LAYERS = {
    **dict.fromkeys(
        "relu hardtanh hardswish relu6 elu selu celu leaky_relu glu gelu logsigmoid hardshrink "
        "tanhshrink softsign softplus softshrink tanh sigmoid hardsigmoid silu normalize".split(),
        (),
    ),
    "threshold": (0.2, 5.0),
    "softmin": (1,),
    "softmax": (1,),
    "log_softmax": (1,),
    "prelu": (torch.tensor([0.1, 0.2, 0.3, 0.4]),),
    "linear": (torch.arange(12.0).view(3, 4),),
    "batch_norm": (torch.ones(4), torch.full((4,), 2.0)),
}
RANDOM = ["rrelu", "dropout", "alpha_dropout", "gumbel_softmax"]
LOSSES = (
    "binary_cross_entropy binary_cross_entropy_with_logits poisson_nll_loss cross_entropy "
    "hinge_embedding_loss kl_div l1_loss mse_loss multilabel_margin_loss "
    "multilabel_soft_margin_loss multi_margin_loss nll_loss smooth_l1_loss soft_margin_loss"
).split()
CLASSES = {"cross_entropy", "multi_margin_loss", "nll_loss"}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("make", [cloud, field])
def test_a_function_does_to_features_what_torch_does(name, make):
    x = make()
    y = getattr(MEF, name)(x, *LAYERS[name])
    assert type(y) is type(x)
    assert torch.equal(y.C, x.C)
    expected = getattr(functional, name)(x.F, *LAYERS[name])
    torch.testing.assert_close(y.F, expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", LAYERS)
def test_a_function_behind_a_convolution_keeps_the_rows_of_the_caller(name):
    x, conv = cloud(), ME.MinkowskiConvolution(4, 4, 3, dimension=3)
    y = getattr(MEF, name)(conv(x), *LAYERS[name])
    expected = getattr(functional, name)(conv(x).F, *LAYERS[name])
    torch.testing.assert_close(y.F, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", RANDOM)
def test_a_random_function_draws_in_the_order_of_the_caller(name):
    x, conv = cloud(), ME.MinkowskiConvolution(4, 4, 3, dimension=3)
    y, training = conv(x), {} if name == "gumbel_softmax" else {"training": True}
    expected = conv(x).F
    torch.manual_seed(5)
    mine = getattr(MEF, name)(y, **training).F
    torch.manual_seed(5)
    assert torch.equal(mine, getattr(functional, name)(expected, **training))


def test_a_function_in_place_returns_the_same_features():
    x = cloud()
    y = MEF.relu(x, inplace=True)
    assert torch.equal(x.F, y.F)
    assert (x.F >= 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_torchs_on_the_rows_of_the_caller(name):
    x, conv = cloud(), ME.MinkowskiConvolution(4, 5, 3, dimension=3)
    y, features = MEF.sigmoid(conv(x)), conv(x).F.sigmoid()
    if name in CLASSES:
        target = torch.randint(5, (len(x),))
    elif name == "multilabel_margin_loss":
        target = torch.randint(-1, 5, (len(x), 5))
    else:
        target = torch.randint(2, (len(x), 5)).float()
    # torch warns of what it does to kl_div when nobody says.
    options = {"reduction": "batchmean"} if name == "kl_div" else {}
    mine = getattr(MEF, name)(y, target, **options)
    expected = getattr(functional, name)(features, target, **options)
    assert isinstance(mine, torch.Tensor)
    torch.testing.assert_close(mine, expected)


def test_a_loss_takes_torchs_options():
    x, target = cloud(), torch.randint(4, (33,))
    each = MEF.cross_entropy(x, target, reduction="none")
    assert each.shape == (33,)


def test_features_can_be_wrapped():
    x = cloud()
    y = MEF._wrap_tensor(x, x.F.clamp(min=0))
    assert torch.equal(y.F, x.F.clamp(min=0))
    assert y.coordinate_map_key == x.coordinate_map_key


def test_features_of_another_number_of_rows_are_an_error():
    x = cloud((4,))
    with pytest.raises(ValueError, match="features of 2 rows; the input has 4"):
        MEF.glu(x, dim=0)
    with pytest.raises(ValueError, match="features of 3 rows; the input has 4"):
        MEF._wrap_tensor(x, x.F[:3])


@pytest.mark.parametrize("name", [*LAYERS, *RANDOM])
def test_what_is_no_tensor_of_sites_is_an_error(name):
    with pytest.raises(TypeError, match="input is Tensor; wanted a SparseTensor or a TensorField"):
        getattr(MEF, name)(torch.zeros(3, 4), *LAYERS.get(name, ()))


@pytest.mark.parametrize("name", [*LAYERS, *RANDOM, *LOSSES])
def test_a_function_says_its_name(name):
    assert getattr(MEF, name).__name__ == name
    assert f"torch.nn.functional.{name} " in getattr(MEF, name).__doc__
