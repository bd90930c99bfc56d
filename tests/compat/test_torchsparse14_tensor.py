"""Tensors of TorchSparse 1.4: what they hold, share, and keep when copied or written to."""

import copy
import pickle

import numpy as np
import pytest
import torch

from gossamer.compat.torchsparse14 import PointTensor, SparseTensor, cat
from gossamer.compat.torchsparse14.nn import Conv3d, ReLU
from gossamer.compat.torchsparse14.nn.functional import spcrop
from gossamer.compat.torchsparse14.nn.utils import fapply, get_kernel_offsets
from gossamer.compat.torchsparse14.utils import make_ntuple
from tests.compat.test_torchsparse14_conv import places

ONES, TWOS = (1, 1, 1), (2, 2, 2)


def tensor(channels=3, seed=0, stride=1):
    coords = places(seed=seed, scale=(stride,) * 3)
    return SparseTensor(torch.randn(len(coords), channels), coords, stride)


def test_short_and_long_names_are_the_same():
    x = tensor(stride=2)
    assert x.F is x.feats and x.C is x.coords and x.s == x.stride == TWOS
    x.F, x.C, x.s = x.F[:2], x.C[:2], 4
    assert x.feats.shape == (2, 3) and x.coords.shape == (2, 4) and x.stride == (4, 4, 4)
    assert x.cmaps == {} and x.kmaps == {}


def test_layers_share_maps_and_note_what_they_met():
    x = tensor()
    y = Conv3d(3, 4, 3)(x)
    z = Conv3d(4, 4, 2, 2)(ReLU()(y))
    assert y.C is x.C
    assert x.cmaps is y.cmaps is z.cmaps and x.kmaps is z.kmaps
    assert list(x.cmaps) == [ONES, TWOS]
    assert x.cmaps[ONES] is x.C and x.cmaps[TWOS] is z.C
    assert list(x.kmaps) == [(ONES, (3, 3, 3), ONES, ONES), (ONES, TWOS, TWOS, ONES)]


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (2, 2), (3, 2)])
def test_a_kernel_map_lists_its_pairs_tap_by_tap(size, stride):
    x = tensor()
    y = Conv3d(3, 4, size, stride)(x)
    pairs, counts, sizes = x.kmaps[(ONES, (size,) * 3, (stride,) * 3, ONES)]
    assert tuple(sizes) == (len(x.C), len(y.C)) and counts.sum() == len(pairs)
    offsets = get_kernel_offsets(size)
    there = {tuple(row): i for i, row in enumerate(x.C.tolist())}
    taps = torch.arange(size**3).repeat_interleave(counts).tolist()
    found = {(tap, *pair) for tap, pair in zip(taps, pairs.tolist(), strict=True)}
    wanted = {
        (tap, there[moved], row)
        for row, (*p, b) in enumerate(y.C.tolist())
        for tap, offset in enumerate(offsets.tolist())
        if (moved := (*(v + o for v, o in zip(p, offset, strict=True)), b)) in there
    }
    assert found == wanted


def test_maps_may_be_copied_to_a_tensor_that_a_program_makes():
    x = tensor()
    y = Conv3d(3, 4, 2, 2)(x)
    new = SparseTensor(torch.randn(len(y.C), 4), y.C, y.s)
    new.cmaps, new.kmaps = y.cmaps, y.kmaps
    up = Conv3d(4, 3, 2, 2, transposed=True)
    back = up(new)
    assert back.C is x.C
    found = x.kmaps[(ONES, TWOS, TWOS, ONES)]
    assert new._where() is y._where() is found.target  # nothing was built anew
    torch.testing.assert_close(back.F, up(fapply(y, lambda _: new.F)).F)


