"""A SparseSequential computes what its modules compute one by one, in fewer passes over memory."""

import copy

import pytest
import torch
from torch import nn

from gossamer import SparseTensor
from gossamer import nn as gnn
from tests.nn.passes import passes, trained
from tests.scenes import scene


def one_by_one(links, x: SparseTensor) -> SparseTensor:
    """The links called by themselves; those of torch on the features."""
    for link in links:
        on_features = type(link).__module__.startswith("torch.nn")
        x = x.with_features(link(x.features)) if on_features else link(x)
    return x


FIRST = {
    "submanifold": lambda bias: gnn.SubMConv2d(4, 6, 3, bias=bias),
    "strided": lambda bias: gnn.SparseConv2d(4, 6, 3, 2, 1, bias=bias),
    "transposed": lambda bias: gnn.SparseConvTranspose2d(4, 6, 2, 2, bias=bias),
    "grouped": lambda bias: gnn.SubMConv2d(4, 6, 3, groups=2, bias=bias),
    "linear": lambda bias: gnn.Linear(4, 6, bias=bias),
}
REST = {
    "norm and relu": lambda: [gnn.BatchNorm(6), gnn.ReLU()],
    "norm and leaky relu": lambda: [gnn.BatchNorm(6), gnn.LeakyReLU(0.3)],
    "norm alone": lambda: [gnn.BatchNorm(6)],
    "sync norm": lambda: [gnn.SyncBatchNorm(6), gnn.ReLU()],
    "relu alone": lambda: [gnn.ReLU()],
    "torch's own": lambda: [nn.BatchNorm1d(6), nn.ReLU(inplace=True)],
    "norm without parameters": lambda: [gnn.BatchNorm(6, affine=False), gnn.ReLU()],
}
APART = {
    "norm of the batch": lambda: [gnn.BatchNorm(6, track_running_stats=False), gnn.ReLU()],
    "another norm": lambda: [gnn.LayerNorm(6), gnn.Tanh()],
    "another activation": lambda: [gnn.ReLU6()],
    "a slope below zero": lambda: [gnn.LeakyReLU(-0.5)],
}


@pytest.mark.parametrize("rest", [*REST, *APART])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("first", FIRST)
def test_without_gradients_a_chain_computes_what_its_modules_do(backend, first, bias, rest):
    layers = FIRST[first](bias), *{**REST, **APART}[rest]()
    chain = trained(gnn.SparseSequential(*layers)).double().eval()
    x = scene(2, 60, dtype=torch.float64)
    with torch.no_grad():
        y, expected = chain(x), one_by_one(chain, x)
    assert torch.equal(y.coords, expected.coords)
    torch.testing.assert_close(y.features, expected.features, rtol=1e-11, atol=1e-11)
    if rest in REST:
        assert passes(chain, x) == ["conv_fused"]


@pytest.mark.parametrize("rest", REST)
def test_a_norm_without_a_convolution_before_it_takes_one_pass(backend, rest):
    chain = trained(gnn.SparseSequential(gnn.Tanh(), *REST[rest]())).double().eval()
    x = scene(2, 60, 6, dtype=torch.float64)
    with torch.no_grad():
        expected = one_by_one(chain, x).features
        torch.testing.assert_close(chain(x).features, expected, rtol=1e-11, atol=1e-11)
    if rest not in ("relu alone", "norm alone"):
        assert passes(chain, x) == ["affine"]


