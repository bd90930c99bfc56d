"""TorchSparse's tensors: what they hold, what they share, and that stale caches are never read."""

import copy
import pickle

import pytest
import torch
from torch import nn

from gossamer.compat import torchsparse
from gossamer.compat.torchsparse import nn as spnn
from gossamer.compat.torchsparse.nn import functional as F
from gossamer.compat.torchsparse.nn.utils import fapply
from gossamer.compat.torchsparse.tensor import (
    PointTensor,
    SparseTensor,
    get_allow_negative_coordinates,
    set_allow_negative_coordinates,
)
from gossamer.compat.torchsparse.utils.tensor_cache import (
    TensorCache,
    TensorCacheMode,
    clear_global_tensor_cache,
    get_global_tensor_cache,
    get_tensor_cache_mode,
    set_global_tensor_cache,
    set_tensor_cache_mode,
)
from tests.compat.torchsparse_by_hand import defaults, rows, tensor, weight_of

pytestmark = pytest.mark.usefixtures(defaults.__name__)


def test_a_tensor_holds_what_it_was_given_under_both_names():
    feats, coords = torch.randn(60, 3), rows()
    x = SparseTensor(feats, coords, 2, [3, 7, 7, 7])
    assert x.F is x.feats is feats and x.C is x.coords is coords
    assert x.s == x.stride == (2, 2, 2) and x.spatial_range == (3, 7, 7, 7)
    x.F, x.C, x.s = feats[:9], coords[:9], (1, 2, 3)
    assert x.feats.shape == (9, 3) and x.coords.shape == (9, 4) and x.stride == (1, 2, 3)
    assert SparseTensor(feats, coords, torch.tensor([4, 4, 4])).s == (4, 4, 4)
    assert SparseTensor(feats, coords).spatial_range is None


def test_moves_and_conversions_are_in_place_and_return_the_tensor():
    x = tensor(rows(), dtype=torch.float32, grad=True)
    coords = x.C
    assert x.cpu() is x and x.to("cpu") is x and x.C is coords
    assert x.half() is x and x.F.dtype == torch.float16
    assert x.detach() is x and not x.F.requires_grad
    meta = x.to("meta")
    assert meta is x and x.F.device.type == x.C.device.type == "meta"


def test_a_subclass_may_hold_points_until_a_layer_needs_sites():
    class Points(SparseTensor):
        def __init__(self, feats, coords, stride=1):
            super().__init__(feats=feats, coords=coords, stride=stride)
            self._caches.idx_query = {}

    z = Points(torch.randn(60, 3), rows() * 0.7)
    z._caches.idx_query[z.s] = 1
    assert F.relu(z).C is z.C
    assert spnn.Conv3d(3, 4, 1)(z).F.shape == (60, 4)
    assert spnn.BatchNorm(3)(z)._caches.idx_query == {(1, 1, 1): 1}
    with pytest.raises(TypeError, match=r"coords is torch\.float32; wanted int32 or int64"):
        spnn.Conv3d(3, 4, 3)(z)
    with pytest.raises(ValueError, match=r"coords has shape \(60, 3\).*batch index"):
        spnn.Conv3d(3, 4, 3)(SparseTensor(torch.randn(60, 3), rows()[:, 1:]))
    with pytest.raises(ValueError, match="feats has 59 rows and coords 60"):
        spnn.Conv3d(3, 4, 3)(SparseTensor(torch.randn(59, 3), rows()))


def test_dense_is_channels_last_and_needs_a_range():
    x = tensor(rows(), spatial_range=(3, 7, 8, 9), grad=True)
    grid = x.dense()
    assert grid.shape == (3, 7, 8, 9, 3)
    assert torch.equal(grid[tuple(x.C.long().unbind(1))], x.F)
    assert grid.count_nonzero() == x.F.count_nonzero()
    grid.sum().backward()
    assert (x.F.grad == 1).all()
    x.spatial_range = None
    with pytest.raises(AssertionError, match="spatial_range is None"):
        x.dense()


