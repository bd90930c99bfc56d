"""Rulebooks under indice keys: when they are used again, and what is refused."""

from itertools import product

import pytest
import torch
from torch import Tensor

import gossamer.compat.spconv.pytorch as spconv
from gossamer.compat.spconv.core import ConvAlgo
from gossamer.compat.spconv.pytorch.core import ImplicitGemmIndiceData, IndiceData
from tests.compat.rows import tensor

Native, Implicit, Split = ConvAlgo
SUBM = "subm with same indice_key must have same"
INVERSE = "Inverse with same indice_key must have same"


def subm(size=3, key: str | None = "key", channels: int = 4, **options) -> spconv.SubMConv3d:
    return spconv.SubMConv3d(4, channels, size, indice_key=key, **options)


def down(size=3, key: str | None = "key", **options) -> spconv.SparseConv3d:
    return spconv.SparseConv3d(4, 4, size, 2, 1, indice_key=key, **options)


def back(size=3, key: str | None = "key", **options) -> spconv.SparseInverseConv3d:
    return spconv.SparseInverseConv3d(4, 4, size, key, **options)


def pool(size=3, key: str | None = "key", **options) -> spconv.SparseMaxPool3d:
    return spconv.SparseMaxPool3d(size, 2, 1, indice_key=key, **options)


def regridded(x: spconv.SparseConvTensor, side: int) -> spconv.SparseConvTensor:
    y = x.shadow_copy()
    y.spatial_shape = [side] * 3
    return y


def with_rows(x: spconv.SparseConvTensor, features: Tensor, indices: Tensor):
    return spconv.SparseConvTensor(
        features, indices, x.spatial_shape, x.batch_size, indice_dict=x.indice_dict
    )


