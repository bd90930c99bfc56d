"""Indice keys of spconv 1.2: tuples of arrays, and layers that share a rulebook."""

import copy
import pickle
import warnings

import pytest
import torch

import gossamer.compat.spconv1 as spconv
from gossamer.compat.spconv1 import functional as Fsp
from tests.compat.test_spconv1 import scene

SHAPE = [9, 7, 5]
LAYERS = {
    "submanifold": (lambda: spconv.SubMConv3d(3, 4, 3, indice_key="k"), Fsp.indice_subm_conv),
    "dilated": (
        lambda: spconv.SubMConv3d(3, 4, 3, dilation=2, indice_key="k"),
        Fsp.indice_subm_conv,
    ),
    "even": (lambda: spconv.SubMConv3d(3, 4, 2, indice_key="k"), Fsp.indice_subm_conv),
    "regular": (lambda: spconv.SparseConv3d(3, 4, 3, 2, 1, indice_key="k"), Fsp.indice_conv),
    "transposed": (
        lambda: spconv.SparseConvTranspose3d(3, 4, 3, 2, indice_key="k"),
        Fsp.indice_conv,
    ),
}


@pytest.mark.parametrize("count", [0, 1, 40])
@pytest.mark.parametrize("repeat", [False, True])
@pytest.mark.parametrize("kind", LAYERS)
def test_the_tuple_under_a_key_feeds_the_functions_that_take_arrays(kind, repeat, count):
    make, function = LAYERS[kind]
    x, layer = scene(SHAPE, count=count, repeat=repeat), make().double()
    y = layer(x)
    outids, indices, pairs, counts, shape = x.indice_dict["k"]
    assert indices is x.indices and outids is y.indices and shape == SHAPE
    taps = layer.weight[..., 0, 0].numel()
    assert (pairs.dtype, pairs.shape) == (torch.int32, (2, taps, len(x.indices)))
    assert (counts.dtype, counts.shape) == (torch.int32, (taps,))
    assert (pairs >= 0).equal((torch.arange(len(x.indices)) < counts[:, None]).expand_as(pairs))
    got = function(x.features, layer.weight, pairs, counts, len(outids), spconv.ConvAlgo.Native)
    torch.testing.assert_close(got + layer.bias, y.features)


@pytest.mark.parametrize("kind", ["submanifold", "regular", "transposed"])
def test_lists_built_by_ops_are_those_under_the_key(kind):
    x, layer = scene(SHAPE), LAYERS[kind][0]().double()
    layer(x)
    outids, _, pairs, counts, shape = x.indice_dict["k"]
    sizes = (layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.output_padding)
    options = {"subm": layer.subm, "transpose": layer.transposed}
    got = spconv.ops.get_indice_pairs(x.indices, 2, shape, *sizes, **options)
    for mine, theirs in zip(got, (outids, pairs, counts), strict=True):
        assert mine.equal(theirs)


def test_an_inverse_by_arrays_is_the_inverse_layer():
    x = scene(SHAPE)
    down = spconv.SparseConv3d(3, 4, 3, 2, 1, indice_key="k").double()
    up = spconv.SparseInverseConv3d(4, 2, 3, "k", bias=False).double()
    middle = down(x)
    wanted = up(middle).features
    _, indices, pairs, counts, _ = middle.indice_dict["k"]
    arrays = (up.weight, pairs, counts, len(indices))
    got = Fsp.SparseInverseConvFunction.apply(middle.features, *arrays, spconv.ConvAlgo.Native)
    torch.testing.assert_close(got, wanted)


