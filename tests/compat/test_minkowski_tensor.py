"""SparseTensor of the MinkowskiEngine facade: what it is made of, arithmetic, grids."""

import copy
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from gossamer.compat.coordmaps.key import CoordinateMapKey
from gossamer.compat.layers.passing import mapped
from gossamer.compat.minkowski import MinkowskiTensor as settings
from gossamer.compat.minkowski.MinkowskiConvolution import MinkowskiConvolution
from gossamer.compat.minkowski.MinkowskiCoordinateManager import CoordinateManager
from gossamer.compat.minkowski.MinkowskiPruning import MinkowskiPruning
from gossamer.compat.minkowski.MinkowskiSparseTensor import SparseTensor
from gossamer.compat.minkowski.MinkowskiTensor import (
    SparseTensorOperationMode,
    SparseTensorQuantizationMode,
)
from gossamer.compat.minkowski.MinkowskiTensorField import TensorField
from tests.compat import minkowski_by_hand as hand

MODE = SparseTensorQuantizationMode
ROWS = torch.tensor([[0, 1], [0, 1], [0, 2], [0, 2], [1, 0], [1, 0], [1, 1]]).int()


@pytest.fixture
def shared():
    settings.set_sparse_tensor_operation_mode(SparseTensorOperationMode.SHARE_COORDINATE_MANAGER)
    yield
    settings.set_sparse_tensor_operation_mode(SparseTensorOperationMode.SEPARATE_COORDINATE_MANAGER)
    settings.clear_global_coordinate_manager()


@pytest.mark.parametrize(
    ("mode", "reduce"),
    [
        (MODE.RANDOM_SUBSAMPLE, lambda rows: rows[0]),
        (MODE.UNWEIGHTED_AVERAGE, lambda rows: rows.mean(0)),
        (MODE.UNWEIGHTED_SUM, lambda rows: rows.sum(0)),
        (MODE.MAX_POOL, lambda rows: rows.amax(0)),
    ],
)
def test_several_rows_of_a_coordinate_become_one(backend, mode, reduce):
    spots = hand.points(2, rows=60, reach=2)
    features = torch.rand(60, 3, dtype=torch.float64).sub(2).requires_grad_()
    x = SparseTensor(features, spots, quantization_mode=mode)
    wanted = torch.stack([reduce(features[(spots == c).all(1)]) for c in x.C])
    torch.testing.assert_close(x.F, wanted)
    assert len(x) == len(spots.unique(dim=0)) == len(hand.as_dict(x))
    assert torch.equal(x.C, spots[x.unique_index])
    assert torch.equal(x.C[x.inverse_mapping], spots)
    weight = torch.rand_like(wanted)
    (came,) = torch.autograd.grad((x.F * weight).sum(), features)
    torch.testing.assert_close(came, *torch.autograd.grad((wanted * weight).sum(), features))


def test_without_quantization_features_stay_and_a_layer_says_why_that_is_wrong():
    x = SparseTensor(torch.rand(7, 1), ROWS, quantization_mode=MODE.NO_QUANTIZATION)
    assert len(x.F) == 7 and len(x.C) == 4
    with pytest.raises(ValueError, match="7 rows"):
        MinkowskiConvolution(1, 1, 3, dimension=1)(x)


def test_splatted_features_go_to_the_places_around_them():
    points = torch.tensor([[0, 0.25], [0, 2.0]])
    mode = MODE.SPLAT_LINEAR_INTERPOLATION
    x = SparseTensor(torch.tensor([[4.0], [8]]), points, quantization_mode=mode)
    assert {c: f.item() for c, f in hand.as_dict(x).items()} == {
        (0, 0): 3,
        (0, 1): 1,
        (0, 2): 8,
        (0, 3): 0,
    }