REFUSED = {
    "another kernel": (subm(algo=Native), subm(5), ValueError, f"{SUBM} kernel size"),
    "a turned kernel": (subm((1, 3, 3)), subm((3, 3, 1)), ValueError, f"{SUBM} kernel size"),
    "another dilation": (subm(), subm(dilation=2), ValueError, f"{SUBM} dilation"),
    "another algorithm": (subm(), subm(algo=Native), AssertionError, "same algo"),
    "a split algorithm": (subm(), subm(algo=Split), AssertionError, "same algo"),
    "a strided key again": (down(), down(), AssertionError, "only support reuse subm indices"),
    "a strided key, submanifold": (down(), subm(), AssertionError, "reuse subm indices"),
    "a submanifold key, strided": (subm(), down(), AssertionError, "reuse subm indices"),
    "a pool's key, submanifold": (pool(), subm(), AssertionError, "reuse subm indices"),
    "a pool's key, strided": (pool(), down(), AssertionError, "reuse subm indices"),
    "a pool's key, a pool": (pool(), pool(), ValueError, "indice key key exists"),
    "a strided key, a pool": (down(), pool(), ValueError, "indice key key exists"),
    "a submanifold key, a pool": (subm(), pool(), ValueError, "indice key key exists"),
    "no such key": (down(), back(key="other"), AssertionError, "'other'"),
    "no key": (down(), back(key=None), AssertionError, "None"),
    "an inverse of submanifold": (subm(), back(), AssertionError, "standard conv and pool ops"),
    "an inverse of another kernel": (
        down(algo=Native),
        back(5),
        ValueError,
        f"{INVERSE} kernel size",
    ),
    "an inverse of another pool": (pool(), back(2), ValueError, f"{INVERSE} kernel size"),
    "an inverse by another algorithm": (down(), back(algo=Native), AssertionError, "same algo"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_key_is_refused_for(why):
    first, second, error, words = REFUSED[why]
    y = first(tensor(3, 40, 4))
    with pytest.raises(error, match=words):
        second(y)


def test_the_second_of_a_networks_layers_is_named_in_the_error():
    net = spconv.SparseSequential(subm(), spconv.SparseSequential(subm((1, 3, 3))))
    with pytest.raises(ValueError, match=r"in layer 1\.0 \(SubMConv3d\): subm with"):
        net(tensor(3, 40, 4))


@pytest.mark.parametrize("order", ["shuffled", "repeated"])
def test_a_submanifold_key_is_refused_for_other_rows_or_another_grid(order):
    x = tensor(3, 40, 4, order)
    y = subm()(x)
    with pytest.raises(ValueError, match=f"{SUBM} spatial structure"):
        subm()(regridded(y, 6))
    others = {
        "fewer": with_rows(y, y.features[1:], y.indices[1:]),
        "as many elsewhere": with_rows(
            y, y.features, tensor(3, 40, 4, order, seed=1).indices.flip(0)
        ),
        "in another order": with_rows(y, y.features, y.indices.roll(1, 0)),
        "none": with_rows(y, y.features[:0], y.indices[:0]),
    }
    for other in others.values():
        with pytest.raises(ValueError, match=f"{SUBM} indices"):
            subm()(other)
        other.indice_dict = {}
        subm()(other)


def test_a_key_is_refused_in_another_batch_size():
    y = subm()(tensor(3, 40, 4))
    more = spconv.SparseConvTensor(
        y.features, y.indices, y.spatial_shape, 5, indice_dict=y.indice_dict
    )
    with pytest.raises(ValueError, match=f"{SUBM} indices"):
        subm()(more)


@pytest.mark.parametrize("first", [down, pool])
def test_an_inverse_key_is_refused_for_other_rows_or_another_grid(first):
    y = first()(tensor(3, 40, 4, "repeated"))
    with pytest.raises(ValueError, match=f"{INVERSE} spatial structure"):
        back()(regridded(y, 4))
    for rows in (slice(1, None), slice(0, 0), torch.arange(len(y.indices)).flip(0)):
        with pytest.raises(ValueError, match=f"{INVERSE} indices"):
            back()(with_rows(y, y.features[rows], y.indices[rows]))


def test_a_key_of_none_keeps_nothing():
    x = tensor(3, 40, 4)
    for layer in (subm(key=None), down(key=None), pool(key=None)):
        assert layer(x).indice_dict == {}
        assert layer(layer(x)).indice_dict == {}
    subm(5, key=None)(subm(key=None)(x))


def test_layers_without_a_rulebook_leave_keys_alone():
    x = down()(tensor(3, 40, 4))
    for layer in (subm(1), spconv.SparseConv3d(4, 4, 1, indice_key="key")):
        assert layer(x).indice_dict is x.indice_dict


@pytest.mark.parametrize("algo", ConvAlgo)
@pytest.mark.parametrize("order", ["sorted", "shuffled", "repeated"])
def test_a_shared_key_changes_nothing_but_the_work(order, algo):
    x = tensor(3, 40, 4, order)
    shared, alone = (
        spconv.SparseSequential(subm(key=a, algo=algo), down(algo=algo), subm(key=b, algo=algo))
        for a, b in (("fine", "coarse"), (None, None))
    )
    alone.load_state_dict(shared.state_dict())
    y, expected = shared(x), alone(x)
    assert torch.equal(y.features, expected.features)
    once = subm(key="coarse", algo=algo, dilation=1)
    again = once(y)
    assert again.indice_dict is y.indice_dict
    once.indice_key = None
    assert torch.equal(again.features, once(y).features)


def test_keys_may_be_any_hashable_value_and_layers_may_change_theirs():
    x = tensor(3, 40, 4)
    layer = subm(key=("stage", 1))
    assert list(layer(x).indice_dict) == [("stage", 1)]
    layer.indice_key = "other"
    assert list(layer(x).indice_dict) == ["other"]


@pytest.mark.parametrize("algo", ConvAlgo)
def test_what_is_kept_says_how_it_was_made(algo):
    x = tensor(3, 40, 4)
    y = down(algo=algo)(x)
    data = y.indice_dict["key"]
    assert isinstance(data, IndiceData if algo is Native else ImplicitGemmIndiceData)
    assert data.indices is x.indices and data.out_indices is y.indices
    assert (data.spatial_shape, data.out_spatial_shape) == ([5, 5, 5], [3, 3, 3])
    assert (data.is_subm, data.algo) == (False, algo)
    sizes = data.ksize, data.stride, data.padding, data.dilation
    assert sizes == ([3] * 3, [2] * 3, [1] * 3, [1] * 3)
    made = subm(algo=algo)(x).indice_dict["key"]
    assert made.is_subm and made.out_indices is made.indices is x.indices
    with pytest.raises(AttributeError, match="pairs_of"):
        data.pairs_of  # noqa: B018


def brute_pairs(inputs: Tensor, outputs: Tensor, stride: int, padding: int) -> list[list]:
    """For each of 27 taps the (row read, row written) of a 3x3x3 kernel."""
    place = {tuple(row): i for i, row in enumerate(inputs.tolist())}
    taps: list[list] = []
    for tap in product(range(3), repeat=3):
        taps.append([])
        for o, (batch, *cell) in enumerate(outputs.tolist()):
            seen = (c * stride - padding + t for c, t in zip(cell, tap, strict=True))
            if (i := place.get((batch, *seen))) is not None:
                taps[-1].append((i, o))
    return taps


def hand_made(form: str, x: spconv.SparseConvTensor, outputs: Tensor, shape: list[int]):
    """A rulebook as somebody else may have written it, with the layer's algorithm."""
    submanifold = outputs is x.indices
    stride = 1 if submanifold else 2
    taps = brute_pairs(x.indices, outputs, stride, 1)
    about = dict(spatial_shape=x.spatial_shape, out_spatial_shape=shape, is_subm=submanifold)
    about |= dict(ksize=[3] * 3, stride=[stride] * 3, dilation=[1] * 3, padding=[1] * 3)
    if form in ("lists", "half lists"):
        pairs = torch.full((2, 27, len(x.indices)), -1, dtype=torch.int32)
        for k, found in enumerate(taps):
            pairs[:, k, : len(found)] = torch.tensor(found).int().view(-1, 2).t()
        counts = torch.tensor([len(found) for found in taps]).int()
        if form == "half lists":
            counts[13:] = 0
        return IndiceData(outputs, x.indices, pairs, counts, algo=Native, **about)
    forward = torch.full((27, len(outputs)), -1, dtype=torch.int32)
    backward = torch.full((27, len(x.indices)), -1, dtype=torch.int32)
    for k, found in enumerate(taps):
        for i, o in found:
            forward[k, o], backward[k, i] = i, o
    if form == "both tables":
        forward = torch.stack([forward, backward])
    rest = ([], [], [], [], [])
    return ImplicitGemmIndiceData(
        outputs, x.indices, forward, backward, *rest, algo=Implicit, **about
    )


@pytest.mark.parametrize("form", ["lists", "half lists", "table", "both tables"])
def test_a_hand_made_rulebook_works_for_a_submanifold_layer(form):
    x = tensor(3, 40, 4)
    data = hand_made(form, x, x.indices, x.spatial_shape)
    layer = subm(algo=data.algo)
    expected = layer(x)
    x.indice_dict["key"] = data
    y = layer(x)
    assert y.indices is x.indices and y.indice_dict["key"] is data
    torch.testing.assert_close(y.features, expected.features)
    # Where the rows that a tap sees come from elsewhere, the layer does what it is told.
    x.indice_dict["key"] = hand_made(form, x, x.indices, x.spatial_shape)
    with pytest.raises(ValueError, match=f"{SUBM} indices"):
        layer(with_rows(x, x.features, x.indices.roll(1, 0)))


@pytest.mark.parametrize("form", ["lists", "table"])
def test_a_hand_made_rulebook_works_for_an_inverse_layer(form):
    x = tensor(3, 40, 4)
    algo = Native if form == "lists" else Implicit
    y = down(algo=algo)(x)
    layer = back(algo=algo)
    expected = layer(y)
    order = torch.randperm(len(y.indices))
    other = with_rows(x, y.features[order], y.indices[order])
    other.spatial_shape = y.spatial_shape
    other.indice_dict = {"key": hand_made(form, x, other.indices, y.spatial_shape)}
    z = layer(other)
    assert torch.equal(z.indices, x.indices) and z.spatial_shape == x.spatial_shape
    torch.testing.assert_close(z.features, expected.features)
