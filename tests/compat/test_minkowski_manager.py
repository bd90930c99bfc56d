"""CoordinateManager: maps by key, and which row feeds which."""

import copy
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossamer.compat.coordmaps.key import CoordinateMapKey
from gossamer.compat.coordmaps.kinds import (
    CoordinateMapType,
    GPUMemoryAllocatorType,
    MinkowskiAlgorithm,
    RegionType,
)
from gossamer.compat.minkowski.MinkowskiCommon import convert_to_int_list, convert_to_int_tensor
from gossamer.compat.minkowski.MinkowskiCoordinateManager import (
    CoordinateManager,
    CoordsManager,
    set_coordinate_map_type,
    set_gpu_allocator,
    set_memory_manager_backend,
)
from gossamer.errors import KeyRangeError
from tests.compat import minkowski_by_hand as hand

ROWS = torch.tensor([[0, 1], [0, 1], [0, 2], [0, 2], [1, 0], [1, 0], [1, 1]]).int()


def sites(manager, key):
    return [tuple(c) for c in manager.get_coordinates(key).tolist()]


def linked(manager, source, target, kernel_map):
    """{(tap, input, output)} in coordinates."""
    ins, outs = sites(manager, source), sites(manager, target)
    return {(k, ins[i], outs[o]) for k, pair in kernel_map.items() for i, o in pair.t().tolist()}


def test_a_key_is_a_tensor_stride_and_a_string():
    key = CoordinateMapKey([2, 4], "target")
    assert key.get_key() == ([2, 4], "target") and key.get_tensor_stride() == [2, 4]
    assert key.get_coordinate_size() == 3 and key.get_dimension() == 2
    assert str(key) == "coordinate map key:[2, 4]:target"
    assert key == CoordinateMapKey((2, 4), "target") != CoordinateMapKey([2, 4])
    assert len({key, CoordinateMapKey([2, 4], "target"), CoordinateMapKey([2, 4])}) == 2
    place = CoordinateMapKey(3)
    assert not place.is_key_set() and place != place and str(place) == "coordinate map key:unset"
    with pytest.raises(ValueError, match="no name yet"):
        place.get_key()
    place.set_key(key.get_key())
    assert place == key == pickle.loads(pickle.dumps(key)) == copy.deepcopy(key)
    place.set_key([1, 1], "")
    assert place == CoordinateMapKey([1, 1])
    with pytest.raises(ValueError, match=r"1 \+ D columns"):
        CoordinateMapKey(1)
    with pytest.raises(ValueError, match="tensor_stride"):
        CoordinateMapKey([-1])


@pytest.mark.parametrize("stride", [1, 2, (2, 3)])
@given(seed=st.integers(0, 1000), sort=st.booleans())
def test_rows_keep_their_order_and_repeats_are_left_out(stride, seed, sort):
    rows = hand.points(2, rows=30, reach=3, seed=seed)
    rows[:, 1:] *= torch.tensor(stride).int()
    if sort:
        rows = torch.stack(sorted(rows, key=lambda r: r.tolist()))
    manager = CoordinateManager(D=2)
    key, (unique, back) = manager.insert_and_map(rows, stride)
    firsts = list(dict.fromkeys(map(tuple, rows.tolist())))
    assert sites(manager, key) == firsts
    assert rows[unique].tolist() == [list(c) for c in firsts] and unique.diff().gt(0).all()
    assert torch.equal(manager.get_coordinates(key)[back], rows)
    assert manager.size(key) == len(firsts) and manager.get_coordinates(key).dtype == torch.int32


def test_what_the_caller_writes_later_changes_nothing():
    rows = torch.tensor([[0, 1], [0, 2]]).int()
    manager = CoordinateManager(D=1)
    key, _ = manager.insert_and_map(rows)
    rows += 5
    manager.get_coordinates(key).zero_()
    assert sites(manager, key) == [(0, 1), (0, 2)]