def test_functions_have_gradients_of_the_layers():
    x, layer = scene(SHAPE), LAYERS["regular"][0]().double()
    layer(x).features.square().sum().backward()
    outids, _, *arrays, _ = x.indice_dict["k"]
    weight = layer.weight.detach().requires_grad_()
    y = Fsp.SparseConvFunction.apply(x.features, weight, *arrays, len(outids)) + layer.bias.detach()
    y.square().sum().backward()
    torch.testing.assert_close(weight.grad, layer.weight.grad)
    grads = spconv.ops.indice_conv_backward(x.features, weight, 2 * y.detach(), *arrays)
    torch.testing.assert_close(grads[1], layer.weight.grad)


def test_a_pooling_by_arrays_is_the_pooling_layer():
    x = scene(SHAPE)
    outids, *arrays = spconv.ops.get_indice_pairs(x.indices, 2, SHAPE, 2, 2)
    y = spconv.SparseMaxPool3d(2)(x)
    got = Fsp.SparseMaxPoolFunction.apply(x.features, *arrays, len(outids))
    assert outids.equal(y.indices)
    torch.testing.assert_close(got, y.features)


@pytest.mark.parametrize("kind", ["submanifold", "regular"])
def test_a_plain_tuple_that_a_program_put_there_is_used(kind):
    x, layer = scene(SHAPE), LAYERS[kind][0]().double()
    wanted = layer(x)
    plain = tuple(t.clone() if torch.is_tensor(t) else t for t in x.indice_dict["k"])
    x = spconv.SparseConvTensor(x.features, x.indices, SHAPE, 2)
    x.indice_dict["k"] = plain
    y = layer(x)
    assert x.indice_dict["k"] is plain
    assert y.indices.equal(wanted.indices) and y.spatial_shape == wanted.spatial_shape
    torch.testing.assert_close(y.features, wanted.features)


def test_an_inverse_goes_back_through_a_plain_tuple():
    x = scene(SHAPE)
    down = spconv.SparseConv3d(3, 4, 3, 2, 1, indice_key="k").double()
    up = spconv.SparseInverseConv3d(4, 2, 3, "k").double()
    middle = down(x)
    wanted = up(middle)
    middle.indice_dict = {"k": tuple(middle.indice_dict["k"])}
    y = up(middle)
    assert y.indices.equal(x.indices) and y.spatial_shape == SHAPE
    torch.testing.assert_close(y.features, wanted.features)


def test_the_tuple_is_a_sequence_of_five_that_can_be_kept():
    x = scene(SHAPE)
    spconv.SubMConv3d(3, 4, 3, indice_key="k").double()(x)
    data = x.find_indice_pair("k")
    assert x.find_indice_pair(None) is None and x.find_indice_pair("other") is None
    assert len(data) == 5 and len(data[1:3]) == 2 and data[-1] == SHAPE
    with pytest.raises(IndexError):
        data[5]
    for kept in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x)):
        assert kept.indice_dict["k"][2].equal(data[2]) and kept.indices.equal(x.indices)


def test_all_layers_that_read_a_tensor_see_its_keys_and_no_key_keeps_nothing():
    x = scene(SHAPE)
    one = spconv.SubMConv3d(3, 4, 3, indice_key="k").double()
    y = one(x)
    assert y.indice_dict is x.indice_dict and list(x.indice_dict) == ["k"]
    first = x.indice_dict["k"]
    spconv.SubMConv3d(3, 4, 3, indice_key="k").double()(x)
    assert x.indice_dict["k"] is first
    spconv.SubMConv3d(3, 4, 3).double()(x)
    assert list(x.indice_dict) == ["k"]


def asymmetric(size, **more):
    return spconv.SubMConv3d(3, 4, size, bias=False, **more).double()


def test_a_layer_of_another_kernel_uses_the_first_rulebook_and_says_so():
    x = scene(SHAPE, count=60)
    first, second = (asymmetric(size, indice_key="k") for size in ((1, 3, 3), (3, 1, 3)))
    alike = asymmetric((1, 3, 3))
    alike.weight.data = second.weight.data.view_as(alike.weight)
    first(x)
    with pytest.warns(UserWarning, match=r"kernel_size \[3, 1, 3\] has indice_key 'k'.*1, 3, 3"):
        y = second(x)
    torch.testing.assert_close(y.features, alike(x).features)