@pytest.mark.parametrize("sites", [0, 1, 2, 300])
@pytest.mark.parametrize("rest", [*REST, *APART])
def test_in_training_a_chain_learns_what_its_modules_do(backend, rest, sites):
    if rest == "torch's own" and sites < 2:
        pytest.skip("torch's own norm raises there")
    chain = trained(gnn.SparseSequential(gnn.SubMConv2d(4, 6, 3), *{**REST, **APART}[rest]()))
    chain, twin = chain.double(), copy.deepcopy(chain).double()
    x = scene(2, sites, side=16, dtype=torch.float64)
    leaf, other = (x.features.clone().requires_grad_() for _ in range(2))
    y = chain(x.with_features(leaf)).features
    expected = one_by_one(twin, x.with_features(other)).features
    cotangent = torch.randn_like(expected)
    y.backward(cotangent)
    expected.backward(cotangent)
    within = {"rtol": 1e-9, "atol": 1e-9}
    torch.testing.assert_close(y, expected, **within)
    torch.testing.assert_close(leaf.grad, other.grad, **within)
    for mine, yours in zip(chain.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, yours.grad, **within)
    for mine, yours in zip(chain.buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(mine, yours, **within)


def block(columns: int, activation: nn.Module | None, **options) -> gnn.Residual:
    around = (
        None
        if columns == 4
        else gnn.SparseSequential(gnn.Linear(4, columns), gnn.BatchNorm(columns))
    )
    body = gnn.SparseSequential(gnn.SubMConv2d(4, columns, 3), gnn.BatchNorm(columns, **options))
    return trained(gnn.Residual(body, around, activation)).double()


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("activation", [None, gnn.ReLU(), gnn.LeakyReLU(0.2), gnn.Tanh()])
@pytest.mark.parametrize("columns", [4, 6])
def test_a_residual_is_the_activation_of_the_sum(backend, columns, activation, train):
    residual = block(columns, activation).train(train)
    x = scene(2, 60, dtype=torch.float64)
    for gradients in (True, False):
        with torch.set_grad_enabled(gradients):
            total = one_by_one(residual.body, x) + one_by_one(residual.around, x)
            expected = total if activation is None else activation(total)
            y = residual(x)
        torch.testing.assert_close(y.features, expected.features, rtol=1e-11, atol=1e-11)
        assert y.sites is x.sites
    if not train and not isinstance(activation, gnn.Tanh):
        assert passes(residual, x) == ["conv_fused"] * (1 if columns == 4 else 2)


@pytest.mark.parametrize("slope", [None, 0.0, 0.2])
@pytest.mark.parametrize("columns", [4, 6])
def test_a_residual_that_learns_has_true_gradients_of_first_and_second_order(
    backend, columns, slope
):
    residual = block(columns, None if slope is None else gnn.LeakyReLU(slope))
    x = scene(2, 9, dtype=torch.float64)
    names, parameters = zip(*residual.named_parameters(), strict=True)
    leaf = x.features.clone().requires_grad_()

    def run(features, *values):
        given = dict(zip(names, values, strict=True))
        return torch.func.functional_call(residual, given, x.with_features(features)).features

    assert torch.autograd.gradcheck(run, (leaf, *parameters), fast_mode=True)
    assert torch.autograd.gradgradcheck(run, (leaf, *parameters), fast_mode=True)


def test_a_sum_on_other_sites_is_their_union():
    residual = gnn.Residual(
        gnn.SparseSequential(gnn.SparseConv2d(4, 4, 3, padding=1), gnn.BatchNorm(4))
    )
    x = scene(2, 20)
    with torch.no_grad():
        y = residual.eval()(x)
        body = residual.body(x)
    assert len(body) > len(x)
    torch.testing.assert_close(y.dense(), body.dense() + x.dense())


@pytest.mark.parametrize("kind", ["forward", "forward_pre"])
@pytest.mark.parametrize("place", ["conv", "norm", "relu", "body"])
def test_a_module_with_a_hook_is_called(place, kind):
    chain = trained(
        gnn.Residual(
            gnn.SparseSequential(gnn.SubMConv2d(4, 4, 3), gnn.BatchNorm(4)), None, gnn.ReLU()
        )
    ).eval()
    modules = {
        "conv": chain.body[0],
        "norm": chain.body[1],
        "relu": chain.activation,
        "body": chain.body,
    }
    calls = []
    getattr(modules[place], f"register_{kind}_hook")(lambda *args: calls.append(place))
    x = scene(2)
    x = x.with_features(x.features.requires_grad_())
    for gradients in (True, False):
        with torch.set_grad_enabled(gradients):
            y = chain(x).features
    assert calls == [place, place]
    assert not y.requires_grad


def test_a_hook_on_all_modules_is_called_for_each():
    chain, names = (
        gnn.SparseSequential(gnn.SubMConv2d(4, 4, 3), gnn.BatchNorm(4), gnn.ReLU()).eval(),
        [],
    )
    handle = nn.modules.module.register_module_forward_hook(
        lambda module, *_: names.append(type(module).__name__)
    )
    try:
        with torch.no_grad():
            chain(scene(2))
    finally:
        handle.remove()
    assert names == ["SubMConv2d", "BatchNorm", "ReLU", "SparseSequential"]


class Loud(gnn.SubMConv2d):
    """A layer whose forward does something else."""

    def forward(self, x):
        """Twice the convolution."""
        return super().forward(x) * 2


class Double(gnn.ReLU):
    """An activation that does something else."""

    def forward(self, x):
        """Twice the sites' features."""
        return x * 2


def test_a_class_of_a_users_own_is_called():
    for layers in (
        [Loud(4, 4, 3), gnn.BatchNorm(4)],
        [gnn.SubMConv2d(4, 4, 3), gnn.BatchNorm(4), Double()],
    ):
        chain = trained(gnn.SparseSequential(*layers)).eval()
        with torch.no_grad():
            expected = one_by_one(layers, scene(2)).features
            torch.testing.assert_close(chain(scene(2)).features, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_a_chain_has_the_dtype_and_the_values_of_its_modules(backend, dtype):
    residual = block(4, gnn.ReLU()).float().eval()
    x = scene(2)
    with torch.autocast("cpu", dtype):
        chain = gnn.SparseSequential(gnn.SubMConv2d(4, 4, 3), gnn.BatchNorm(4), gnn.ReLU()).eval()
        for module in (chain, residual):
            expected = module(x).features
            with torch.no_grad():
                y = module(x).features
            assert y.dtype == expected.dtype
            # A few roundings of numbers of unit size.
            within = 8 * torch.finfo(dtype).eps * expected.abs().max()
            assert (y - expected).abs().max() <= within


def test_a_chain_in_half_precision_computes_in_it(backend):
    chain = trained(gnn.SparseSequential(gnn.SubMConv2d(4, 6, 3), gnn.BatchNorm(6), gnn.ReLU()))
    chain, x = chain.eval(), scene(2)
    with torch.no_grad():
        exact = chain(x).features
        y = copy.deepcopy(chain).half()(x.half()).features
    assert y.dtype == torch.float16
    assert (y - exact).abs().max() <= 16 * torch.finfo(torch.float16).eps * exact.abs().max()


def test_parameters_that_want_no_gradient_need_no_grad_mode_to_be_off():
    chain = trained(gnn.SparseSequential(gnn.SubMConv2d(4, 6, 3), gnn.BatchNorm(6), gnn.ReLU()))
    assert "conv_fused" not in passes(chain.eval(), scene(2), gradients=True)
    chain.requires_grad_(False)
    assert passes(chain, scene(2), gradients=True) == ["conv_fused"]