def test_a_key_that_is_taken_becomes_a_new_one():
    manager = CoordinateManager(D=1)
    keys = [manager.insert_and_map(ROWS, 1, name)[0] for name in ("", "", "target", "target")]
    assert len(set(keys)) == 4 and keys[0].get_key() == ([1], "")
    assert keys[2].get_key() == ([1], "target") and keys[3].get_key()[1].startswith("target-")
    assert manager.get_unique_coordinate_map_key([1]) not in keys
    assert manager.get_unique_coordinate_map_key([8]).get_key()[1]
    assert set(manager.get_coordinate_map_keys(1)) == set(keys)


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
@pytest.mark.parametrize("tensor_stride", [1, 3])
@pytest.mark.parametrize("stride", [2, 3])
def test_striding_rounds_down(backend, ndim, tensor_stride, stride):
    rows = hand.points(ndim)
    rows[:, 1:] *= tensor_stride
    manager = CoordinateManager(D=ndim)
    key, _ = manager.insert_and_map(rows, tensor_stride)
    new = manager.stride(key, stride)
    wide = [tensor_stride * stride] * ndim
    assert sites(manager, new) == sorted({hand.floored(tuple(c), wide) for c in rows.tolist()})
    assert new.get_key() == (wide, "") and manager.stride(key, stride) == new
    assert manager.stride(key, 1) == key
    assert manager.stride(key, stride, "other").get_key() == (wide, "other")


def test_minus_three_becomes_minus_four():
    manager = CoordinateManager(D=1)
    key, _ = manager.insert_and_map(torch.tensor([[0, v] for v in range(-3, 4)]))
    assert sites(manager, manager.stride(key, [2])) == [(0, -4), (0, -2), (0, 0), (0, 2)]


def test_coordinates_need_not_be_multiples_of_the_tensor_stride():
    rows = torch.tensor([[0, 4, 2, 1], [0, 4, 0, 0], [0, 4, 4, 4], [0, 4, 4, 7]])
    manager = CoordinateManager(D=3)
    key, _ = manager.insert_and_map(rows, 4)
    assert manager.get_coordinates(key).tolist() == rows.tolist()
    new = manager.stride(key, 2)
    assert sites(manager, new) == [(0, 0, 0, 0)] and new.get_tensor_stride() == [8, 8, 8]
    pairs = manager.kernel_map(key, new, 2, 3)
    offsets = hand.cube((3, 3, 3), (1, 1, 1), (4, 4, 4))
    wanted = hand.pairs([tuple(c) for c in rows.tolist()], [(0, 0, 0, 0)], offsets)
    assert linked(manager, key, new, pairs) == wanted and wanted


@pytest.mark.parametrize("upwards", [False, True])
@pytest.mark.parametrize(
    ("fine", "coarse", "size", "dilation", "region"),
    [
        (1, 2, (3, 2), (1, 2), RegionType.HYPER_CUBE),
        (2, 3, (3, 3), (1, 1), RegionType.HYPER_CUBE),
        (4, 1, (2, 3), (1, 1), RegionType.HYPER_CUBE),
        (1, 1, (3, 5), (2, 1), RegionType.HYPER_CROSS),
    ],
)
def test_a_kernel_map_lists_every_pair(upwards, fine, coarse, size, dilation, region):
    manager, keys = CoordinateManager(D=2), []
    for seed, stride in enumerate((fine, coarse)):
        rows = hand.points(2, seed=seed)
        rows[:, 1:] *= stride
        keys.append(manager.insert_and_map(rows, stride)[0])
    cross = region is RegionType.HYPER_CROSS
    offsets = (hand.cross if cross else hand.cube)(size, dilation, (fine, fine))
    wanted = hand.pairs(sites(manager, keys[0]), sites(manager, keys[1]), offsets)
    shape = (1, size, dilation, region)
    if upwards:
        found = manager.kernel_map(keys[1], keys[0], *shape, is_transpose=True)
        turned = linked(manager, keys[1], keys[0], found)
        assert turned == {(k, o, i) for k, i, o in wanted}
    else:
        found = manager.kernel_map(*keys, *shape)
        assert linked(manager, *keys, found) == wanted
    assert wanted and all(p.dtype == torch.int32 and p.shape[1] for p in found.values())


def test_a_kernel_map_of_custom_offsets_and_of_numbers_for_names():
    manager = CoordinateManager(D=2)
    key, _ = manager.insert_and_map(hand.points(2))
    offsets = torch.tensor([[1, 1], [0, -2]])
    found = manager.kernel_map(1, 1, region_type=RegionType.CUSTOM, region_offset=offsets)
    taps = [tuple(o) for o in offsets.tolist()]
    here = sites(manager, key)
    assert linked(manager, key, key, found) == hand.pairs(here, here, taps)
    crossed = manager.kernel_map(1, 1, kernel_size=3, region_type=1)
    wanted = hand.pairs(here, here, hand.cross((3, 3), (1, 1), (1, 1)))
    assert linked(manager, key, key, crossed) == wanted
    with pytest.warns(UserWarning, match="deprecated"):
        assert manager.get_kernel_map(key, key, kernel_size=1)[0].shape[1] == manager.size(key)


