"""Convolutions of the MinkowskiEngine facade against dicts of coordinates and dense ones."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from gossamer.compat.coordmaps.key import CoordinateMapKey
from gossamer.compat.coordmaps.kinds import ConvolutionMode, RegionType
from gossamer.compat.minkowski.MinkowskiChannelwiseConvolution import (
    MinkowskiChannelwiseConvolution,
)
from gossamer.compat.minkowski.MinkowskiConvolution import (
    MinkowskiConvolution,
    MinkowskiConvolutionFunction,
    MinkowskiConvolutionTranspose,
)
from gossamer.compat.minkowski.MinkowskiKernelGenerator import (
    KernelGenerator,
    KernelRegion,
    convert_region_type,
    get_kernel_volume,
)
from gossamer.compat.minkowski.MinkowskiPooling import MinkowskiSumPooling
from gossamer.compat.minkowski.MinkowskiPruning import MinkowskiPruning
from gossamer.compat.minkowski.MinkowskiSparseTensor import SparseTensor
from tests.compat import minkowski_by_hand as hand

KERNELS = [(1, 3, 1, 1), (1, 2, 2, 1), (2, 3, 2, 1), (2, (2, 3), (1, 2), 1), (2, 4, 2, 1)]
KERNELS += [(3, 3, 1, 2), (3, (3, 1, 2), (2, 1, 3), (1, 2, 1)), (3, 2, 1, 1), (4, 2, 2, 1)]
KERNELS += [(4, 3, (1, 2, 1, 2), 1)]
CUBE = {"kernel_generator": KernelGenerator(3, dimension=3), "dimension": 2}


def axes(value, ndim):
    return (value,) * ndim if isinstance(value, int) else tuple(value)


@pytest.mark.parametrize("tensor_stride", [1, 2])
@pytest.mark.parametrize(("ndim", "size", "stride", "dilation"), KERNELS)
def test_it_is_the_sum_over_taps_in_absolute_coordinates(
    backend, ndim, size, stride, dilation, tensor_stride
):
    x = hand.tensor(ndim, stride=tensor_stride)
    shape = {"kernel_size": size, "stride": stride, "dilation": dilation}
    conv = MinkowskiConvolution(3, 2, **shape, bias=True, dimension=ndim).double()
    y = conv(x)
    size, stride, dilation = (axes(v, ndim) for v in (size, stride, dilation))
    after = [tensor_stride * s for s in stride]
    inputs = hand.as_dict(x)
    outputs = {hand.floored(c, after) for c in inputs}
    offsets = hand.cube(size, dilation, [tensor_stride] * ndim)
    triples = hand.pairs(inputs, outputs, offsets)
    wanted = hand.summed(inputs, outputs, triples, conv.kernel.detach())
    hand.check(y, {c: f + conv.bias[0].detach() for c, f in wanted.items()})
    assert y.tensor_stride == after
    if set(stride) == {1}:
        assert y.coordinate_map_key == x.coordinate_map_key and torch.equal(y.C, x.C)


@pytest.mark.parametrize("size", [3, (5, 1, 3)])
def test_a_cross_has_its_centre_first_and_then_the_axes(size):
    x = hand.tensor(3, rows=80, reach=4)
    shape = {"region_type": RegionType.HYPER_CROSS, "dilation": (1, 2, 1), "dimension": 3}
    generator = KernelGenerator(size, **shape)
    conv = MinkowskiConvolution(3, 2, kernel_generator=generator, dimension=3).double()
    inputs, offsets = hand.as_dict(x), hand.cross(axes(size, 3), (1, 2, 1), (1, 1, 1))
    assert conv.kernel.shape[0] == generator.kernel_volume == len(offsets)
    triples = hand.pairs(inputs, inputs, offsets)
    hand.check(conv(x), hand.summed(inputs, inputs, triples, conv.kernel.detach()))


@pytest.mark.parametrize("stride", [1, 2])
def test_a_custom_kernel_has_the_callers_offsets_in_his_order(stride):
    offsets = torch.tensor([[0, 3], [-1, 0], [2, -2], [0, 0]], dtype=torch.int32)
    shape = {"region_type": RegionType.CUSTOM, "region_offsets": offsets, "dilation": 2}
    generator = KernelGenerator(stride=stride, **shape, dimension=2)
    x = hand.tensor(2, stride=3, reach=6, rows=60)
    conv = MinkowskiConvolution(3, 2, kernel_generator=generator, dimension=2).double()
    inputs = hand.as_dict(x)
    outputs = {hand.floored(c, [3 * stride] * 2) for c in inputs}
    taps = [tuple(v * 2 * 3 for v in o) for o in offsets.tolist()]
    triples = hand.pairs(inputs, outputs, taps)
    assert triples
    hand.check(conv(x), hand.summed(inputs, outputs, triples, conv.kernel.detach()))


def test_a_hybrid_kernel_is_a_box_over_some_axes_and_a_line_along_the_others():
    kinds = [RegionType.HYPER_CUBE, RegionType.HYPER_CUBE, RegionType.HYPER_CROSS]
    hybrid = KernelGenerator(3, region_type=RegionType.HYBRID, axis_types=kinds, dimension=3)
    taps = set(hybrid._kernel.taps)
    box = {(a, b, 0) for a in (-1, 0, 1) for b in (-1, 0, 1)}
    assert taps == box | {(0, 0, -1), (0, 0, 1)} and hybrid.kernel_volume == 11
    region, offsets, volume = hybrid.get_kernel([1, 1, 1], False)
    assert region is RegionType.CUSTOM and volume == 11
    assert {tuple(o) for o in offsets.tolist()} == taps


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_expanded_outputs_are_all_aligned_places_that_the_kernel_reaches(size, stride):
    x = hand.tensor(2, rows=15)
    conv = MinkowskiConvolution(
        3, 2, kernel_size=size, stride=stride, expand_coordinates=True, dimension=2
    ).double()
    y = conv(x)
    inputs, offsets = hand.as_dict(x), hand.cube((size,) * 2, (1, 1), (1, 1))
    reached = {hand.moved(c, off) for c in inputs for off in offsets}
    outputs = {c for c in reached if all(v % stride == 0 for v in c[1:])}
    triples = hand.pairs(inputs, outputs, offsets)
    hand.check(y, hand.summed(inputs, outputs, triples, conv.kernel.detach()))
    assert y.tensor_stride == [stride] * 2
    assert y.coordinate_map_key != x.coordinate_map_key


@pytest.mark.parametrize("how", ["tensor", "key", "sparse", "elsewhere"])
@pytest.mark.parametrize(("fine", "coarse"), [(1, 1), (1, 2), (2, 1), (2, 3), (6, 4)])
def test_outputs_go_where_the_caller_says(how, fine, coarse):
    x = hand.tensor(2, stride=fine)
    spots = hand.points(2, rows=30, seed=7)
    spots[:, 1:] *= coarse
    manager = None if how == "elsewhere" else x.coordinate_manager
    target = SparseTensor(
        torch.zeros(30, 1), spots, tensor_stride=coarse, coordinate_manager=manager
    )
    onto = {"tensor": spots, "key": target.coordinate_map_key}.get(how, target)
    conv = MinkowskiConvolution(3, 2, kernel_size=3, dimension=2).double()
    y = conv(x, onto)
    assert torch.equal(y.C, target.C)
    inputs, outputs = hand.as_dict(x), {tuple(c) for c in target.C.tolist()}
    triples = hand.pairs(inputs, outputs, hand.cube((3, 3), (1, 1), (fine, fine)))
    hand.check(y, hand.summed(inputs, outputs, triples, conv.kernel.detach()))


def test_outputs_may_lie_in_more_samples_than_the_input():
    x = hand.tensor(2, batch=1)
    conv = MinkowskiConvolution(3, 2, kernel_size=3, dimension=2).double()
    spots = hand.points(2, batch=4, reach=3)
    inputs, outputs = hand.as_dict(x), {tuple(c) for c in spots.tolist()}
    triples = hand.pairs(inputs, outputs, hand.cube((3, 3), (1, 1), (1, 1)))
    hand.check(conv(x, spots), hand.summed(inputs, outputs, triples, conv.kernel.detach()))


def test_coordinates_that_come_as_a_tensor_get_the_tensor_stride_of_the_layer():
    x = hand.tensor(2, stride=2)
    conv = MinkowskiConvolution(3, 2, kernel_size=3, stride=2, dimension=2).double()
    assert conv(x, torch.tensor([[0, 0, 4]])).tensor_stride == [4, 4]


def test_one_tap_goes_where_the_caller_says_too():
    x = hand.tensor(2)
    conv = MinkowskiConvolution(3, 2, kernel_size=1, dimension=2).double()
    assert conv.kernel.shape == (3, 2)
    spots = hand.points(2, seed=3)
    y = conv(x, spots)
    assert {tuple(c) for c in y.C.tolist()} == {tuple(c) for c in spots.tolist()}
    inputs = hand.as_dict(x)
    for c, f in hand.as_dict(y).items():
        wanted = inputs[c] @ conv.kernel if c in inputs else torch.zeros(2, dtype=torch.float64)
        torch.testing.assert_close(f, wanted)
    torch.testing.assert_close(conv(x).F, x.F @ conv.kernel)


def test_one_tap_of_stride_two_is_no_matrix_product_also_on_one_axis():
    x = hand.tensor(1)
    conv = MinkowskiConvolution(3, 2, kernel_size=1, stride=2, dimension=1).double()
    assert conv.kernel.shape == (1, 3, 2) and not conv.use_mm
    inputs = hand.as_dict(x)
    outputs = {hand.floored(c, (2,)) for c in inputs}
    triples = hand.pairs(inputs, outputs, [(0,)])
    hand.check(conv(x), hand.summed(inputs, outputs, triples, conv.kernel.detach()))


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (2, 2), (5, 1)])
def test_on_a_full_grid_it_is_torchs_convolution(ndim, size, stride):
    edge = 6
    grid = torch.randn(2, 3, *(edge,) * ndim, dtype=torch.float64)
    spots = torch.cartesian_prod(torch.arange(2), *[torch.arange(edge)] * ndim).int()
    features = grid.movedim(1, -1).reshape(-1, 3)
    conv = MinkowskiConvolution(3, 4, size, stride, dimension=ndim).double()
    y = conv(SparseTensor(features, spots))
    # Axis 0 counts fastest, so the weight seen as an array has its axes backwards.
    weight = conv.kernel.detach().view(*(size,) * ndim, 3, 4)
    weight = weight.permute(ndim + 1, ndim, *range(ndim - 1, -1, -1))
    dense = getattr(functional, f"conv{ndim}d")
    low, high = (size // 2, size // 2) if size % 2 else (0, size - 1)
    wanted = dense(functional.pad(grid, (low, high) * ndim), weight, stride=stride)
    shape = torch.Size([2, 4, *(edge // stride,) * ndim])
    cut = wanted[(slice(None),) * 2 + (slice(0, edge // stride),) * ndim]
    torch.testing.assert_close(y.dense(shape)[0], cut)


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (2, 2)])
@pytest.mark.parametrize("dilation", [1, 2])
def test_channelwise_is_a_convolution_with_diagonal_weights(size, stride, dilation):
    x = hand.tensor(3)
    layer = MinkowskiChannelwiseConvolution(
        3, size, stride, dilation, bias=True, dimension=3
    ).double()
    full = MinkowskiConvolution(3, 3, size, stride, dilation, bias=True, dimension=3).double()
    full.kernel.data = torch.diag_embed(layer.kernel.data)
    full.bias.data = layer.bias.data
    y, wanted = layer(x), full(x)
    assert y.coordinate_map_key == wanted.coordinate_map_key
    torch.testing.assert_close(y.F, wanted.F)
    assert layer.kernel.shape == (size**3, 3) and layer.bias.shape == (1, 3)
    onto = torch.tensor([[0, 0, 0, 0], [1, 2, 2, 2]]).int()
    torch.testing.assert_close(layer(x, onto).F, full(x, onto).F)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_functions_by_keys_have_true_gradients(cpu_backend, size, stride):
    x = hand.tensor(2, rows=12, channels=2)
    generator = KernelGenerator(size, stride, dimension=2)
    kernel = torch.randn(size**2, 2, 3, dtype=torch.float64, requires_grad=True)
    features = x.F.clone().requires_grad_()
    key = CoordinateMapKey(3)
    rest = (generator, ConvolutionMode.DEFAULT, x.coordinate_map_key, key, x.coordinate_manager)
    convolve = MinkowskiConvolutionFunction()
    y = convolve.apply(features, kernel, *rest)
    assert key.get_tensor_stride() == [stride] * 2
    assert len(y) == x.coordinate_manager.size(key)
    assert torch.autograd.gradcheck(lambda f, k: convolve.apply(f, k, *rest), (features, kernel))


def test_parameters_are_drawn_as_upstream_draws_them():
    torch.manual_seed(5)
    conv = MinkowskiConvolution(8, 4, 3, bias=True, dimension=3)
    torch.manual_seed(5)
    bound = 1 / math.sqrt(8 * 27)
    assert torch.equal(conv.kernel, torch.empty(27, 8, 4).uniform_(-bound, bound))
    assert torch.equal(conv.bias, torch.empty(1, 4).uniform_(-bound, bound))
    torch.manual_seed(5)
    up = MinkowskiConvolutionTranspose(8, 4, 3, dimension=3)
    assert up.kernel.abs().max() > bound  # counted by the 4 outputs
    assert up.kernel.abs().max() <= 1 / math.sqrt(4 * 27)
    assert list(conv.state_dict()) == ["kernel", "bias"]


def test_a_chain_gives_the_same_however_rows_lie():
    x = hand.tensor(3, rows=50)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(1))
    shuffled = SparseTensor(x.F[order], x.C[order])
    net = nn.Sequential(
        MinkowskiConvolution(3, 4, 3, dimension=3),
        MinkowskiConvolution(4, 4, 2, 2, dimension=3),
        MinkowskiConvolutionTranspose(4, 3, 2, 2, dimension=3),
    ).double()
    torch.testing.assert_close(net(shuffled).F, net(x).F[order])
    assert torch.equal(net(shuffled).C, shuffled.C)


@pytest.mark.parametrize("stride", [1, 2])
def test_layers_that_differ_in_dilation_alone_see_other_sites_of_one_tensor(stride):
    x = hand.tensor(2, rows=60)
    near, far = (
        MinkowskiConvolution(3, 4, 3, stride, dilation, dimension=2).double() for dilation in (1, 2)
    )
    alone = far(SparseTensor(x.F, x.C))
    near(x)
    torch.testing.assert_close(far(x).F, alone.F)


def test_layers_that_share_a_generator_keep_their_own_way_to_new_sites():
    generator = KernelGenerator(3, dimension=2)
    same = MinkowskiConvolution(3, 2, kernel_generator=generator, dimension=2).double()
    wider = MinkowskiConvolution(
        3, 2, kernel_generator=generator, expand_coordinates=True, dimension=2
    ).double()
    x = hand.tensor(2)
    assert len(same(x)) == len(x) < len(wider(x))


def test_strided_sites_are_those_of_the_input_whatever_else_has_their_key():
    x = hand.tensor(2)
    SparseTensor(
        torch.zeros(1, 1), torch.tensor([[0, 40, 40]]), 2, coordinate_manager=x.coordinate_manager
    )
    y = MinkowskiConvolution(3, 2, 2, 2, dimension=2).double()(x)
    assert {tuple(c) for c in y.C.tolist()} == {
        hand.floored(tuple(c), (2, 2)) for c in x.C.tolist()
    }
    again = MinkowskiConvolution(3, 2, 3, 2, dimension=2).double()(x)
    assert again.coordinate_map_key == y.coordinate_map_key


def test_convolutions_of_nothing_give_nothing():
    empty = SparseTensor(torch.zeros(0, 3), torch.zeros(0, 4, dtype=torch.int32))
    for stride in (1, 2):
        assert MinkowskiConvolution(3, 2, 3, stride, bias=True, dimension=3)(empty).shape == (0, 2)
    x = hand.tensor(3, dtype=torch.float32)
    gone = MinkowskiPruning()(x, torch.zeros(len(x), dtype=torch.bool))
    y = MinkowskiConvolution(3, 2, 3, dimension=3)(gone, x)
    assert torch.equal(y.F, torch.zeros(len(x), 2))


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: MinkowskiConvolution(3, 2, 3), "dimension"),
        (lambda: MinkowskiConvolution(3, 2, 3, dimension=5), "1 to 4"),
        (lambda: MinkowskiConvolution(3, 2, dimension=3), "kernel_size"),
        (lambda: MinkowskiConvolution(3, 2, 3, 0, dimension=3), "stride"),
        (lambda: MinkowskiConvolution(3, 2, (3, 3), dimension=3), "kernel_size"),
        (lambda: KernelGenerator(region_type=RegionType.CUSTOM, dimension=2), "region_offsets"),
        (
            lambda: KernelGenerator(
                region_type=RegionType.CUSTOM, region_offsets=torch.ones(2, 2).int(), dimension=2
            ),
            "once",
        ),
        (lambda: KernelGenerator(2, region_type=RegionType.HYPER_CROSS, dimension=2), "odd"),
        (lambda: KernelGenerator(3, region_offsets=torch.ones(1, 2).int(), dimension=2), "CUSTOM"),
        (lambda: KernelGenerator(3, axis_types=[RegionType.HYPER_CUBE], dimension=1), "HYBRID"),
        (lambda: KernelGenerator(3, region_type=RegionType.HYBRID, dimension=2), "axis_types"),
        (lambda: KernelGenerator(3, region_type=1, dimension=2), "RegionType"),
        (
            lambda: MinkowskiConvolution(3, 2, **CUBE),
            "for dimension=3 and the layer for dimension=2",
        ),
        (lambda: MinkowskiChannelwiseConvolution(3, **CUBE), "kernel_generator is for dimension=3"),
        (lambda: MinkowskiSumPooling(3, **CUBE), "kernel_generator is for dimension=3"),
    ],
)
def test_a_kernel_that_cannot_be_says_why(made, words):
    with pytest.raises((ValueError, AssertionError), match=words):
        made()


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (lambda: torch.zeros(3, 3), "SparseTensor"),
        (lambda: hand.tensor(2), "dimension"),
        (lambda: hand.tensor(3, channels=4), "4 channels"),
    ],
)
def test_an_input_that_does_not_fit_says_why_and_where(x, words):
    net = nn.Sequential(MinkowskiConvolution(3, 2, 3, dimension=3).double())
    with pytest.raises((ValueError, TypeError), match=f"in layer 0.*{words}"):
        net(x())


def test_a_kernel_as_a_tuple_and_its_volume():
    assert get_kernel_volume(RegionType.HYPER_CROSS, [3, 5], None, None, 2) == 7
    region = KernelRegion([3], [1], [1], RegionType.HYPER_CUBE, None, 1)
    assert region.kernel_size == [3] and region.D == 1
    kept = convert_region_type(RegionType.HYPER_CUBE, [1], [3], [1], [1], None, None, 1)
    assert kept[0] is RegionType.HYPER_CUBE and kept[1].numel() == 0 and kept[2] == 3


def test_a_layer_says_what_it_is_and_can_be_copied():
    conv = MinkowskiConvolution(3, 2, 3, dimension=2)
    said = "MinkowskiConvolution(in=3, out=2, kernel_size=[3, 3], stride=[1, 1], dilation=[1, 1])"
    assert repr(conv) == repr(copy.deepcopy(conv)) == said
    offsets = torch.zeros(1, 2, dtype=torch.int32)
    custom = KernelGenerator(
        region_type=RegionType.CUSTOM, region_offsets=offsets, stride=2, dimension=2
    )
    assert "region_type=RegionType.CUSTOM, kernel_volume=1" in repr(
        MinkowskiConvolution(3, 2, kernel_generator=custom, dimension=2)
    )
