"""A fused network computes what the network in eval mode computes, in fewer passes."""

import pytest
import torch
from torch import nn

import gossamer
from gossamer import nn as gnn
from gossamer.models import MinkUNet
from tests.nn.passes import passes, trained
from tests.scenes import scene


class Chain(nn.Sequential):
    """A chain of a user's own, which may do anything."""


def test_a_fused_network_computes_the_same_and_the_network_stays_as_it_was():
    model = trained(MinkUNet(3, 5, 0.25)).double().eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    x = scene(3, 200, 3, dtype=torch.float64)
    fused = gossamer.fuse(model)
    y = model(x).features.detach()
    torch.testing.assert_close(fused(x).features, y, rtol=1e-9, atol=1e-9)
    assert list(fused.state_dict()) == list(before)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(p.requires_grad for p in fused.parameters())
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("bias", [False, True])
def test_a_plain_chain_of_torch_is_fused_too(backend, bias):
    chain = nn.Sequential(
        nn.Sequential(gnn.SparseConv2d(3, 20, 3, 2, 1, bias=bias), gnn.BatchNorm(20), gnn.ReLU()),
        gnn.SubMConv2d(20, 20, 3, groups=20, bias=bias),
        gnn.BatchNorm(20),
        gnn.LeakyReLU(0.3),
    )
    chain = trained(chain).double().eval()
    x = scene(2, 60, 3, dtype=torch.float64)
    fused = gossamer.fuse(chain)
    y, z = chain(x), fused(x)
    assert torch.equal(y.coords, z.coords)
    torch.testing.assert_close(z.features, y.features.detach(), rtol=1e-11, atol=1e-11)
    assert passes(fused, x) == ["conv_fused", "conv_fused"]


def test_only_plain_chains_change_and_names_stay():
    model = nn.Sequential(Chain(gnn.ReLU()), nn.Sequential(nn.Conv2d(3, 3, 1)), gnn.ReLU())
    fused = gossamer.fuse(model)
    kinds = [type(m) for m in (fused, fused[0], fused[1])]
    assert kinds == [gnn.SparseSequential, Chain, gnn.SparseSequential]
    assert [name for name, _ in fused.named_modules()] == [n for n, _ in model.named_modules()]
    assert type(model) is nn.Sequential


def test_a_fused_network_still_has_gradients_where_its_input_wants_one():
    chain = trained(nn.Sequential(gnn.SubMConv2d(4, 6, 3), gnn.BatchNorm(6), gnn.ReLU())).eval()
    x = scene(2)
    leaf, twin = (x.features.clone().requires_grad_() for _ in range(2))
    chain(x.with_features(leaf)).features.square().sum().backward()
    gossamer.fuse(chain)(x.with_features(twin)).features.square().sum().backward()
    assert torch.equal(twin.grad, leaf.grad)