def test_coordinates_between_whole_numbers_are_rounded_down_with_a_warning():
    with pytest.warns(UserWarning, match="rounded down"):
        x = SparseTensor(torch.rand(2, 1), torch.tensor([[0, -0.5], [1, 2.9]]))
    assert x.C.tolist() == [[0, -1], [1, 2]]
    x = SparseTensor(torch.rand(1, 1), torch.tensor([[0, 3.0]]))
    assert x.C.tolist() == [[0, 3]]


def test_it_knows_its_coordinates_key_stride_and_shape():
    x = hand.tensor(3, stride=2)
    assert x.tensor_stride == [2, 2, 2] and x.D == x.dimension == 3
    assert x.coordinate_map_key == x.coordinate_key == CoordinateMapKey([2, 2, 2])
    assert x.F is x.features and torch.equal(x.C, x.coordinates)
    assert x.shape == x.size() == (len(x), 3) and x.size(1) == 3
    assert x.dtype == torch.float64 and x.device == torch.device("cpu") and x.get_device() == -1
    assert x.coordinate_manager is x._manager
    twin = SparseTensor(
        x.F, coordinate_map_key=x.coordinate_map_key, coordinate_manager=x.coordinate_manager
    )
    assert torch.equal(twin.C, x.C)
    said = repr(x)
    assert "coordinate_map_key=coordinate map key:[2, 2, 2]" in said and "dimension=3" in said


def test_samples_are_taken_apart():
    rows = torch.tensor([[2, 0], [0, 1], [0, 2], [2, 2], [0, 0]]).int()
    x = SparseTensor(torch.arange(5.0).unsqueeze(1), rows)
    spots, features = x.decomposed_coordinates_and_features
    assert [c.flatten().tolist() for c in spots] == [[1, 2, 0], [], [0, 2]]
    assert [f.flatten().tolist() for f in features] == [[1, 2, 4], [], [0, 3]]
    assert [f.tolist() for f in x.decomposed_features] == [f.tolist() for f in features]
    assert [c.tolist() for c in x.decomposed_coordinates] == [c.tolist() for c in spots]
    assert [r.tolist() for r in x.decomposition_permutations] == [[1, 2, 4], [], [0, 3]]
    spot, feature = x.coordinates_and_features_at(2)
    assert torch.equal(spot, x.coordinates_at(2)) and torch.equal(feature, x.features_at(2))
    assert spot.tolist() == [[0], [2]]
    with pytest.raises(IndexError, match="0 to 2"):
        x.features_at(3)


def test_dtypes_and_gradients_change_in_place():
    x = SparseTensor(torch.rand(2, 1), torch.tensor([[0, 1], [0, 2]]))
    assert x.double() is x and x.dtype == torch.float64
    assert x.float().dtype == torch.float32 and x.half().dtype == torch.float16
    assert x.bfloat16().dtype == torch.bfloat16
    x.float().requires_grad_()
    (x.F * 3).sum().backward()
    assert x.requires_grad and torch.equal(x.F.grad, torch.full((2, 1), 3.0))
    assert x.detach() is x and not x.requires_grad
    y = x.to(torch.float64)
    assert y is not x and y.dtype == torch.float64 and y.coordinate_manager is x.coordinate_manager
    assert x.cpu() is x
    made = SparseTensor(torch.rand(2, 1), x.C, requires_grad=True, device="cpu")
    assert made.F.requires_grad


def test_it_moves_to_another_device_with_its_coordinates():
    x = hand.tensor(2)
    y = MinkowskiConvolution(3, 2, 2, 2, dimension=2).double()(x)
    one, other = x.to("meta"), y.to("meta")
    assert one.C.device.type == one.F.device.type == "meta"
    assert one.coordinate_manager is other.coordinate_manager is not x.coordinate_manager
    assert one.coordinate_map_key == x.coordinate_map_key
    assert one.inverse_mapping.device.type == "meta" and len(one) == len(x)


def test_it_can_be_copied_and_pickled_in_the_middle_of_a_network():
    x = hand.tensor(3)
    conv = MinkowskiConvolution(3, 3, 3, dimension=3).double()
    middle = conv(x).detach()
    for twin in (copy.deepcopy(middle), pickle.loads(pickle.dumps(middle)), copy.copy(middle)):
        torch.testing.assert_close(conv(twin).F, conv(middle).F)
        assert torch.equal(twin.C, middle.C)