def test_a_pooling_as_large_as_its_stride_maps_each_row_to_its_cell():
    manager = CoordinateManager(D=1)
    key, _ = manager.insert_and_map(ROWS, [1])
    new = manager.stride(key, [4])
    found = manager.kernel_map(key, new, [4], [4], [1], is_pool=True)
    assert linked(manager, key, new, found) == {
        (0, c, hand.floored(c, (4,))) for c in sites(manager, key)
    }
    rows, cells = manager.stride_map(key, new)
    assert rows.tolist() == [0, 1, 2, 3]
    assert [sites(manager, new)[c] for c in cells] == [(0, 0), (0, 0), (1, 0), (1, 0)]


def test_rows_without_a_cell_are_left_out_of_a_stride_map():
    manager = CoordinateManager(D=1)
    key, _ = manager.insert_and_map(torch.tensor([[0, 9], [0, 1], [0, 4]]))
    target, _ = manager.insert_and_map(torch.tensor([[0, 4], [0, 0]]), 4)
    rows, cells = manager.stride_map(key, target)
    assert rows.tolist() == [1, 2] and cells.tolist() == [1, 0]


def test_samples_at_the_origin_are_those_that_have_rows():
    rows = torch.tensor([[3, 5], [0, 1], [3, 2], [1, -7]])
    manager = CoordinateManager(D=1)
    key, _ = manager.insert_and_map(rows)
    samples, by_sample = manager.origin_map(key)
    assert samples.tolist() == [0, 1, 3]
    assert [r.tolist() for r in by_sample] == [[1], [3], [], [0, 2]]
    assert sites(manager, manager.origin()) == [(0, 0), (1, 0), (3, 0)]
    assert manager.number_of_unique_batch_indices() == 3
    assert manager.origin().get_tensor_stride() == [0]
    manager.insert_and_map(torch.tensor([[5, 1]]))
    assert manager.number_of_unique_batch_indices() == 4
    assert len(manager.origin_map(key)[1]) == 6


@given(seed=st.integers(0, 1000), stride=st.sampled_from([1, 2]))
def test_a_union_holds_every_coordinate_once(seed, stride):
    manager, keys = CoordinateManager(D=2), []
    for more, own in enumerate((1, stride, 1)):
        rows = hand.points(2, rows=12, reach=3, seed=seed + more)
        rows[:, 1:] *= own
        keys.append(manager.insert_and_map(rows, own)[0])
    out = CoordinateMapKey(3)
    maps = manager.union_map(keys, out)
    union = sites(manager, out)
    assert union == sorted({c for key in keys for c in sites(manager, key)})
    assert out.get_tensor_stride() == [1, 1] and out.get_key()[1].startswith("merge")
    for key, pairs in zip(keys, maps, strict=True):
        mine = sites(manager, key)
        assert [union[o] for o in pairs[1]] == [mine[i] for i in pairs[0]] == mine
    with pytest.raises(ValueError, match="out_key"):
        manager.union_map(keys, out)


def test_points_of_a_field_lie_in_cells():
    points = torch.tensor([[0, 0.1], [0, 2.3], [0, 1.2], [0, 2.4], [1, -0.5]])
    manager = CoordinateManager(D=1)
    field = manager.insert_field(points, [1])
    assert manager.size(field) == 5
    key, (unique, back) = manager.field_to_sparse_insert_and_map(field, 1)
    assert sites(manager, key) == [(0, 0), (0, 2), (0, 1), (1, -1)]
    assert unique.tolist() == [0, 1, 2, 4] and back.tolist() == [0, 1, 2, 1, 3]
    assert manager.exists_field_to_sparse(field, key)
    assert manager.field_to_sparse_keys(field) == [key]
    assert torch.equal(manager.get_field_to_sparse_map(field, key)[1], back)
    assert torch.equal(manager.get_coordinate_field(field), points)
    other, _ = manager.insert_and_map(torch.tensor([[0, 2], [1, -2]]), 2)
    rows, found = manager.field_to_sparse_map(field, other)
    assert rows.tolist() == [0, 0, 1] and found.tolist() == [1, 3, 4]
    assert not manager.exists_field_to_sparse(field, other)
    with pytest.raises(ValueError, match="field_to_sparse_map"):
        manager.get_field_to_sparse_map(field, other)
    samples, by_sample = manager.origin_field_map(field)
    assert samples.tolist() == [0, 1] and by_sample[1].tolist() == [4]
    assert manager.origin_field() == manager.origin()