def test_tensors_on_the_same_rows_add_up_and_others_do_not():
    x, y = tensor(rows()), tensor(rows())
    assert torch.equal((x + y).F, x.F + y.F)
    assert (x + y).C is x.C and (x + y)._caches is x._caches
    assert torch.equal((x + 2).F, x.F + 2) and torch.equal((2 + x).F, x.F + 2)
    assert torch.equal((x + y.F).F, x.F + y.F)
    for other in (tensor(rows(59)), tensor(rows().flip(0))):
        with pytest.raises(ValueError, match=r"number 0 has 60 rows.*number 1 has"):
            x + other


def test_rows_that_were_given_other_coords_do_not_add_up():
    x = spnn.Conv3d(3, 3, 3)(tensor(rows(), dtype=torch.float32))
    y = spnn.ReLU()(x)
    assert torch.equal((x + y).F, x.F + y.F)
    y.C = y.C.flip(0)
    with pytest.raises(ValueError, match="and they differ"):
        x + y
    conv = spnn.Conv3d(3, 3, 3)
    assert torch.equal(conv(y).F, conv(SparseTensor(y.F.clone(), y.C.clone())).F)


def test_rows_in_any_order_add_up_and_concatenate_behind_layers():
    x = tensor(rows(), 4, spatial_range=(3, 8, 8, 8), dtype=torch.float32)
    conv = spnn.Conv3d(4, 4, 3)
    y = conv(x)
    added, joined = conv(x) + x, torchsparse.cat([x, conv(x), y])
    torch.testing.assert_close(added.F, x.F + y.F)
    torch.testing.assert_close(joined.F, torch.cat([x.F, y.F, y.F], 1))
    assert joined.C is x.C and joined.spatial_range == (3, 8, 8, 8)
    assert joined._caches is x._caches
    with pytest.raises(ValueError, match="tensors to concatenate have different coords"):
        torchsparse.cat([x, tensor(rows(59))])
    with pytest.raises(ValueError, match="inputs is empty"):
        torchsparse.cat([])


