"""torch.compile takes whole networks as one graph, whatever the number of sites."""

import copy
import shutil

import pytest
import torch
from torch import nn

from gossamer import SparseTensor
from gossamer import nn as gnn
from tests.scenes import scene

WITHIN = {"rtol": 1e-4, "atol": 1e-5}  # a graph may add in another order


class Skip(nn.Module):
    """A small U: down, back to the very sites, and the channels of both side by side."""

    def __init__(self):
        super().__init__()
        self.down = nn.Sequential(gnn.SparseConv3d(4, 8, 2, 2), gnn.BatchNorm(8), gnn.ReLU())
        self.up = gnn.SparseInverseConv3d(8, 4, 2)
        self.head = gnn.SubMConv3d(4, 3, 3)

    def forward(self, x: SparseTensor) -> SparseTensor:
        return self.head(self.up(self.down(x)) + x)


NETWORKS = {
    "submanifold block": lambda: nn.Sequential(
        gnn.SubMConv3d(4, 8, 3), gnn.BatchNorm(8), gnn.ReLU(), gnn.SubMConv3d(8, 5, 3)
    ),
    "strided layer": lambda: gnn.SparseConv3d(4, 8, 3, 2, 1),
    "strided block": lambda: nn.Sequential(
        gnn.SparseConv3d(4, 8, 3, 2, 1), gnn.BatchNorm(8), gnn.ReLU(), gnn.SubMConv3d(8, 5, 3)
    ),
    "depthwise": lambda: gnn.SubMConv3d(4, 4, 3, groups=4),
    "transposed": lambda: gnn.SparseConvTranspose3d(4, 8, 2, 2),
    "generative": lambda: gnn.SparseGenerativeConvTranspose3d(4, 8, 2, 2),
    "skip": Skip,
    "pools": lambda: nn.Sequential(
        gnn.Linear(4, 6),
        gnn.SparseMaxPool3d(2),
        gnn.SparseAvgPool3d(3, 2, 1),
        gnn.SparseMaxUnpool(),
    ),
    "global": lambda: nn.Sequential(gnn.SparseConv3d(4, 6, 2, 2), gnn.SparseGlobalMaxPool()),
    "norms": lambda: nn.Sequential(
        gnn.SparseConv3d(4, 6, 2, 2), gnn.GroupNorm(2, 6), gnn.InstanceNorm(6), gnn.LayerNorm(6)
    ),
    "view": lambda: nn.Sequential(gnn.SparseConv3d(4, 6, 2, 2), gnn.ToBEV(), nn.Conv2d(12, 3, 1)),
}


def features_of(y: SparseTensor | torch.Tensor) -> torch.Tensor:
    return y.features if isinstance(y, SparseTensor) else y


def assert_compiled_equals_eager(network: nn.Module, backend: str, bounded: bool) -> None:
    torch._dynamo.reset()
    twin = copy.deepcopy(network)
    compiled = torch.compile(twin, fullgraph=True, backend=backend)
    for seed, sites in enumerate((40, 61, 53)):
        x = scene(sites=sites, seed=seed, bounded=bounded)
        other = scene(sites=sites, seed=seed, bounded=bounded)
        leaf, mirror = (t.features.clone().requires_grad_() for t in (x, other))
        y, z = network(x.with_features(leaf)), compiled(other.with_features(mirror))
        if isinstance(y, SparseTensor):
            assert torch.equal(y.coords, z.coords)
            assert y.spatial_shape == z.spatial_shape
        torch.testing.assert_close(features_of(z), features_of(y), **WITHIN)
        cotangent = torch.randn_like(features_of(y))
        features_of(y).backward(cotangent)
        features_of(z).backward(cotangent)
        torch.testing.assert_close(mirror.grad, leaf.grad, **WITHIN)
    for ours, theirs in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(theirs.grad, ours.grad, **WITHIN)
    for ours, theirs in zip(network.buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(theirs, ours, **WITHIN)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_compiled_network_is_the_eager_one_and_so_are_its_gradients(name):
    torch.manual_seed(0)
    assert_compiled_equals_eager(NETWORKS[name](), "aot_eager", bounded=name != "generative")


@pytest.mark.parametrize("name", ["strided block", "transposed"])
def test_a_grid_without_bounds_compiles_too(name):
    torch.manual_seed(0)
    assert_compiled_equals_eager(NETWORKS[name](), "aot_eager", bounded=False)


@pytest.mark.parametrize("name", ["submanifold block", "strided block"])
def test_evaluation_compiles_too(name):
    torch.manual_seed(0)
    assert_compiled_equals_eager(NETWORKS[name]().eval(), "aot_eager", bounded=True)


# Without biases before a norm, whose gradients are nothing but rounding.
JOINED = {
    "submanifold": lambda: gnn.SparseSequential(
        gnn.SubMConv3d(4, 4, 3, bias=False), gnn.BatchNorm(4)
    ),
    "strided": lambda: gnn.SparseSequential(
        gnn.SparseConv3d(4, 8, 3, 2, 1, bias=False), gnn.BatchNorm(8), gnn.ReLU(), gnn.Linear(8, 4)
    ),
    "residual": lambda: gnn.Residual(
        gnn.SparseSequential(gnn.SubMConv3d(4, 6, 3, bias=False), gnn.BatchNorm(6)),
        gnn.SparseSequential(gnn.Linear(4, 6, bias=False), gnn.BatchNorm(6)),
        gnn.ReLU(),
    ),
}


@pytest.mark.parametrize("name", JOINED)
def test_a_chain_whose_modules_are_joined_compiles_in_training_and_without_gradients(name):
    torch.manual_seed(0)
    assert_compiled_equals_eager(JOINED[name](), "aot_eager", bounded=True)
    network = JOINED[name]().eval()
    compiled = torch.compile(copy.deepcopy(network), fullgraph=True, backend="aot_eager")
    for seed, sites in enumerate((40, 61, 53)):
        x = scene(sites=sites, seed=seed)
        with torch.no_grad():
            torch.testing.assert_close(compiled(x).features, network(x).features, **WITHIN)


@pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler for inductor")
def test_inductor_makes_the_same_network():
    torch.manual_seed(0)
    assert_compiled_equals_eager(NETWORKS["strided layer"](), "inductor", bounded=True)


def test_a_new_number_of_sites_does_not_compile_anew():
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    layer = torch.compile(gnn.SparseConv3d(4, 8, 3, 2, 1), fullgraph=True, backend=counter)
    for seed, sites in enumerate((40, 61, 53, 17, 90)):
        layer(scene(sites=sites, seed=seed))
    assert counter.frame_count <= 2  # the first sizes are taken for constants, the second are not


@pytest.mark.parametrize("sites", [0, 1])
def test_a_compiled_strided_block_takes_what_makes_almost_nothing(sites):
    torch._dynamo.reset()
    network = NETWORKS["strided block"]()
    compiled = torch.compile(copy.deepcopy(network), fullgraph=True, backend="aot_eager")
    for count in (40, 53, sites):
        x = scene(sites=count, seed=count)
        torch.testing.assert_close(compiled(x).features, network(x).features, **WITHIN)
