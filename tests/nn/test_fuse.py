"""A fused network computes what the network in eval mode computes, in fewer passes."""

import pytest
import torch
from torch import nn

import gossamer
from gossamer import nn as gnn
from gossamer.models import MinkUNet
from gossamer.nn.fuse import FusedConvolution
from tests.scenes import scene


def trained(model: nn.Module) -> nn.Module:
    """The model with running statistics and affine parameters that are not those of a new one."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, gnn.BatchNorm):
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 2)
                nn.init.normal_(module.bias)
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return model


CHAINS = {
    "norm and relu": lambda c: [gnn.BatchNorm(c), gnn.ReLU()],
    "norm and leaky relu": lambda c: [gnn.BatchNorm(c), gnn.LeakyReLU(0.3)],
    "norm alone": lambda c: [gnn.BatchNorm(c)],
    "relu alone": lambda c: [gnn.ReLU()],
    "another norm": lambda c: [gnn.LayerNorm(c), gnn.ReLU()],
    "norm without parameters": lambda c: [gnn.BatchNorm(c, affine=False), gnn.ReLU()],
}


@pytest.mark.parametrize("rest", CHAINS.values(), ids=CHAINS)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("container", [nn.Sequential, gnn.SparseSequential])
def test_a_fused_chain_computes_the_same(backend, rest, bias, container):
    first = gnn.SparseConv2d(3, 20, 3, 2, 1, bias=bias)
    chain = container(first, *rest(20), gnn.SubMConv2d(20, 20, 3, groups=20, bias=bias), *rest(20))
    chain = trained(chain.double()).eval()
    x = scene(2, 60, 3, dtype=torch.float64)
    y, fused = chain(x), gossamer.fuse(chain)(x)
    assert torch.equal(y.coords, fused.coords)
    torch.testing.assert_close(fused.features, y.features.detach(), rtol=1e-11, atol=1e-11)
    assert not fused.features.requires_grad


def test_a_fused_network_computes_the_same_and_the_network_stays_as_it_was():
    model = trained(MinkUNet(3, 5, 0.25)).double().eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    x = scene(3, 200, 3, dtype=torch.float64)
    fused = gossamer.fuse(model)
    torch.testing.assert_close(fused(x).features, model(x).features.detach(), rtol=1e-9, atol=1e-9)
    assert sum(isinstance(m, FusedConvolution) for m in fused.modules()) == 42
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_norm_without_running_statistics_is_left_alone():
    chain = nn.Sequential(
        gnn.SubMConv2d(3, 4, 3), gnn.BatchNorm(4, track_running_stats=False), gnn.ReLU()
    ).eval()
    assert [type(m) for m in gossamer.fuse(chain)] == [type(m) for m in chain]
