"""A sparse tensor is a value: features on sites, in key order, that torch's tools can carry."""

import copy
import io
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils import _pytree as pytree

import gossamer
from gossamer import SparseTensor
from gossamer import nn as gnn
from tests.scenes import scene, scenes


def by_site(x: SparseTensor) -> dict[tuple[int, ...], list[float]]:
    return {tuple(c): f for c, f in zip(x.coords.tolist(), x.features.tolist(), strict=True)}


@given(scenes(), st.randoms(use_true_random=False))
def test_the_order_in_which_rows_come_changes_nothing_but_the_way_back(x, dice):
    order = list(range(len(x)))
    dice.shuffle(order)
    rows, features = x.coords[order], x.features[order]
    shuffled = SparseTensor(features, rows, x.spatial_shape, x.batch_size)
    assert torch.equal(shuffled.coords, x.coords)
    assert torch.equal(shuffled.features, x.features)
    assert torch.equal(shuffled.given_order(), features)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_a_result_can_be_had_in_the_order_of_the_rows_that_came(backend, dtype):
    x = scene(2)
    order = torch.randperm(len(x))
    shuffled = SparseTensor(x.features[order], x.coords[order].to(dtype), x.spatial_shape)
    layer = gnn.SubMConv2d(4, 3, 3)
    assert torch.equal(layer(shuffled).given_order(), layer(x).features[order])


@given(scenes())
def test_dense_and_from_dense_undo_each_other(x):
    if x.spatial_shape is None:
        return
    again = SparseTensor.from_dense(x.dense())
    assert by_site(again) == by_site(x)
    assert again.spatial_shape == x.spatial_shape
    assert again.batch_size == x.batch_size
    assert torch.equal(again.dense(), x.dense())


def test_cat_puts_channels_side_by_side():
    x = scene(channels=3)
    y = x.with_features(torch.randn(len(x), 5))
    assert torch.equal(gossamer.cat([x, y]).features, torch.cat([x.features, y.features], 1))
    assert gossamer.cat([x, y]).sites is x.sites


def test_plus_is_the_union_and_absent_features_are_zero(backend):
    x, y = scene(2, 30, 3, seed=1), scene(2, 25, 3, seed=2)
    total = x + y
    assert torch.equal(total.dense(), x.dense() + y.dense())
    assert set(by_site(total)) == set(by_site(x)) | set(by_site(y))
    assert total.coords.tolist() == sorted(total.coords.tolist())
    far = SparseTensor(y.features, y.coords + torch.tensor([0, -900, 10**6], dtype=torch.int32))
    near = SparseTensor(x.features, x.coords, batch_size=3)
    assert by_site(near + far) == {**by_site(near), **by_site(far)}


def test_arithmetic_on_the_same_sites_is_that_of_the_features():
    x, y = scene(), scene()
    y = y.with_features(torch.randn_like(y.features))
    assert torch.equal((x + y).features, x.features + y.features)
    assert torch.equal((x * y).features, x.features * y.features)
    assert torch.equal((x + 2.5).features, x.features + 2.5)
    assert torch.equal((2.5 + x).features, x.features + 2.5)
    assert torch.equal((x * torch.arange(4)).features, x.features * torch.arange(4))
    assert torch.equal((0.5 * x).features, x.features * 0.5)


def test_gradients_go_through_the_set_operations():
    x, y = (scene(2, 8, 2, seed=s, dtype=torch.float64) for s in (1, 2))
    mask = torch.arange(8) % 2 == 0
    vectors = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)

    def run(a, b, v):
        union = x.with_features(a) + y.with_features(b)
        kept = x.with_features(a).prune(mask)
        return union.features.sin(), kept.features, kept.broadcast(v).features * kept.features

    inputs = [t.features.clone().requires_grad_() for t in (x, y)]
    assert torch.autograd.gradcheck(run, (*inputs, vectors), fast_mode=True)
    assert torch.autograd.gradgradcheck(run, (*inputs, vectors), fast_mode=True)


def test_pruning_keeps_the_marked_sites_in_their_order():
    x = scene(2)
    mask = torch.rand(len(x)) < 0.4
    kept = x.prune(mask)
    assert torch.equal(kept.coords, x.coords[mask])
    assert torch.equal(kept.features, x.features[mask])
    assert kept.batch_size == x.batch_size


