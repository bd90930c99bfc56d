"""Transposed convolutions: where they lead, and what they sum."""

import pytest
import torch

from gossamer.compat.coordmaps.key import CoordinateMapKey
from gossamer.compat.coordmaps.kinds import ConvolutionMode
from gossamer.compat.minkowski.MinkowskiConvolution import (
    MinkowskiConvolution,
    MinkowskiConvolutionTranspose,
    MinkowskiConvolutionTransposeFunction,
    MinkowskiGenerativeConvolutionTranspose,
)
from gossamer.compat.minkowski.MinkowskiKernelGenerator import KernelGenerator
from gossamer.compat.minkowski.MinkowskiPruning import MinkowskiPruning
from gossamer.compat.minkowski.MinkowskiSparseTensor import SparseTensor
from tests.compat import minkowski_by_hand as hand

SHAPES = [(1, 3, 2, 1), (2, 2, 2, 1), (2, 3, 2, 2), (2, (3, 2), (1, 2), 1), (3, 3, 2, 1)]
SHAPES += [(3, 5, 4, 1), (4, 2, 2, 1)]


def axes(value, ndim):
    return (value,) * ndim if isinstance(value, int) else tuple(value)


def upwards(inputs, outputs, offsets):
    """{(tap, input, output)}: output = input + offset."""
    return {
        (k, i, hand.moved(i, off))
        for k, off in enumerate(offsets)
        for i in inputs
        if hand.moved(i, off) in outputs
    }


@pytest.mark.parametrize(("ndim", "size", "stride", "dilation"), SHAPES)
@pytest.mark.parametrize("finest", [1, 3])
def test_new_sites_are_all_places_that_taps_reach(backend, ndim, size, stride, dilation, finest):
    ratio, edges, steps = axes(stride, ndim), axes(size, ndim), axes(dilation, ndim)
    coarse = [finest * s for s in ratio]
    spots = hand.points(ndim, rows=12)
    spots[:, 1:] *= torch.tensor(coarse)
    x = SparseTensor(torch.randn(12, 3, dtype=torch.float64), spots, tensor_stride=coarse)
    layer = MinkowskiGenerativeConvolutionTranspose(
        3, 2, size, stride, dilation, dimension=ndim
    ).double()
    y = layer(x)
    inputs = hand.as_dict(x)
    offsets = hand.cube(edges, steps, [finest] * ndim)
    outputs = {hand.moved(c, off) for c in inputs for off in offsets}
    triples = upwards(inputs, outputs, offsets)
    hand.check(y, hand.summed(inputs, outputs, triples, layer.kernel.detach()))
    assert y.tensor_stride == [finest] * ndim


@pytest.mark.parametrize("size", [2, 3, 5])
def test_it_goes_back_to_the_sites_its_input_was_strided_from(backend, size):
    x = hand.tensor(2)
    down = MinkowskiConvolution(3, 4, 3, 2, dimension=2).double()
    up = MinkowskiConvolutionTranspose(4, 2, size, 2, bias=True, dimension=2).double()
    middle = down(x)
    y = up(middle)
    assert y.coordinate_map_key == x.coordinate_map_key and torch.equal(y.C, x.C)
    inputs, outputs = hand.as_dict(middle), {tuple(c) for c in x.C.tolist()}
    triples = upwards(inputs, outputs, hand.cube((size,) * 2, (1, 1), (1, 1)))
    wanted = hand.summed(inputs, outputs, triples, up.kernel.detach())
    hand.check(y, {c: f + up.bias[0].detach() for c, f in wanted.items()})


def test_it_is_the_adjoint_of_the_convolution():
    x = hand.tensor(3)
    down = MinkowskiConvolution(3, 4, 3, 2, dimension=3).double()
    up = MinkowskiConvolutionTranspose(4, 3, 3, 2, dimension=3).double()
    up.kernel.data = down.kernel.data.mT.contiguous()
    y = down(x)
    z = y._with(type(y._values)(torch.randn_like(y.F)))
    torch.testing.assert_close((y.F * z.F).sum(), (x.F * up(z).F).sum())


def test_a_pruned_skip_is_found_again():
    x = hand.tensor(2, rows=60)
    left = MinkowskiPruning()(x, torch.arange(len(x)) % 3 > 0)
    down = MinkowskiConvolution(3, 4, 2, 2, dimension=2).double()
    up = MinkowskiConvolutionTranspose(4, 3, 2, 2, dimension=2).double()
    y = up(down(left))
    assert y.coordinate_map_key == left.coordinate_map_key != x.coordinate_map_key
    torch.testing.assert_close((y + left).F, y.F + left.F)
    assert len(y) == len(left)


def test_a_tensor_pruned_when_coarse_goes_back_to_what_it_came_from():
    x = hand.tensor(2, rows=60)
    down = MinkowskiConvolution(3, 3, 2, 2, dimension=2).double()
    up = MinkowskiConvolutionTranspose(3, 3, 2, 2, dimension=2).double()
    first, middle = down(x), down(down(x))
    left = MinkowskiPruning()(middle, torch.arange(len(middle)) % 2 == 0)
    assert up(left).coordinate_map_key == first.coordinate_map_key
    assert up(up(left)).coordinate_map_key == x.coordinate_map_key