def test_maps_of_other_rows_are_never_used():
    """Shared dictionaries, an equal stride, and other voxels: features follow the voxels."""
    x, other = tensor(seed=1), tensor(seed=2)
    other = SparseTensor(other.F, other.C)
    down = Conv3d(3, 4, 2, 2)
    wanted, alone = down(x), down(SparseTensor(other.F, other.C))
    other.cmaps, other.kmaps = x.cmaps, x.kmaps
    found = down(other)
    assert torch.equal(found.C, alone.C) and torch.equal(found.F, alone.F)
    key = (ONES, TWOS, TWOS, ONES)
    assert x.kmaps[key][2] == (len(other.C), len(found.C))
    assert torch.equal(down(x).F, wanted.F)
    assert x.kmaps[key][2] == (len(x.C), len(wanted.C))


def test_of_two_branches_at_one_stride_each_goes_back_to_its_own_rows():
    x = tensor()
    one, two = Conv3d(3, 4, 2, 2)(x), Conv3d(3, 4, 3, 2)(x)
    assert x.cmaps[TWOS] is one.C and len(one.C) != len(two.C)
    back = Conv3d(4, 4, 2, 2, transposed=True)(Conv3d(4, 4, 2, 2)(two))
    assert back.C is two.C and len(back.F) == len(two.C)


@pytest.mark.parametrize("inference", [False, True])
def test_rows_that_are_written_into_are_read_anew(inference):
    with torch.inference_mode(inference):
        x = tensor()
        conv = Conv3d(3, 4)
        before = conv(x)
        x.C[:, 0] += torch.arange(len(x.C), dtype=torch.int32) * 5
        wanted = conv(SparseTensor(x.F, x.C.clone()))
        assert torch.equal(conv(x).F, wanted.F) and not torch.equal(before.F, wanted.F)


def test_the_features_of_a_chain_are_those_of_its_links_one_by_one():
    """Rows lie in another order between layers; nobody sees that."""
    x, one, two = tensor(), Conv3d(3, 4), Conv3d(4, 3)
    together = two(one(x))
    apart = SparseTensor(one(x).F.clone(), x.C.clone())
    torch.testing.assert_close(together.F, two(apart).F)
    torch.testing.assert_close((together + x).F, together.F + x.F)
    torch.testing.assert_close(
        cat([x, together, one(x)]).F, torch.cat([x.F, together.F, one(x).F], 1)
    )


def test_sums_and_cats_share_the_maps_of_the_first():
    x, y = tensor(), tensor(5)
    y.coords = x.coords.clone()
    both = cat([x, y])
    assert (
        both.C is x.C and both.cmaps is x.cmaps and both.kmaps is x.kmaps and both.F.shape[1] == 8
    )
    assert (x + x).cmaps is x.cmaps


@pytest.mark.parametrize("other", ["fewer rows", "other rows", "another order"])
def test_tensors_on_other_rows_are_not_put_together(other):
    x = tensor()
    rows = {"fewer rows": x.C[1:], "other rows": x.C + 1, "another order": x.C.flip(0)}[other]
    y = SparseTensor(x.F[: len(rows)], rows)
    for together in (lambda: x + y, lambda: cat([x, y])):
        with pytest.raises(ValueError, match="different coords"):
            together()
    with pytest.raises(ValueError, match="empty"):
        cat([])


def test_a_function_of_features_sees_the_callers_order():
    x = tensor()
    y = Conv3d(3, 4)(x)
    z = fapply(y, lambda feats, by, plus=0: feats.cumsum(0) * by + plus, 2, plus=1)
    torch.testing.assert_close(z.F, y.F.cumsum(0) * 2 + 1)
    assert z.C is x.C and z.kmaps is x.kmaps


def test_pickled_and_copied_tensors_go_on():
    x = tensor()
    x.note = "mine"
    down, up = Conv3d(3, 4, 2, 2), Conv3d(4, 3, 2, 2, transposed=True)
    y = down(Conv3d(3, 3)(x))
    assert y.F.grad_fn is not None
    y.detach()
    for twin in (pickle.loads(pickle.dumps(y)), copy.deepcopy(y), copy.copy(y)):
        assert torch.equal(twin.F, y.F) and torch.equal(twin.C, y.C) and twin.s == TWOS
        assert torch.equal(up(twin).F, up(y).F) and torch.equal(up(twin).C, x.C)
    assert copy.copy(x).cmaps is x.cmaps and copy.copy(x).note == "mine"
    assert pickle.loads(pickle.dumps(x)).note == "mine"