def test_a_broadcast_vector_is_that_of_the_sites_sample():
    x = scene(2)
    vectors = torch.randn(3, 7)
    y = x.broadcast(vectors)
    for row, features in zip(x.coords.tolist(), y.features, strict=True):
        assert torch.equal(features, vectors[row[0]])


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
def test_interpolation_is_linear_between_sites_and_absent_sites_are_zero(backend, ndim):
    x = scene(ndim, 25, 3, dtype=torch.float64)
    rng = torch.Generator().manual_seed(0)
    points = torch.rand(40, 1 + ndim, generator=rng, dtype=torch.float64) * 6 - 1
    points[:, 0] = torch.randint(0, 3, (40,), generator=rng)
    sites = by_site(x)
    for point, got in zip(points, x.interpolate(points), strict=True):
        expected = torch.zeros(3, dtype=torch.float64)
        for site, features in sites.items():
            near = 1 - (point[1:] - torch.tensor(site[1:])).abs()
            if site[0] == point[0] and (near > 0).all():
                expected += near.prod() * torch.tensor(features, dtype=torch.float64)
        torch.testing.assert_close(got, expected)


def test_interpolation_has_true_gradients_to_features_and_points(backend):
    x = scene(2, 12, 2, dtype=torch.float64)
    rng = torch.Generator().manual_seed(0)
    places = torch.rand(9, 2, generator=rng, dtype=torch.float64) * 6
    sample = torch.zeros(9, 1, dtype=torch.float64)
    inputs = x.features.clone().requires_grad_(), places.requires_grad_()

    def run(features, places):
        return x.with_features(features).interpolate(torch.cat([sample, places], 1))

    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)


@pytest.mark.parametrize("name", ["half", "float", "double", "bfloat16"])
def test_a_cast_changes_the_features_and_not_the_sites(name):
    x = scene()
    y = getattr(x, name)()
    assert y.dtype == getattr(x.features, name)().dtype
    assert y.sites is x.sites
    assert x.to("cpu").sites is x.sites
    assert x.to(torch.float64).dtype == torch.float64


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda x: pickle.loads(pickle.dumps(x)),
    "pytree": lambda x: pytree.tree_map(torch.clone, x),
    "save": lambda x: saved(x),
}


def saved(x: SparseTensor) -> SparseTensor:
    buffer = io.BytesIO()
    torch.save(x, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_is_equal_and_apart(backend, name):
    x = gnn.SparseConv2d(4, 4, 2, 2)(scene(2)).detach()
    y = COPIES[name](x)
    assert torch.equal(y.features, x.features)
    assert y.features.data_ptr() != x.features.data_ptr()
    assert y.sites.same_sites(x.sites)
    assert y.spatial_shape == x.spatial_shape
    inverse = gnn.SparseInverseConv2d(4, 3, 2)
    assert torch.equal(inverse(y).features, inverse(x).features)


def test_pytree_maps_over_features_and_sites():
    x = scene()
    leaves, spec = pytree.tree_flatten(x)
    assert len(leaves) == 2
    again = pytree.tree_unflatten([leaves[0] * 2, leaves[1]], spec)
    assert torch.equal(again.features, x.features * 2)
    assert again.sites is x.sites


@pytest.mark.parametrize("name", ["SubMConv2d", "SparseConv2d", "SparseInverseConv2d"])
def test_a_pickled_or_copied_layer_is_the_same_layer(name):
    layer = getattr(gnn, name)(4, 3, 3)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert twin.geometry == layer.geometry
        assert str(twin) == str(layer)
        assert torch.equal(twin.weight, layer.weight)


def test_it_is_frozen():
    with pytest.raises(AttributeError):
        scene().features = torch.zeros(1)


def test_it_says_what_it_is():
    x = SparseTensor(torch.zeros(1, 4), torch.zeros(1, 3, dtype=torch.int32), (5, 6))
    assert repr(x) == (
        "SparseTensor(1 sites x 4 channels, grid (5, 6), batch 1, stride (1, 1), "
        "torch.float32, cpu)"
    )
