"""Every layer and a network, on the kernels of a GPU, give what plain PyTorch gives."""

import pytest
import torch

from gossamer import Coords, Geometry, NoBackendError, Rulebook, SparseTensor, nn
from gossamer.ops import plans
from gossamer.ops.dispatch import use_backend
from gossamer.rulebook import Table
from tests.nn.layers import LAYERS
from tests.scenes import scene

pytestmark = pytest.mark.interpreter


def on(backend: str, make, x: SparseTensor) -> list[torch.Tensor]:
    """Result and gradients of a layer made from the same seed."""
    torch.manual_seed(0)
    layer = make()
    features = x.features.clone().requires_grad_()
    with use_backend(backend):
        y = layer(SparseTensor(features, x.coords, x.spatial_shape, x.batch_size))
        out = y.features if isinstance(y, SparseTensor) else y
        out.square().sum().backward()
    sites = [y.coords] if isinstance(y, SparseTensor) else []
    return [*sites, out, features.grad, *(p.grad for p in layer.parameters())]


def same(results: list[torch.Tensor], expected: list[torch.Tensor]) -> None:
    for result, wanted in zip(results, expected, strict=True):
        torch.testing.assert_close(result, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_gives_what_plain_pytorch_gives(garbage, name):
    x = scene(2, sites=30)
    same(on("triton", LAYERS[name], x), on("reference", LAYERS[name], x))


@pytest.mark.parametrize("sites", [0, 1])
@pytest.mark.parametrize("name", ["submanifold", "strided", "there and back", "Max pool"])
def test_no_site_and_a_single_one(garbage, name, sites):
    x = scene(2, sites=sites)
    same(on("triton", LAYERS[name], x), on("reference", LAYERS[name], x))


def network() -> nn.SparseSequential:
    """Down, around and up again, with everything that a chain does in one pass."""
    return nn.SparseSequential(
        nn.SubMConv3d(4, 8, 3, bias=False),
        nn.BatchNorm(8),
        nn.ReLU(),
        nn.SparseConv3d(8, 8, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm(8),
        nn.ReLU(),
        nn.Residual(
            nn.SparseSequential(nn.SubMConv3d(8, 8, 3, bias=False), nn.BatchNorm(8)),
            activation=nn.ReLU(),
        ),
        nn.SparseInverseConv3d(8, 5, 3),
    )


@pytest.mark.parametrize("training", [True, False])
def test_a_network_gives_what_plain_pytorch_gives(garbage, training):
    x = scene(3, sites=24)
    make = lambda: network().train(training)  # noqa: E731
    same(on("triton", make, x), on("reference", make, x))


def test_a_network_in_one_pass_gives_what_it_gives_layer_by_layer(garbage):
    x, model = scene(3, sites=24), network().eval()
    with torch.no_grad():
        with use_backend("triton"):
            fused = model(x).features
        with use_backend("reference"):
            alone = x
            for layer in model:
                alone = layer(alone)
    torch.testing.assert_close(fused, alone.features, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["submanifold", "strided", "there and back", "global Max"])
def test_the_same_input_gives_the_same_bits(garbage, name):
    x = scene(2, sites=60)
    first, second = (on("triton", LAYERS[name], x) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("name", ["submanifold", "strided", "grouped", "depthwise"])
def test_a_gradient_has_a_gradient(garbage, name):
    x = scene(2, sites=20)

    def second(backend: str) -> list[torch.Tensor]:
        torch.manual_seed(0)
        layer = LAYERS[name]()
        features = x.features.clone().requires_grad_()
        with use_backend(backend):
            y = layer(x.with_features(features)).features.square().sum()
            (grad,) = torch.autograd.grad(y, features, create_graph=True)
            grad.square().sum().backward()
        return [features.grad, *(p.grad for p in layer.parameters() if p.grad is not None)]

    same(second("triton"), second("reference"))


def test_what_triton_refuses_is_computed_from_the_same_table(garbage):
    """float64 goes to plain PyTorch, on the rulebook that was made for Triton."""
    x = scene(2, sites=20, dtype=torch.float64)
    geometry = Geometry.of("regular", 2, 3, stride=2, padding=1)
    weight = torch.randn(9, 4, 3, dtype=torch.float64, requires_grad=True)
    with use_backend("triton"):
        rulebook = x.sites.rulebook(geometry)
        with pytest.raises(NoBackendError, match=r"no torch\.float64 kernel"):
            rulebook.convolve(x.features, weight)
    with use_backend("reference"):
        expected = x.sites.to("cpu").kept(torch.arange(20)).rulebook(geometry)
        y = rulebook.convolve(x.features, weight)
        torch.testing.assert_close(y, expected.convolve(x.features, weight))
        (grad,) = torch.autograd.grad(y.square().sum(), weight)
        (wanted,) = torch.autograd.grad(
            expected.convolve(x.features, weight).square().sum(), weight
        )
    torch.testing.assert_close(grad, wanted)


def test_pairs_that_repeat_go_to_plain_pytorch_and_others_become_a_table(garbage):
    triples = torch.tensor([[0, 0, 1], [1, 2, 1], [1, 0, 0]])
    with use_backend("triton"):
        assert isinstance(Rulebook.of_triples(triples, 2, 3, 2).layout, Table)
        twice = Rulebook.of_triples(torch.cat([triples, triples[:1]]), 2, 3, 2)
    x, weight = torch.randn(3, 4), torch.randn(2, 4, 5)
    with use_backend("reference"):
        y = twice.convolve(x, weight)
    expected = torch.stack([x[0] @ weight[1], 2 * x[0] @ weight[0] + x[2] @ weight[1]])
    torch.testing.assert_close(y, expected)


def test_a_compiled_network_is_one_graph(garbage):
    model = nn.SparseSequential(
        nn.SubMConv2d(4, 4, 3),
        nn.ReLU(),
        nn.SparseConv2d(4, 4, 3, 2, 1),
        nn.SparseInverseConv2d(4, 2, 3),
    )
    x = scene(2, sites=20)

    def run(f) -> list[torch.Tensor]:
        model.zero_grad()
        y = f(SparseTensor(x.features, Coords.of(x.coords, x.spatial_shape, x.batch_size)[0]))
        y.features.square().sum().backward()
        return [y.features.detach(), *(p.grad.clone() for p in model.parameters())]

    with use_backend("triton"):
        expected = run(model)
        same(run(torch.compile(model, fullgraph=True, backend="aot_eager")), expected)


@pytest.mark.parametrize("kind", ["submanifold", "strided"])
def test_every_dataflow_gives_the_same(garbage, kind):
    x = scene(3, sites=30)
    make = {
        "submanifold": lambda: nn.SubMConv3d(4, 6, 3),
        "strided": lambda: nn.SparseConv3d(4, 6, 3, 2, 1),
    }[kind]
    expected = on("reference", make, x)
    for dataflow in plans.DATAFLOWS:
        with plans.in_dataflow(dataflow):
            same(on("triton", make, x), expected)
    with pytest.raises(ValueError, match="'sideways'"), plans.in_dataflow("sideways"):
        pass