def test_a_tensor_as_torchsparse_itself_has_pickled_it_is_read():
    x = tensor()
    key = (ONES, (3, 3, 3), ONES, ONES)
    theirs = {"feats": x.F, "coords": x.C, "stride": ONES, "cmaps": {}, "kmaps": {key: [1, 2, 3]}}
    new = SparseTensor.__new__(SparseTensor)
    new.__setstate__(theirs)
    conv = Conv3d(3, 4)
    assert torch.equal(conv(new).F, conv(x).F)
    assert new.kmaps[key][2] == (len(x.C), len(x.C))


def test_moving_and_casting_change_the_tensor_itself():
    x = tensor()
    x.F.requires_grad_()
    Conv3d(3, 4, 2, 2)(x)
    coords, maps = x.C, x.cmaps
    assert x.to("cpu") is x and x.cpu() is x and x.half() is x and x.F.dtype == torch.float16
    assert x.C is coords and x.cmaps is maps
    assert x.detach() is x and not x.F.requires_grad
    x.to("meta")
    assert x.F.device.type == x.C.device.type == "meta"
    assert x.cmaps[ONES] is x.C and x.cmaps[TWOS].device.type == "meta" and x.kmaps == {}
    assert maps[TWOS].device.type == "cpu"


def test_features_and_rows_in_numpy_are_kept_until_they_are_collated():
    x = SparseTensor(np.zeros((2, 3)), np.zeros((2, 3), dtype=np.int32))
    assert isinstance(x.F, np.ndarray) and isinstance(x.C, np.ndarray)


def test_a_cropped_tensor_starts_anew():
    x = tensor()
    Conv3d(3, 4)(x)
    y = spcrop(x, (-1, -2, -3), (2, 3, 4))
    low, high = torch.tensor([-1, -2, -3]), torch.tensor([2, 3, 4])
    inside = ((x.C[:, :3] >= low) & (x.C[:, :3] < high)).all(1)
    assert 0 < inside.sum() < len(x.C)
    assert torch.equal(y.C, x.C[inside]) and torch.equal(y.F, x.F[inside]) and y.cmaps == {}
    assert torch.equal(spcrop(x).C, x.C)
    with pytest.raises(ValueError, match="coords_max"):
        spcrop(x, coords_max=(1, 2))


def test_a_training_step_in_inference_mode_leaves_maps_that_can_learn():
    coords = places()
    conv = Conv3d(3, 4, 2, 2)
    x = SparseTensor(torch.randn(len(coords), 3), coords)
    with torch.inference_mode():
        conv(x)
    conv(x).F.sum().backward()
    assert conv.kernel.grad is not None


def test_compiled_chains_give_the_same():
    x, one, two = tensor(), Conv3d(3, 4), Conv3d(4, 3)

    def run(feats):
        return two(one(SparseTensor(feats * 2, x.C))).F.relu()

    torch.testing.assert_close(torch.compile(run, backend="eager")(x.F), run(x.F))


def test_one_int_stands_for_three():
    for given in (2, [2, 2, 2], (2, 2, 2), torch.tensor([2, 2, 2]), np.int64(2)):
        assert make_ntuple(given, 3) == TWOS
    with pytest.raises(AssertionError, match="3"):
        make_ntuple([1, 2], 3)


def points():
    return PointTensor(torch.randn(5, 3, requires_grad=True), torch.rand(5, 4) * 4)