def test_weights_of_interpolation_are_listed_by_corner():
    manager = CoordinateManager(D=2)
    key, _ = manager.insert_and_map(torch.tensor([[0, 0, 0], [0, 0, 2], [0, 2, 2]]), 2)
    point = torch.tensor([[0, 0.5, 1.5]])
    rows, points, weights = manager.interpolation_map_weight(key, point)
    assert rows.tolist() == [0, 1, 2] and points.tolist() == [0, 0, 0]
    torch.testing.assert_close(weights, torch.tensor([0.75 * 0.25, 0.75 * 0.75, 0.25 * 0.75]))


def test_a_manager_can_be_copied_and_says_what_it_holds():
    manager = CoordinateManager(D=1, minkowski_algorithm=MinkowskiAlgorithm.MEMORY_EFFICIENT)
    key, _ = manager.insert_and_map(ROWS)
    manager.kernel_map(key, manager.stride(key, 2), 2, 3)
    for twin in (copy.deepcopy(manager), pickle.loads(pickle.dumps(manager))):
        assert sites(twin, key) == sites(manager, key)
        assert twin.stride(key, 2) == manager.stride(key, 2)
        assert repr(twin) == repr(manager)
    assert "[1]: 4 x 2" in repr(manager) and "MEMORY_EFFICIENT" in repr(manager)
    assert manager.to("cpu") is manager


def test_settings_without_effect_are_taken():
    set_gpu_allocator(GPUMemoryAllocatorType.CUDA)
    set_coordinate_map_type(CoordinateMapType.CPU)
    with pytest.warns(UserWarning, match="deprecated"):
        set_memory_manager_backend(GPUMemoryAllocatorType.PYTORCH)
    with pytest.raises(AssertionError, match="GPUMemoryAllocatorType"):
        set_gpu_allocator("cuda")
    with pytest.raises(DeprecationWarning, match="CoordinateManager"):
        CoordsManager(3)
    assert int(RegionType.CUSTOM) == 2 and str(RegionType.CUSTOM) == "RegionType.CUSTOM"


def test_sizes_come_in_many_forms():
    for value in (2, [2, 2], (2, 2), torch.tensor([2, 2]), torch.tensor([2, 2]).numpy()):
        assert convert_to_int_list(value, 2) == [2, 2]
        assert convert_to_int_tensor(value, 2).tolist() == [2, 2]
    with pytest.raises(ValueError, match="one int or 3"):
        convert_to_int_list([1, 2], 3)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda m, k: CoordinateManager(), ValueError, "1 to 4"),
        (lambda m, k: CoordinateManager(5), ValueError, "1 to 4"),
        (lambda m, k: m.insert_and_map(torch.zeros(2, 3).int()), ValueError, r"\[N, 2\]"),
        (lambda m, k: m.insert_and_map(torch.zeros(2, 2)), TypeError, "floor"),
        (lambda m, k: m.insert_and_map(torch.tensor([[-1, 0]])), ValueError, "batch"),
        (lambda m, k: m.insert_and_map(torch.tensor([[0, 1 << 33]])), KeyRangeError, "32"),
        (lambda m, k: m.stride(CoordinateMapKey([3]), 2), ValueError, r"\(\[3\], ''\) is not in"),
        (lambda m, k: m.stride(m.origin(), 2), ValueError, "origin"),
        (lambda m, k: m.get_coordinates(7), ValueError, r"tensor stride \[7\]"),
        (lambda m, k: m.kernel_map(k, k, kernel_size=0), ValueError, "kernel_size"),
        (lambda m, k: m.kernel_map(m.origin(), k), ValueError, "origin"),
        (lambda m, k: m.insert_field(torch.tensor([[0, torch.nan]]), 1), ValueError, "finite"),
        (lambda m, k: m.get_coordinate_field(k), ValueError, "field"),
        (lambda m, k: CoordinateManager(1).origin(), ValueError, "no coordinates yet"),
        (
            lambda m, k: m.interpolation_map_weight(m.origin(), torch.zeros(1, 2)),
            ValueError,
            "origin",
        ),
    ],
)
def test_what_can_not_be_says_why(call, error, words):
    manager = CoordinateManager(D=1)
    key, _ = manager.insert_and_map(ROWS)
    with pytest.raises(error, match=words):
        call(manager, key)


def test_coordinates_at_the_edge_of_32_bits():
    manager = CoordinateManager(D=1)
    edge = 1 << 30
    key, _ = manager.insert_and_map(torch.tensor([[0, -2 * edge], [0, 2 * edge - 2]]))
    assert sites(manager, manager.stride(key, 2)) == [(0, -2 * edge), (0, 2 * edge - 2)]
    with pytest.raises(KeyRangeError, match="32-bit"):
        manager.stride(key, 3)  # -2**31 rounded down is past the edge