def test_of_a_larger_kernel_the_first_taps_are_used_and_the_others_learn_nothing():
    x = scene(SHAPE, count=60)
    first, second = asymmetric((1, 3, 3), indice_key="k"), asymmetric(3, indice_key="k")
    alike = asymmetric((1, 3, 3))
    alike.weight.data = second.weight.data.view(27, 3, 4)[:9].reshape(1, 3, 3, 3, 4)
    first(x)
    with pytest.warns(UserWarning, match="the first 9 of this layer's 27 taps"):
        y = second(x)
    torch.testing.assert_close(y.features, alike(x).features)
    y.features.square().sum().backward()
    grad = second.weight.grad.view(27, -1)
    assert grad[:9].abs().sum() > 0 and not grad[9:].any()


def test_a_layer_that_must_not_share_raises_and_says_how_to():
    x = scene(SHAPE)
    asymmetric((1, 3, 3), indice_key="k")(x)
    second = asymmetric((3, 1, 3), indice_key="k")
    second.shares_keys = False
    with pytest.raises(ValueError, match=r"'k'.*another kernel.*shares_keys = True"):
        second(x)


def test_layers_of_one_kernel_share_silently():
    x = scene(SHAPE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            asymmetric(3, indice_key="k")(x)
            spconv.SparseConv3d(3, 4, 3, 2, 1, indice_key="down").double()(x)


def test_a_second_convolution_with_the_key_leads_to_the_same_rows():
    x = scene(SHAPE)
    one, two = (spconv.SparseConv3d(3, 4, 3, 2, 1, indice_key="k").double() for _ in range(2))
    alone = scene(SHAPE)
    torch.testing.assert_close(two(alone).features, (one(x), two(x))[1].features)
    assert two(x).indices.equal(one(x).indices)


def up(size=3, key="k"):
    return spconv.SparseInverseConv3d(4, 2, size, key).double()


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (lambda x, y: asymmetric(3, indice_key="k")(x), "choose another key"),
        (lambda x, y: spconv.SparseConv3d(3, 4, 5, 2, 1, indice_key="k").double()(x), "leads to"),
        (lambda x, y: spconv.SparseConv3d(3, 4, 2, 2, 1, indice_key="k").double()(x), "8 taps"),
        (
            lambda x, y: spconv.SparseConv3d(4, 4, 3, 2, 1, indice_key="k").double()(y),
            "same indices",
        ),
        (lambda x, y: up()(of_other_rows(x, y)), "same indices"),
    ],
)
def test_a_rulebook_that_can_not_be_meant_is_refused(second, message):
    x = scene(SHAPE)
    y = spconv.SparseConv3d(3, 4, 3, 2, 1, indice_key="k").double()(x)
    with pytest.raises(ValueError, match=message):
        second(x, y)


def of_other_rows(x, y):
    """A tensor like `y`, on rows that the convolution did not lead to."""
    other = scene([5, 4, 3], channels=4, seed=3)
    other.indice_dict = y.indice_dict
    return other


@pytest.mark.parametrize(("size", "key"), [(3, "nobody"), (2, "k"), (3, None)])
def test_an_inverse_without_a_partner_is_refused(size, key):
    y = spconv.SparseConv3d(3, 4, 3, 2, 1, indice_key="k").double()(scene(SHAPE))
    with pytest.raises(AssertionError, match="indice_key"):
        up(size, key)(y)


def test_rows_that_were_edited_in_place_get_another_rulebook_or_an_error():
    x = scene([20, 20, 20])
    layer = spconv.SubMConv3d(3, 4, 3, indice_key="k").double()
    layer(x)
    x.indices[:, 1:] = x.indices[:, 1:] // 2 + 1
    with pytest.raises(ValueError, match="not the same sites"):
        layer(x)