def test_points_share_what_is_known_about_them():
    z = points()
    z.idx_query[ONES], z.weights[ONES] = torch.zeros(5, 8).long(), torch.rand(5, 8)
    z.additional_features["idx_query"][ONES] = torch.arange(5)
    total = z + z
    assert torch.equal(total.F, z.F * 2) and total.C is z.C
    assert total.idx_query is z.idx_query and total.weights is z.weights
    assert total.additional_features is z.additional_features
    other = PointTensor(z.F, z.C, z.idx_query, z.weights)
    assert other.idx_query is z.idx_query
    assert other.additional_features == {"idx_query": {}, "counts": {}}
    with pytest.raises(ValueError, match="same points"):
        z + PointTensor(z.F[:2], z.C[:2])


def test_points_move_with_their_caches():
    z = points()
    kept = z.additional_features["counts"][1] = torch.arange(5)
    z.idx_query[ONES] = torch.arange(5)
    assert z.to("cpu") is z and z.additional_features["counts"][1] is kept
    z.to("meta")
    where = {t.device.type for t in (z.F, z.C, z.idx_query[ONES])}
    assert where == {z.additional_features["counts"][1].device.type} == {"meta"}
    z = points()
    assert z.detach() is z and not z.F.requires_grad
    assert torch.equal(pickle.loads(pickle.dumps(z)).F, z.F)


@pytest.mark.parametrize(
    "layer",
    [Conv3d(3, 4, 3), Conv3d(3, 4, 1), ReLU(), lambda x: fapply(x, abs), lambda x: cat([x])],
    ids=["conv", "pointwise", "relu", "fapply", "cat"],
)
@pytest.mark.parametrize("given", [torch.randn(4, 3), None], ids=["features", "None"])
def test_what_is_no_sparse_tensor_is_refused_by_name(layer, given):
    with pytest.raises(TypeError, match=f"input is a {type(given).__name__}; wanted a torchsparse"):
        layer(given)


@pytest.mark.parametrize("size", [1, 3])
def test_features_that_are_no_rows_of_coords_are_refused(size):
    x = tensor()
    x.F = x.F[1:]
    with pytest.raises(ValueError, match=r"feats has .* rows and coords .*; wanted one"):
        Conv3d(3, 4, size)(x)
    x.F = x.F.numpy()
    with pytest.raises(TypeError, match=r"feats is a ndarray; wanted a torch\.Tensor"):
        Conv3d(3, 4, size)(x)


@pytest.mark.parametrize("name", ["kernel_size", "stride", "dilation"])
def test_sizes_are_told_by_name(name):
    for wrong, kind in (((3, 3), AssertionError), (0, ValueError), (-1, ValueError)):
        with pytest.raises(kind, match=f"{name} is"):
            Conv3d(3, 4, **{name: wrong})


def test_a_map_that_led_to_other_rows_is_not_the_way_back():
    a, b = tensor(seed=1), tensor(seed=2)
    b.cmaps, b.kmaps = a.cmaps, a.kmaps
    down, up = Conv3d(3, 3, 2, 2), Conv3d(3, 3, 2, 2, transposed=True)
    first, second = down(a), down(b)
    assert not torch.equal(first.C, second.C)
    assert up(first).C is a.C
    alone = down(SparseTensor(a.F, a.C))
    torch.testing.assert_close(up(first).F, up(alone).F)


def test_a_result_that_is_written_into_leaves_the_layer_as_it_was():
    x, down, keep = tensor(), Conv3d(3, 3, 2, 2), Conv3d(3, 3, 3)
    y = down(x)
    coords = y.C.clone()
    y.C[:, 0] += 2 * torch.arange(len(y.C), dtype=torch.int32)
    assert torch.equal(down(x).C, coords)
    alone = keep(SparseTensor(y.F, y.C.clone(), 2))
    torch.testing.assert_close(keep(y).F, alone.F)


def test_layers_of_one_kernel_and_several_strides_lead_from_one_tensor():
    x, layers = tensor(), [Conv3d(3, 3, 3, stride) for stride in (2, 3, 4)]
    for layer in layers:
        y, alone = layer(x), layer(SparseTensor(x.F, x.C.clone()))
        assert torch.equal(y.C, alone.C)
        torch.testing.assert_close(y.F, alone.F)