@pytest.mark.parametrize("repeated", [False, True])
def test_a_network_on_shuffled_rows_says_the_same_as_one_layer_at_a_time(repeated):
    coords = rows(80)
    coords = torch.cat([coords, coords[:20]]) if repeated else coords
    x = tensor(coords, 4, dtype=torch.float32)
    net = nn.Sequential(
        spnn.Conv3d(4, 8, 3), spnn.BatchNorm(8), spnn.ReLU(True), spnn.Conv3d(8, 8, 3), spnn.SiLU()
    )
    twin, y = copy.deepcopy(net), x
    for layer in twin:
        y = layer(y)
        y = SparseTensor(y.F, y.C)
    torch.testing.assert_close(net(x).F, y.F, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(net[1].running_var, twin[1].running_var)


def test_a_function_sees_features_in_the_order_of_coords():
    x = tensor(rows(), dtype=torch.float32)
    y = spnn.Conv3d(3, 3, 3)(x)
    seen = []
    z = fapply(y, lambda feats, by, add=0: seen.append(feats) or feats * by + add, 2, add=1)
    assert torch.equal(seen[0], y.F) and torch.equal(z.F, y.F * 2 + 1)
    assert z.C is y.C and z._caches is y._caches and type(z) is SparseTensor


def test_an_activation_in_place_is_seen_by_the_tensor_it_was_given():
    x = tensor(rows(), dtype=torch.float32)
    y = spnn.Conv3d(3, 3, 3)(x).detach()
    F.relu(y)
    assert y.F.min() == 0
    F.leaky_relu(x, inplace=False)
    assert x.F.min() < 0


# What tensors share


def test_the_sites_of_every_stride_are_known_to_all():
    x = tensor(rows(), spatial_range=(3, 8, 8, 8), dtype=torch.float32)
    y = spnn.Conv3d(3, 3, 2, 2)(x)
    assert y._caches is x._caches
    assert x._caches.cmaps == {(1, 1, 1): (x.C, (3, 8, 8, 8)), (2, 2, 2): (y.C, (3, 4, 4, 4))}
    assert [key[:4] for key in x._caches.kmaps] == [((1, 1, 1), (2, 2, 2), (2, 2, 2), (1, 1, 1))]


def test_layers_on_the_same_sites_share_a_map():
    x = tensor(rows(), dtype=torch.float32)
    y = spnn.Conv3d(3, 3, 3)(x)
    spnn.Conv3d(3, 3, 3)(SparseTensor(y.F, y.C))
    assert len(x._caches.kmaps) == 1
    handed = SparseTensor(y.F, y.C.clone())
    handed._caches = x._caches
    before = list(x._caches.kmaps.values())
    spnn.Conv3d(3, 3, 3)(handed)
    assert list(x._caches.kmaps.values()) == before


def test_another_padding_is_another_map():
    x, weight = tensor(rows()), weight_of(3)
    for padding in (0, 1, 0):
        y = F.conv3d(x, weight, 3, None, 2, padding)
        alone = F.conv3d(SparseTensor(x.F, x.C), weight, 3, None, 2, padding)
        assert torch.equal(y.C, alone.C) and torch.equal(y.F, alone.F)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_cache_of_other_sites_is_not_read(stride):
    weight = weight_of(3)
    x, other = tensor(rows()), tensor(rows(seed=1))
    F.conv3d(x, weight, 3, None, stride, 1)
    wanted = F.conv3d(other, weight, 3, None, stride, 1)
    stale = SparseTensor(other.F, other.C)
    stale._caches = x._caches
    y = F.conv3d(stale, weight, 3, None, stride, 1)
    assert torch.equal(y.C, wanted.C) and torch.equal(y.F, wanted.F)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("own", [True, False])
def test_coords_that_were_written_into_are_read_anew(stride, own):
    weight = weight_of(3)
    x = tensor(rows())
    if not own:
        x = F.conv3d(x, weight_of(3, 3, 3), 3, None, 2, 1)
    F.conv3d(x, weight, 3, None, stride, 1)
    x.C[:, 1] *= 3
    y = F.conv3d(x, weight, 3, None, stride, 1)
    wanted = F.conv3d(SparseTensor(x.F, x.C.clone()), weight, 3, None, stride, 1)
    assert torch.equal(y.C, wanted.C) and torch.equal(y.F, wanted.F)


@pytest.mark.parametrize("ordered", [False, True])
def test_coords_that_were_written_into_are_not_led_back_to(ordered):
    coords = torch.unique(rows(), dim=0) if ordered else rows()
    x = tensor(coords, dtype=torch.float32)
    old = coords.clone()
    y = spnn.Conv3d(3, 3, 2, 2)(x)
    x.C.zero_()
    assert torch.equal(spnn.Conv3d(3, 3, 2, 2, transposed=True)(y).C, old)


def test_a_range_that_is_set_later_counts():
    x, weight = tensor(rows()), weight_of(3)
    F.conv3d(x, weight, 3, None, 2)
    x.spatial_range = (3, 9, 9, 9)
    y = F.conv3d(x, weight, 3, None, 2)
    assert y.spatial_range == (3, 4, 4, 4) and y.C[:, 1:].max() == 3


def test_tensors_share_one_cache_where_they_are_told_to():
    assert get_tensor_cache_mode() is TensorCacheMode.SEPARATE_TENSOR_CACHE
    one, other = tensor(rows()), tensor(rows())
    assert one._caches is not other._caches
    set_tensor_cache_mode(TensorCacheMode.GLOBAL_TENSOR_CACHE)
    assert get_tensor_cache_mode() is TensorCacheMode.GLOBAL_TENSOR_CACHE
    one, other = tensor(rows()), tensor(rows())
    assert one._caches is other._caches is get_global_tensor_cache()
    weight = weight_of(3)
    y, z = F.conv3d(one, weight, 3), F.conv3d(tensor(rows(seed=1)), weight, 3)
    alone = SparseTensor(one.F, one.C)
    alone._caches = TensorCache()
    assert torch.equal(y.F, F.conv3d(alone, weight, 3).F) and z.F.shape == y.F.shape
    clear_global_tensor_cache()
    assert get_global_tensor_cache() is None
    mine = TensorCache()
    set_global_tensor_cache(mine)
    assert tensor(rows())._caches is mine
    with pytest.raises(AssertionError, match="TensorCacheMode"):
        set_tensor_cache_mode(1)


def test_negative_coordinates_are_allowed_as_set_last():
    assert get_allow_negative_coordinates() is False
    set_allow_negative_coordinates(True)
    assert get_allow_negative_coordinates() is True


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_is_independent_and_goes_on_where_the_tensor_was(copied):
    x = tensor(rows(), spatial_range=(3, 8, 8, 8), dtype=torch.float32)
    down, up = spnn.Conv3d(3, 3, 2, 2), spnn.Conv3d(3, 3, 2, 2, transposed=True)
    y = down(x).detach()
    y.F = y.F.detach()
    z = copied(y)
    assert torch.equal(z.F, y.F) and torch.equal(z.C, y.C) and z.spatial_range == y.spatial_range
    assert z._caches is not y._caches and not z._caches.kmaps
    assert torch.equal(up(z).F, up(y).F) and torch.equal(up(z).C, x.C)


def test_a_tensor_that_torchsparse_itself_has_pickled_is_read():
    state = {
        "feats": torch.ones(1, 3),
        "coords": rows(1),
        "stride": (2, 2, 2),
        "spatial_range": None,
    }
    x = SparseTensor.__new__(SparseTensor)
    x.__setstate__({**state, "_caches": None})
    assert x.F is state["feats"] and x.C is state["coords"] and x.s == (2, 2, 2)
    assert spnn.Conv3d(3, 2, 3)(x).F.shape == (1, 2)


def test_points_add_up_and_keep_what_programs_hang_on_them():
    coords = torch.rand(9, 4)
    z = PointTensor(torch.ones(9, 2), coords, weights={1: 2})
    z.additional_features["idx_query"][1] = 3
    both = z + PointTensor(torch.ones(9, 2), coords)
    assert torch.equal(both.F, torch.full((9, 2), 2.0)) and both.C is coords
    assert both.weights == {1: 2} and both.idx_query == {}
    assert both.additional_features == {"idx_query": {1: 3}, "counts": {}}
    assert z.to("cpu") is z and z.detach() is z
    with pytest.raises(ValueError, match="points to add have different coords"):
        z + PointTensor(torch.ones(9, 2), coords + 1)


def test_what_programs_put_behind_a_range_is_left_out_and_too_short_a_one_refused():
    x = tensor(rows(), spatial_range=(3, 7, 8, 9, 16))
    weight = weight_of(3)
    assert F.conv3d(x, weight, 3).spatial_range == (3, 7, 8, 9)
    assert F.conv3d(x, weight, 3, None, 2, 1).spatial_range == (3, 4, 4, 5)
    with pytest.raises(ValueError, match=r"spatial_range is \(7, 8, 9\); wanted \(B, X, Y, Z\)"):
        F.conv3d(tensor(rows(), spatial_range=(7, 8, 9)), weight, 3)


@pytest.mark.parametrize(
    "layer",
    [spnn.Conv3d(3, 4, 3), spnn.Conv3d(3, 4, 1), spnn.ReLU(), F.silu, lambda x: fapply(x, abs)],
    ids=["conv", "pointwise", "relu", "silu", "fapply"],
)
@pytest.mark.parametrize("given", [torch.randn(4, 3), None], ids=["features", "None"])
def test_what_is_no_sparse_tensor_is_refused_by_name(layer, given):
    with pytest.raises(TypeError, match=f"input is a {type(given).__name__}; wanted a torchsparse"):
        layer(given)


def test_tensors_are_put_together_with_tensors_alone():
    for several in ([torch.randn(4, 3)], [tensor(rows()), torch.randn(4, 3)]):
        with pytest.raises(TypeError, match="input is a Tensor"):
            torchsparse.cat(several)


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize(
    ("feats", "error", "message"),
    [
        (torch.randn(59, 3), ValueError, "feats has 59 rows and coords 60; wanted one row a voxel"),
        (torch.randn(60), ValueError, r"feats has shape \(60,\); wanted \[N, C\]"),
        (torch.randn(60, 3).numpy(), TypeError, "feats is a ndarray; wanted a torch.Tensor"),
    ],
    ids=["fewer", "flat", "numpy"],
)
def test_features_that_are_no_rows_of_coords_are_refused(size, feats, error, message):
    with pytest.raises(error, match=message):
        spnn.Conv3d(3, 4, size, size if size == 2 else 1)(SparseTensor(feats, rows()))
    x = spnn.Conv3d(3, 3, 2, 2)(tensor(rows(), dtype=torch.float32))
    x.F = x.F[1:]
    with pytest.raises(ValueError, match=r"feats has .* rows and coords"):
        spnn.Conv3d(3, 4, size)(x)


def test_sizes_are_told_by_name():
    for given in (6, 6.0):
        with pytest.raises(TypeError, match=f"spatial_range is {given}; wanted \\(B, X, Y, Z\\)"):
            SparseTensor(torch.randn(60, 3), rows(), 1, given)
    with pytest.raises(AssertionError, match=r"stride is \(2, 2\); wanted one int"):
        SparseTensor(torch.randn(60, 3), rows(), (2, 2))
    for name in ("kernel_size", "stride", "padding", "dilation"):
        for wrong, kind in (((3, 3), AssertionError), (-1, ValueError), ((1.5, 1, 1), ValueError)):
            with pytest.raises(kind, match=f"{name} is"):
                spnn.Conv3d(3, 4, **{name: wrong})


def test_whole_numbers_of_any_kind_make_a_range_and_no_others():
    coords = rows()
    for given in ((3.0, 7.0, 7, 7), (coords[:, 0].max() + 1, 7, 7, 7)):
        x = SparseTensor(torch.randn(60, 3), coords, 1, given)
        y = spnn.Conv3d(3, 4, 3, 2, 1)(spnn.Conv3d(3, 3, 3)(x))
        assert y.spatial_range == (3, 4, 4, 4) and all(type(n) is int for n in y.spatial_range)
    with pytest.raises(TypeError, match=r"spatial_range is 7\.5; wanted a whole number"):
        spnn.Conv3d(3, 4, 3)(SparseTensor(torch.randn(60, 3), coords, 1, (3, 7.5, 7, 7)))


@pytest.mark.parametrize("size", [1, 3])
def test_what_else_a_convolution_can_not_read_is_told_by_name(size):
    x, weight = tensor(rows(), dtype=torch.float32), weight_of(size, dtype=torch.float32)
    with pytest.raises(ValueError, match=r"bias has shape \(5,\); wanted \[2\]"):
        F.conv3d(x, weight, size, torch.randn(5))
    with pytest.raises(TypeError, match="coords is a NoneType"):
        spnn.Conv3d(3, 4, 3)(SparseTensor(torch.randn(60, 3), None))


def test_a_layer_written_for_1_4_says_that_padding_came_between():
    with pytest.raises(TypeError, match=r"dilation is False.*1\.4 has no padding.*api="):
        spnn.Conv3d(3, 4, 3, 2, 1, False, False)


def test_rows_whose_batch_comes_last_are_told_where_it_belongs():
    x = tensor(rows()[:, [1, 2, 3, 0]], spatial_range=(3, 7, 7, 7), dtype=torch.float32)
    with pytest.raises(ValueError, match="rows begin with the batch, which came last before"):
        spnn.Conv3d(3, 4, 3)(x)
