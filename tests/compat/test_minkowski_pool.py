"""Poolings of the MinkowskiEngine facade against dicts of coordinates."""

import pytest
import torch

from gossamer.compat.coordmaps.key import CoordinateMapKey
from gossamer.compat.coordmaps.kinds import PoolingMode, RegionType
from gossamer.compat.minkowski.MinkowskiKernelGenerator import KernelGenerator
from gossamer.compat.minkowski.MinkowskiPooling import (
    MinkowskiAvgPooling,
    MinkowskiDirectMaxPoolingFunction,
    MinkowskiGlobalAvgPooling,
    MinkowskiGlobalMaxPooling,
    MinkowskiGlobalPooling,
    MinkowskiGlobalPoolingFunction,
    MinkowskiGlobalSumPooling,
    MinkowskiLocalPoolingFunction,
    MinkowskiLocalPoolingTransposeFunction,
    MinkowskiMaxPooling,
    MinkowskiPoolingTranspose,
    MinkowskiSumPooling,
)
from gossamer.compat.minkowski.MinkowskiPruning import MinkowskiPruning
from gossamer.compat.minkowski.MinkowskiSparseTensor import SparseTensor
from gossamer.compat.minkowski.MinkowskiTensorField import TensorField
from tests.compat import minkowski_by_hand as hand

LOCAL = {"sum": MinkowskiSumPooling, "mean": MinkowskiAvgPooling, "max": MinkowskiMaxPooling}
GLOBAL = {
    "sum": MinkowskiGlobalSumPooling,
    "mean": MinkowskiGlobalAvgPooling,
    "max": MinkowskiGlobalMaxPooling,
}


def negative(x):
    """All features below zero, so that a maximum that begins at 0 would be found out."""
    return SparseTensor(-x.F.abs() - 1, x.C, x.tensor_stride)


@pytest.mark.parametrize("how", LOCAL)
@pytest.mark.parametrize(
    ("ndim", "size", "stride", "dilation", "tensor_stride"),
    [(1, 3, 2, 1, 1), (2, 3, 1, 2, 1), (2, 4, 2, 1, 3), (3, 3, 2, 1, 1), (4, 2, 1, 1, 1)],
)
def test_a_window_reduces_the_sites_it_sees(
    backend, how, ndim, size, stride, dilation, tensor_stride
):
    x = negative(hand.tensor(ndim, stride=tensor_stride))
    y = LOCAL[how](size, stride, dilation, dimension=ndim)(x)
    inputs = hand.as_dict(x)
    outputs = {hand.floored(c, [tensor_stride * stride] * ndim) for c in inputs}
    offsets = hand.cube((size,) * ndim, (dilation,) * ndim, (tensor_stride,) * ndim)
    wanted = hand.reduced(inputs, outputs, hand.pairs(inputs, outputs, offsets), how)
    hand.check(y, wanted)


@pytest.mark.parametrize("how", LOCAL)
@pytest.mark.parametrize("size", [2, 3, (2, 1)])
@pytest.mark.parametrize("tensor_stride", [1, 2])
def test_a_window_as_large_as_the_stride_is_the_cell(backend, how, size, tensor_stride):
    x = negative(hand.tensor(2, stride=tensor_stride))
    y = LOCAL[how](size, size, dimension=2)(x)
    edges = (size, size) if isinstance(size, int) else size
    inputs = hand.as_dict(x)
    cells = {(0, c, hand.floored(c, [tensor_stride * e for e in edges])) for c in inputs}
    hand.check(y, hand.reduced(inputs, {o for *_, o in cells}, cells, how))


def test_a_dilated_window_or_a_cross_as_large_as_the_stride_is_not_the_cell():
    x = hand.tensor(2)
    inputs = hand.as_dict(x)
    outputs = {hand.floored(c, (3, 3)) for c in inputs}
    taps = hand.pairs(inputs, outputs, hand.cube((3, 3), (2, 2), (1, 1)))
    wanted = hand.reduced(inputs, outputs, taps, "sum")
    hand.check(MinkowskiSumPooling(3, 3, 2, dimension=2)(x), wanted)
    kernel = KernelGenerator(3, 3, region_type=RegionType.HYPER_CROSS, dimension=2)
    taps = hand.pairs(inputs, outputs, hand.cross((3, 3), (1, 1), (1, 1)))
    wanted = hand.reduced(inputs, outputs, taps, "sum")
    hand.check(MinkowskiSumPooling(3, kernel_generator=kernel, dimension=2)(x), wanted)