def test_the_second_of_two_inputs_pruned_when_coarse_goes_back_to_its_own_sites():
    other = hand.tensor(2)
    x = SparseTensor(other.F, other.C + 1, coordinate_manager=other.coordinate_manager)
    down = MinkowskiConvolution(3, 3, 2, 2, dimension=2).double()
    up = MinkowskiConvolutionTranspose(3, 3, 2, 2, dimension=2).double()
    coarse = down(x)
    left = MinkowskiPruning()(coarse, torch.arange(len(coarse)) % 2 == 0)
    assert up(left).coordinate_map_key == x.coordinate_map_key


def test_each_of_two_inputs_goes_back_to_its_own_sites():
    x = hand.tensor(2)
    other = SparseTensor(
        torch.randn(20, 3).double(),
        hand.points(2, rows=20, seed=9),
        coordinate_manager=x.coordinate_manager,
    )
    down = MinkowskiConvolution(3, 3, 3, 2, dimension=2).double()
    up = MinkowskiConvolutionTranspose(3, 3, 3, 2, dimension=2).double()
    assert up(down(other)).coordinate_map_key == other.coordinate_map_key
    assert up(down(x)).coordinate_map_key == x.coordinate_map_key


def test_two_steps_down_are_one_step_up():
    x = hand.tensor(2)
    down = MinkowskiConvolution(3, 3, 2, 2, dimension=2).double()
    up = MinkowskiConvolutionTranspose(3, 3, 4, 4, dimension=2).double()
    assert up(down(down(x))).coordinate_map_key == x.coordinate_map_key


def test_without_a_past_it_goes_to_the_first_map_of_that_tensor_stride():
    x = hand.tensor(2)
    coarse = SparseTensor(
        torch.randn(3, 3).double(),
        torch.tensor([[0, 0, 0], [0, 2, 2], [1, -2, 4]]),
        2,
        coordinate_manager=x.coordinate_manager,
    )
    up = MinkowskiConvolutionTranspose(3, 2, 3, 2, dimension=2).double()
    assert up(coarse).coordinate_map_key == x.coordinate_map_key
    alone = SparseTensor(coarse.F, coarse.C, 2)
    assert len(up(alone)) > len(alone)
    assert up(alone).coordinate_map_key == CoordinateMapKey([1, 1], "")


def test_generative_sites_are_new_each_time_and_expand_says_the_same():
    x = hand.tensor(2)
    middle = MinkowskiConvolution(3, 3, 3, 2, dimension=2).double()(x)
    grow = MinkowskiGenerativeConvolutionTranspose(3, 2, 3, 2, dimension=2).double()
    expand = MinkowskiConvolutionTranspose(
        3, 2, 3, 2, expand_coordinates=True, dimension=2
    ).double()
    expand.load_state_dict(grow.state_dict())
    first, second = grow(middle), expand(middle)
    assert first.coordinate_map_key != second.coordinate_map_key != x.coordinate_map_key
    torch.testing.assert_close(first.F, second.F)
    assert torch.equal(first.C, second.C)
    down = MinkowskiConvolution(2, 2, 3, 2, dimension=2).double()
    up = MinkowskiConvolutionTranspose(2, 2, 3, 2, dimension=2).double()
    assert up(down(first)).coordinate_map_key == first.coordinate_map_key


def test_stride_one_stays_on_the_inputs_sites_also_where_they_were_pruned():
    x = hand.tensor(2)
    left = MinkowskiPruning()(x, torch.arange(len(x)) % 2 == 0)
    up = MinkowskiConvolutionTranspose(3, 2, 3, dimension=2).double()
    y = up(left)
    assert y.coordinate_map_key == left.coordinate_map_key
    inputs = hand.as_dict(left)
    triples = upwards(inputs, set(inputs), hand.cube((3, 3), (1, 1), (1, 1)))
    hand.check(y, hand.summed(inputs, set(inputs), triples, up.kernel.detach()))


def test_outputs_go_where_the_caller_says_at_the_tensor_stride_above():
    x = hand.tensor(2, stride=4)
    up = MinkowskiConvolutionTranspose(3, 2, 3, 2, dimension=2).double()
    spots = hand.points(2, seed=4) * torch.tensor([1, 2, 2], dtype=torch.int32)
    y = up(x, spots)
    assert y.tensor_stride == [2, 2]
    inputs, outputs = hand.as_dict(x), {tuple(c) for c in spots.tolist()}
    triples = upwards(inputs, outputs, hand.cube((3, 3), (1, 1), (2, 2)))
    assert triples
    hand.check(y, hand.summed(inputs, outputs, triples, up.kernel.detach()))


def test_a_stride_that_does_not_divide_says_so():
    up = MinkowskiConvolutionTranspose(3, 2, 2, 2, dimension=2).double()
    with pytest.raises(ValueError, match=r"tensor_stride is \[3, 3\].*multiple"):
        up(hand.tensor(2, stride=3))


@pytest.mark.parametrize("new", [False, True])
def test_its_function_has_true_gradients(cpu_backend, new):
    x = hand.tensor(2, rows=10, channels=2, stride=2)
    generator = KernelGenerator(3, 2, expand_coordinates=new, dimension=2)
    kernel = torch.randn(9, 2, 3, dtype=torch.float64, requires_grad=True)
    features = x.F.clone().requires_grad_()
    key = CoordinateMapKey(3)
    rest = (generator, ConvolutionMode.DEFAULT, x.coordinate_map_key, key, x.coordinate_manager)
    run = MinkowskiConvolutionTransposeFunction().apply
    assert torch.autograd.gradcheck(lambda f, k: run(f, k, *rest), (features, kernel))
    assert key.get_key()[0] == [1, 1]