def test_a_row_wise_layer_sees_rows_in_whatever_order_and_keeps_the_callers():
    x = hand.tensor(3)
    y = MinkowskiConvolution(3, 4, 3, dimension=3).double()(x)
    kept = y._with(mapped(y._values, nn.ReLU()))
    assert y._values.rows is not None and kept._values.rows is y._values.rows
    torch.testing.assert_close(kept.F, y.F.relu())
    assert type(kept) is SparseTensor and kept.coordinate_map_key == y.coordinate_map_key


OPERATORS = ["add", "sub", "mul", "truediv"]


@pytest.mark.parametrize("name", OPERATORS)
def test_arithmetic_with_the_same_sites_is_by_row(name):
    x = hand.tensor(3)
    conv = MinkowskiConvolution(3, 3, 3, dimension=3).double()
    y = conv(x)
    apply, number = getattr(torch, name.removeprefix("true")), 2.5
    call = f"__{name}__"
    torch.testing.assert_close(getattr(x, call)(y).F, apply(x.F, y.F))
    torch.testing.assert_close(getattr(conv(x), call)(conv(x)).F, apply(y.F, y.F))
    torch.testing.assert_close(getattr(y, call)(number).F, apply(y.F, number))
    torch.testing.assert_close(getattr(conv(x), call)(x.F + 9).F, apply(y.F, x.F + 9))
    row = torch.rand(3).double()
    torch.testing.assert_close(getattr(conv(x), call)(row).F, apply(y.F, row))
    right = getattr(conv(x), f"__r{name}__")(number)
    torch.testing.assert_close(right.F, apply(torch.full_like(y.F, number), y.F))
    before, feature = conv(x), x.F
    after = getattr(before, f"__i{name}__")(x)
    assert after is before and x.F is feature
    torch.testing.assert_close(after.F, apply(y.F, x.F))


def test_what_is_done_in_place_leaves_the_callers_tensor_alone():
    features = torch.ones(2, 1)
    x = SparseTensor(features, torch.tensor([[0, 1], [0, 2]]))
    x += x
    x *= 3
    assert x.F.tolist() == [[6], [6]] and features.tolist() == [[1], [1]]
    assert (-x).F.tolist() == [[-6], [-6]] and (x**2).F.tolist() == [[36], [36]]


def test_the_same_sites_under_another_key_or_manager_or_in_another_order_are_the_same():
    x = hand.tensor(2)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(2))
    for manager in (x.coordinate_manager, None):
        other = SparseTensor(x.F[order] * 10, x.C[order], coordinate_manager=manager)
        assert (other.coordinate_map_key == x.coordinate_map_key) == (manager is None)
        total = x + other
        assert total.coordinate_map_key == x.coordinate_map_key
        torch.testing.assert_close(total.F, x.F * 11)
        other += x
        torch.testing.assert_close(other.F, x.F[order] * 11)


@pytest.mark.parametrize("name", OPERATORS)
@given(seed=st.integers(0, 999))
def test_arithmetic_on_other_sites_is_on_the_union(name, seed):
    x = hand.tensor(2, reach=3, rows=20, seed=seed)
    spots = hand.points(2, reach=3, rows=20, seed=seed + 1)
    values = torch.rand(20, 3, dtype=torch.float64) + 1
    y = SparseTensor(values, spots, coordinate_manager=x.coordinate_manager)
    total = getattr(x, f"__{name}__")(y)
    apply = getattr(torch, name.removeprefix("true"))
    mine, its, zero = hand.as_dict(x), hand.as_dict(y), torch.zeros(3, dtype=torch.float64)
    wanted = {c: apply(mine.get(c, zero), its[c]) if c in its else mine[c] for c in mine | its}
    hand.check(total, wanted)
    if len(wanted) != len(mine):
        with pytest.raises(AssertionError, match=r"\[1, 1\] and .*MinkowskiUnion"):
            x += y


