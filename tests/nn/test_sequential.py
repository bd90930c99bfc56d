"""Chains of sparse and dense modules."""

import pytest
import torch
from torch import nn

from gossamer import SparseTensor
from gossamer import nn as gnn
from tests.scenes import scene


def test_modules_of_torch_act_on_the_features():
    chain = gnn.SparseSequential(
        nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), gnn.SubMConv3d(6, 8, 3), nn.Dropout(0.0)
    )
    x = scene()
    linear, norm, act, conv, _ = chain
    middle = x.with_features(act(norm(linear(x.features))))
    norm.reset_running_stats()
    assert torch.equal(chain(x).features, conv(middle).features)


def test_a_plain_sequential_runs_modules_of_ours():
    layers = [gnn.SubMConv3d(4, 6, 3), gnn.BatchNorm(6), gnn.ReLU(), gnn.Linear(6, 3)]
    plain, ours = nn.Sequential(*layers).eval(), gnn.SparseSequential(*layers).eval()
    assert torch.equal(plain(scene()).features, ours(scene()).features)


@pytest.mark.parametrize("container", [nn.Sequential, gnn.SparseSequential])
def test_chains_nest(container):
    inner = container(gnn.SubMConv3d(4, 4, 3), gnn.ReLU())
    chain = gnn.SparseSequential(inner, gnn.SparseSequential(nn.Linear(4, 2)), gnn.Identity())
    expected = chain[1][0](inner(scene()).features)
    assert torch.equal(chain(scene()).features, expected)


def test_a_users_own_module_gets_the_sparse_tensor():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = gnn.SubMConv3d(4, 4, 3)

        def forward(self, x: SparseTensor) -> SparseTensor:
            return self.conv(x) + x

    residual = Residual()
    x = scene()
    y = gnn.SparseSequential(residual)(x)
    assert torch.equal(y.features, residual.conv(x).features + x.features)


def test_what_follows_a_dense_layer_is_dense():
    chain = gnn.SparseSequential(gnn.SparseConv3d(4, 6, 2, 2), gnn.ToBEV(), nn.Conv2d(12, 3, 1))
    assert chain(scene()).shape == (3, 3, 2, 2)
    pooled = gnn.SparseSequential(gnn.SparseGlobalAvgPool(), nn.Linear(4, 2))
    assert pooled(scene()).shape == (3, 2)


def test_names_of_parameters_are_those_of_a_sequential():
    layers = [gnn.SubMConv3d(4, 6, 3), nn.ReLU(), gnn.BatchNorm(6)]
    chain, twin = gnn.SparseSequential(*layers), nn.Sequential(*layers)
    assert list(chain.state_dict()) == list(twin.state_dict())
    assert isinstance(chain[:2], gnn.SparseSequential)
