"""SECOND's encoder: the published plan, and the same as dense torch convolutions under masks."""

from math import prod

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gossamer import SparseTensor
from gossamer.models import SECONDEncoder
from gossamer.nn.conv import SparseConvolution
from tests.scenes import scene

GRID = (41, 16, 24)  # z, y, x


def encoder(dtype: torch.dtype = torch.float64) -> SECONDEncoder:
    """One whose batch norms have statistics worth applying."""
    torch.manual_seed(0)
    model = SECONDEncoder(3).to(dtype)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.1, 0.1)
    return model.eval()


def voxels(batch: int = 2, sites: int = 900) -> SparseTensor:
    rng = torch.Generator().manual_seed(0)
    cells = torch.randperm(batch * prod(GRID), generator=rng)[:sites]
    coords = torch.stack(torch.unravel_index(cells, (batch, *GRID)), dim=1)
    features = torch.randn(sites, 3, generator=rng, dtype=torch.float64)
    return SparseTensor(features, coords, GRID, batch)


def under_masks(model: SECONDEncoder, x: SparseTensor) -> Tensor:
    """What the encoder's layers compute on whole grids, with a mask of where there are sites."""
    mask = x.with_features(torch.ones(len(x), 1, dtype=x.dtype)).dense()
    grid = x.dense()
    modules = [m for m in model.modules() if isinstance(m, (SparseConvolution, nn.BatchNorm1d))]
    for conv, norm in zip(modules[::2], modules[1::2], strict=True):
        kernel = conv.geometry
        size = [1 + max(axis) - min(axis) for axis in zip(*kernel.taps, strict=True)]
        weight = conv.weight.unflatten(0, size).permute(4, 3, 0, 1, 2)
        submanifold = kernel.kind == "submanifold"
        padding = (1, 1, 1) if submanifold else kernel.padding
        grid = F.conv3d(grid, weight, stride=kernel.stride, padding=padding)
        if not submanifold:
            seen = torch.ones(1, 1, *size, dtype=mask.dtype)
            mask = (F.conv3d(mask, seen, stride=kernel.stride, padding=padding) > 0).to(mask.dtype)
        statistics = norm.running_mean, norm.running_var, norm.weight, norm.bias
        grid = F.batch_norm(grid, *statistics, eps=norm.eps).relu() * mask
    return grid.flatten(1, 2)


def test_it_is_the_dense_network_under_masks():
    model, x = encoder(), voxels()
    with torch.no_grad():
        torch.testing.assert_close(model(x), under_masks(model, x))


def test_it_has_the_published_layers():
    convolutions = [m for m in SECONDEncoder(4).modules() if isinstance(m, SparseConvolution)]
    plan = [(m.in_channels, m.out_channels, m.geometry.kind == "submanifold") for m in convolutions]
    stages = [(16, 32), (32, 64), (64, 64)]
    assert plan == [
        *((4, 16, True), (16, 16, True)),
        *(row for c, d in stages for row in ((c, d, False), (d, d, True), (d, d, True))),
        (64, 128, False),
    ]


def test_the_published_grid_becomes_the_published_view():
    corners = torch.tensor([[0, 0, 0, 0], [0, 40, 1599, 1407], [0, 20, 800, 700]])
    x = SparseTensor(torch.ones(3, 3), corners, (41, 1600, 1408), 1)
    assert encoder(torch.float32)(x).shape == (1, 256, 200, 176)


def test_every_parameter_gets_a_gradient():
    model = encoder().train()
    model(voxels()).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_a_scan_is_seen_alike_alone_and_in_a_batch():
    model, x = encoder(), voxels(batch=3)
    together = model(x)
    for sample in range(3):
        here = x.coords[:, 0] == sample
        coords = x.coords[here] * torch.tensor([0, 1, 1, 1])
        alone = model(SparseTensor(x.features[here], coords, GRID, 1))
        torch.testing.assert_close(alone[0], together[sample])


@pytest.mark.parametrize("training", [False, True])
def test_no_sites_are_an_empty_view(training):
    nothing = torch.zeros(0, 4, dtype=torch.int32)
    view = encoder().train(training)(SparseTensor(torch.zeros(0, 3).double(), nothing, GRID, 2))
    assert view.shape == (2, 256, 2, 3) and not view.any()


def test_a_grid_without_bounds_has_no_view():
    x = voxels()
    with pytest.raises(ValueError, match="no spatial_shape"):
        encoder()(SparseTensor(x.features, x.coords))


def test_a_wrong_channel_count_is_told():
    with pytest.raises(ValueError, match="has 5 channels; this layer was built for 3"):
        encoder()(scene(3, channels=5, dtype=torch.float64))