@pytest.mark.parametrize(
    "operand",
    [
        lambda x: torch.zeros(len(x) + 1, 3),
        lambda x: torch.zeros(len(x), 2),
        lambda x: torch.zeros(1, len(x), 3),
        lambda x: hand.tensor(2, channels=2),
        lambda x: SparseTensor(x.F[:, :2], x.C + 1, coordinate_manager=x.coordinate_manager),
    ],
)
def test_an_operand_of_another_shape_says_so(operand):
    x = hand.tensor(2)
    with pytest.raises(ValueError, match=r"operands have shapes \(.*3,?\) and \(.*; wanted"):
        x + operand(x)


def test_one_site_plus_several_rows_is_an_error_too():
    x = SparseTensor(torch.ones(1, 3), torch.tensor([[0, 1]]))
    with pytest.raises(ValueError, match="operands have shapes"):
        x + torch.ones(5, 3)


def test_more_channels_on_other_sites_are_an_error():
    x = hand.tensor(2, channels=1)
    y = SparseTensor(torch.ones(len(x), 3), x.C + 1, coordinate_manager=x.coordinate_manager)
    with pytest.raises(ValueError, match="1 and 3 channels on different sites"):
        x + y
    assert (y * x).shape[1] == 3


def test_the_same_coordinates_at_another_tensor_stride_are_other_sites():
    rows = torch.tensor([[0, 1], [0, 3]])  # no multiples of 2
    x = SparseTensor(torch.ones(2, 1), rows, tensor_stride=2)
    y = SparseTensor(torch.ones(2, 1), rows, coordinate_manager=x.coordinate_manager)
    assert (x + y).tensor_stride == [1] == (y + x).tensor_stride
    assert (x + y).F.tolist() == [[2], [2]]


def test_a_union_of_two_dtypes_has_the_wider_one():
    x = hand.tensor(2, dtype=torch.float32)
    y = SparseTensor(x.F.double() / 3, x.C + 1, coordinate_manager=x.coordinate_manager)
    wide = SparseTensor(
        x.F.double(),
        coordinate_map_key=x.coordinate_map_key,
        coordinate_manager=x.coordinate_manager,
    )
    for total in (x + y, y + x):
        assert total.dtype == torch.float64
        hand.check(total, hand.as_dict(wide + y))


def test_arithmetic_on_a_union_has_gradients():
    x = hand.tensor(2, rows=8, channels=2)
    other = hand.points(2, rows=8, seed=5)
    y = SparseTensor(torch.rand(8, 2).double(), other, coordinate_manager=x.coordinate_manager)

    def total(mine, its):
        return (x._with(type(x._values)(mine)) * y._with(type(y._values)(its))).F

    mine, its = (t.F.clone().requires_grad_() for t in (x, y))
    assert torch.autograd.gradcheck(total, (mine, its))


def test_tensors_of_different_managers_on_different_sites_say_the_way_out():
    x, y = hand.tensor(2), hand.tensor(2, seed=8)
    with pytest.raises(AssertionError, match=r"=first\.coordinate_manager"):
        x + y
    field = TensorField(x.F, x.C)
    with pytest.raises(AssertionError, match="two of a kind"):
        x + field
    with pytest.raises(TypeError, match="str"):
        x + "1"


def test_a_shared_manager_is_everybodys_until_it_is_cleared(shared):
    assert (
        settings.sparse_tensor_operation_mode()
        is SparseTensorOperationMode.SHARE_COORDINATE_MANAGER
    )
    x, y = hand.tensor(2), hand.tensor(2, seed=8)
    assert x.coordinate_manager is y.coordinate_manager is settings.global_coordinate_manager()
    x.requires_grad_()
    (x + y).F.sum().backward()
    assert torch.equal(x.F.grad, torch.ones_like(x.F))
    with pytest.raises(ValueError, match="clear_global_coordinate_manager"):
        hand.tensor(3)
    settings.clear_global_coordinate_manager()
    assert hand.tensor(3).coordinate_manager is settings.global_coordinate_manager()
    with pytest.raises(AssertionError, match="SparseTensorOperationMode"):
        settings.set_sparse_tensor_operation_mode(1)


