"""The way to a dense grid, and to a bird's-eye view."""

import pytest
import torch

from gossamer import nn as gnn
from tests.scenes import scene


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
def test_to_dense_is_the_features_at_their_sites_and_zero_elsewhere(ndim):
    x = scene(ndim, 20, 3)
    grid = gnn.ToDense()(x)
    assert grid.shape == (x.batch_size, 3, *x.spatial_shape)
    expected = torch.zeros_like(grid)
    for (batch, *cell), features in zip(x.coords.tolist(), x.features, strict=True):
        expected[(batch, slice(None), *cell)] = features
    assert torch.equal(grid, expected)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
def test_a_birds_eye_view_stacks_heights_as_channels(axis):
    x = scene(3, 30, 2, side=4)
    view = gnn.ToBEV(axis)(x)
    assert view.shape == (3, 2 * 4, 4, 4)
    dense = x.dense()
    for channel in range(2):
        for height in range(4):
            layer = dense.select(2 + axis % 3, height)[:, channel]
            assert torch.equal(view[:, channel * 4 + height], layer)


def test_an_axis_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match="axis is 3; the input has 3 spatial axes"):
        gnn.ToBEV(3)(scene())


@pytest.mark.parametrize("layer", [gnn.ToDense(), gnn.ToBEV(0)])
def test_a_grid_without_bounds_has_no_dense_form(layer):
    with pytest.raises(ValueError, match="no spatial_shape"):
        layer(scene(bounded=False))


def test_gradients_of_first_and_second_order_are_true():
    x = scene(2, 6, 2, dtype=torch.float64)
    leaf = x.features.clone().requires_grad_()

    def run(features):
        return gnn.ToBEV(1)(x.with_features(features.sin()))

    assert torch.autograd.gradcheck(run, (leaf,), fast_mode=True)
    assert torch.autograd.gradgradcheck(run, (leaf,), fast_mode=True)