def test_outputs_go_where_the_caller_says_and_are_zero_where_they_see_nothing():
    x = negative(hand.tensor(2))
    far = torch.tensor([[0, 90, 90], [1, 0, 0], [0, 0, 0]])
    y = MinkowskiMaxPooling(3, 1, dimension=2)(x, far)
    inputs, outputs = hand.as_dict(x), {tuple(c) for c in far.tolist()}
    taps = hand.pairs(inputs, outputs, hand.cube((3, 3), (1, 1), (1, 1)))
    hand.check(y, hand.reduced(inputs, outputs, taps, "max"))
    assert torch.equal(y.C, far.int()) and not y.F[0].any()


@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 2), (3, 3)])
@pytest.mark.parametrize("unaligned", [False, True])
def test_pooling_backwards_sums_what_reaches_a_site(size, stride, unaligned):
    x = hand.tensor(2)
    if unaligned:
        x = SparseTensor(x.F, x.C, tensor_stride=2)
    pooled = MinkowskiSumPooling(size, stride, dimension=2)(x)
    y = MinkowskiPoolingTranspose(size, stride, dimension=2)(pooled)
    assert y.coordinate_map_key == x.coordinate_map_key
    finest = x.tensor_stride[0]
    inputs, outputs = hand.as_dict(pooled), {tuple(c) for c in x.C.tolist()}
    if size == stride:
        taps = {(0, hand.floored(o, [finest * stride] * 2), o) for o in outputs}
    else:
        offsets = hand.cube((size,) * 2, (1, 1), (finest,) * 2)
        taps = {
            (k, i, hand.moved(i, off))
            for k, off in enumerate(offsets)
            for i in inputs
            if hand.moved(i, off) in outputs
        }
    hand.check(y, hand.reduced(inputs, outputs, taps, "sum"))


def test_pooling_backwards_can_make_new_sites():
    x = hand.tensor(2, stride=2)
    y = MinkowskiPoolingTranspose(2, 2, expand_coordinates=True, dimension=2)(x)
    assert len(y) == 4 * len(x) and y.tensor_stride == [1, 1]
    for c, f in hand.as_dict(y).items():
        torch.testing.assert_close(f, hand.as_dict(x)[hand.floored(c, (2, 2))])


@pytest.mark.parametrize("how", GLOBAL)
def test_a_sample_becomes_a_row_at_the_origin(backend, how):
    x = negative(hand.tensor(3, batch=4))
    spots, features = x.C, x.F
    here = spots[:, 0] != 2
    x = SparseTensor(features[here], spots[here])
    y = GLOBAL[how]()(x)
    inputs = hand.as_dict(x)
    cells = {(0, c, (c[0], 0, 0, 0)) for c in inputs}
    hand.check(y, hand.reduced(inputs, {o for *_, o in cells}, cells, how))
    assert y.C.tolist() == [[0, 0, 0, 0], [1, 0, 0, 0], [3, 0, 0, 0]]
    assert y.tensor_stride == [0, 0, 0] and y.coordinate_map_key == x.coordinate_manager.origin()


@pytest.mark.parametrize("how", GLOBAL)
def test_a_sample_that_was_pruned_away_is_zero(how):
    x = hand.tensor(2, batch=2)
    left = MinkowskiPruning()(x, x.C[:, 0] == 1)
    y = GLOBAL[how]()(left)
    assert len(y) == 2 and not y.F[0].any()
    torch.testing.assert_close(y.F[1], GLOBAL[how]()(x).F[1])


@pytest.mark.parametrize("how", GLOBAL)
def test_the_points_of_a_field_are_pooled_by_sample(how):
    points = torch.rand(30, 3) * 9 - 4
    points[:, 0] = torch.arange(30) % 3
    features = -torch.rand(30, 2, dtype=torch.float64) - 1
    y = GLOBAL[how]()(TensorField(features, points))
    reduce = {"sum": torch.sum, "mean": torch.mean, "max": torch.amax}[how]
    for sample in range(3):
        torch.testing.assert_close(y.F[sample], reduce(features[sample::3], 0))


@pytest.mark.parametrize("mode", list(PoolingMode)[3:])
def test_every_global_mode_gives_what_its_name_says(mode):
    x = hand.tensor(2)
    how = {"SUM": "sum", "AVG": "mean", "MAX": "max"}[mode.name.split("_")[1]]
    torch.testing.assert_close(MinkowskiGlobalPooling(mode)(x).F, GLOBAL[how]()(x).F)
    assert repr(MinkowskiGlobalPooling(mode)) == f"MinkowskiGlobalPooling(mode={mode})"