def test_alone_each_tensor_has_its_own_manager():
    assert hand.tensor(2).coordinate_manager is not hand.tensor(2).coordinate_manager


def test_slicing_gives_each_given_row_the_features_of_its_coordinate():
    features = torch.arange(7.0).unsqueeze(1)
    x = SparseTensor(features, ROWS, quantization_mode=MODE.UNWEIGHTED_AVERAGE)
    field = x.slice(x)
    assert isinstance(field, TensorField)
    assert field.F.flatten().tolist() == [0.5, 0.5, 2.5, 2.5, 4.5, 4.5, 6]
    assert torch.equal(field.C.int(), ROWS)
    both = (x * 2).cat_slice(x)
    torch.testing.assert_close(both.F, field.F * torch.tensor([2.0, 1.0]))
    twin = SparseTensor(x.F * 3, x.C)
    torch.testing.assert_close(twin.slice(x).F, field.F * 3)
    down = MinkowskiConvolution(1, 1, 2, 2, dimension=1)(x)
    with pytest.raises(ValueError, match="resolution"):
        down.slice(x)
    with pytest.raises(ValueError, match="resolution"):
        MinkowskiPruning()(x, torch.tensor([True, False, True, True])).slice(x)
    with pytest.raises(ValueError, match="not made from coordinates"):
        x.slice(down)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"features": [[1.0]]}, TypeError, "features"),
        ({"features": torch.zeros(7)}, ValueError, r"\[N, C\]"),
        ({"coordinates": ROWS.tolist()}, TypeError, "batched_coordinates"),
        ({"coordinates": None}, ValueError, "together with its"),
        ({"coordinate_map_key": CoordinateMapKey([1])}, AssertionError, "one of them"),
        ({"coordinates": ROWS[:5]}, ValueError, "7 rows and coordinates 5"),
        ({"coordinates": ROWS.to("meta")}, ValueError, "meta"),
        ({"coordinates": torch.zeros(7).int()}, ValueError, r"\[N, 1 \+ D\]"),
        ({"coordinates": torch.zeros(7, 6).int()}, ValueError, "1 to 4"),
        ({"coordinates": torch.full((7, 2), torch.nan)}, ValueError, "finite"),
        ({"coordinates": -ROWS}, ValueError, "coordinates has the batch index -1 in column 0"),
        ({"coordinate_manager": CoordinateManager(2)}, ValueError, "2 axes"),
        ({"coordinate_manager": 3}, TypeError, "CoordinateManager"),
        ({"tensor_stride": (1, 2)}, ValueError, "tensor_stride"),
        ({"quantization_mode": 1}, AssertionError, "quantization_mode"),
        (
            {
                "coordinates": None,
                "coordinate_map_key": "[1]",
                "coordinate_manager": CoordinateManager(1),
            },
            TypeError,
            "CoordinateMapKey",
        ),
        (
            {
                "coordinates": None,
                "coordinate_map_key": CoordinateMapKey([1]),
                "coordinate_manager": CoordinateManager(1),
            },
            ValueError,
            "not in this coordinate manager",
        ),
    ],
)
def test_what_it_can_not_be_made_of_it_says(arguments, error, words):
    with pytest.raises(error, match=words):
        SparseTensor(**{"features": torch.zeros(7, 1), "coordinates": ROWS, **arguments})


def test_features_of_another_length_than_a_key_say_so():
    x = hand.tensor(2)
    with pytest.raises(ValueError, match=f"1 rows; .* has {len(x)}"):
        SparseTensor(
            x.F[:1],
            coordinate_map_key=x.coordinate_map_key,
            coordinate_manager=x.coordinate_manager,
        )