@pytest.mark.parametrize("mode", list(PoolingMode)[:3])
@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 1)])
def test_functions_by_keys_have_true_gradients(cpu_backend, mode, size, stride):
    x = hand.tensor(2, rows=12, channels=2)
    kernel, key = KernelGenerator(size, stride, dimension=2), CoordinateMapKey(3)
    rest = (mode, kernel, x.coordinate_map_key, key, x.coordinate_manager)
    run, features = MinkowskiLocalPoolingFunction().apply, x.F.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda f: run(f, *rest), features)
    back = (mode, kernel, key, x.coordinate_map_key, x.coordinate_manager)
    coarse = run(features, *rest).detach().requires_grad_()
    run = MinkowskiLocalPoolingTransposeFunction().apply
    assert torch.autograd.gradcheck(lambda f: run(f, *back), coarse)


@pytest.mark.parametrize("mode", list(PoolingMode)[9:])
def test_global_functions_have_true_gradients(cpu_backend, mode):
    x = hand.tensor(2, rows=12, channels=2)
    key = CoordinateMapKey(3)
    rest = (mode, x.coordinate_map_key, key, x.coordinate_manager)
    run, features = MinkowskiGlobalPoolingFunction().apply, x.F.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda f: run(f, *rest), features)
    assert key == x.coordinate_manager.origin()


def test_the_maximum_over_listed_rows(cpu_backend):
    run = MinkowskiDirectMaxPoolingFunction().apply
    features = torch.tensor([[-1.0, 4], [-2, 3], [-3, 9]], dtype=torch.float64).requires_grad_()
    rows, to = torch.tensor([2, 0, 1, 0]), torch.tensor([3, 1, 1, 3]).int()
    y = run(rows, to, features, 4)
    assert y.tolist() == [[0, 0], [-1, 4], [0, 0], [-1, 9]]
    assert torch.autograd.gradcheck(lambda f: run(rows, to, f, 4), features)
    with pytest.raises(ValueError, match="out_map names rows outside 0 to 2"):
        run(rows, to, features, 3)
    with pytest.raises(ValueError, match="one number a pair"):
        run(rows, to[1:], features, 4)


def test_pooling_nothing_gives_nothing():
    empty = SparseTensor(torch.zeros(0, 3), torch.zeros(0, 4, dtype=torch.int32))
    for how in LOCAL:
        assert LOCAL[how](2, 2, dimension=3)(empty).shape == (0, 3)
        assert LOCAL[how](3, 1, dimension=3)(empty).shape == (0, 3)
        assert GLOBAL[how]()(empty).shape == (0, 3)


def test_an_input_that_does_not_fit_says_why():
    with pytest.raises(TypeError, match="SparseTensor"):
        MinkowskiSumPooling(2, 2, dimension=2)(torch.zeros(2, 2))
    with pytest.raises(TypeError, match="TensorField"):
        MinkowskiGlobalSumPooling()(torch.zeros(2, 2))
    with pytest.raises(AssertionError, match="PoolingMode"):
        MinkowskiGlobalPooling("sum")
    with pytest.raises(AssertionError, match="dimension"):
        MinkowskiSumPooling(2)
    origin = MinkowskiGlobalSumPooling()(hand.tensor(2))
    with pytest.raises(ValueError, match="origin"):
        MinkowskiSumPooling(3, 1, dimension=2)(origin)
    with pytest.raises(ValueError, match="origin"):
        MinkowskiSumPooling(2, 2, dimension=2)(origin)


def test_a_map_and_a_field_of_one_name_are_told_apart_by_their_rows():
    points = torch.tensor([[0, 0.2], [0, 0.7], [1, 3.5]]).double()
    field = TensorField(torch.tensor([[1.0], [2], [4]]).double(), points)
    x = field.sparse()
    assert x.coordinate_map_key == field.coordinate_key
    run = MinkowskiGlobalPoolingFunction.apply
    where = PoolingMode.GLOBAL_SUM_POOLING_DEFAULT, x.coordinate_map_key, None, field._manager
    assert run(field.F, *where).tolist() == [[3], [4]]
    assert run(x.F, *where).tolist() == [[1.5], [4]]
