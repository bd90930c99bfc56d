"""MinkowskiUnion against dicts of coordinates."""

import pytest
import torch

from gossamer.compat.coordmaps.key import CoordinateMapKey
from gossamer.compat.minkowski.MinkowskiConvolution import (
    MinkowskiConvolution,
    MinkowskiConvolutionTranspose,
)
from gossamer.compat.minkowski.MinkowskiSparseTensor import SparseTensor
from gossamer.compat.minkowski.MinkowskiUnion import MinkowskiUnion, MinkowskiUnionFunction
from tests.compat import minkowski_by_hand as hand


def tensors(strides, rows=20):
    first = hand.tensor(2, reach=3, rows=rows, stride=strides[0])
    made = [first]
    for seed, stride in enumerate(strides[1:], start=1):
        spots = hand.points(2, reach=3, rows=rows, seed=seed)
        spots[:, 1:] *= stride
        values, manager = torch.rand(rows, 3, dtype=torch.float64), first.coordinate_manager
        made.append(SparseTensor(values, spots, stride, coordinate_manager=manager))
    return made


@pytest.mark.parametrize("strides", [(1, 1), (1, 2, 1), (2, 4)])
def test_it_sums_what_lies_at_one_coordinate(backend, strides):
    inputs = tensors(strides)
    y = MinkowskiUnion()(*inputs)
    wanted = {}
    for x in inputs:
        for c, f in hand.as_dict(x).items():
            wanted[c] = wanted.get(c, torch.zeros(3, dtype=torch.float64)) + f
    hand.check(y, wanted)
    assert y.tensor_stride == [min(strides)] * 2
    assert [tuple(c) for c in y.C.tolist()] == sorted(wanted)


def test_a_shared_coordinate_passes_its_gradient_to_both():
    first = SparseTensor(torch.tensor([[1.0], [2]]), torch.tensor([[0, 0, 0], [0, 0, 1]]))
    second = SparseTensor(
        torch.tensor([[3.0], [4]]),
        torch.tensor([[0, 0, 1], [0, 1, 1]]),
        coordinate_manager=first.coordinate_manager,
    )
    first.requires_grad_()
    second.requires_grad_()
    y = MinkowskiUnion()(first, second)
    assert y.F.flatten().tolist() == [1, 5, 4]
    y.F.sum().backward()
    assert first.F.grad.tolist() == second.F.grad.tolist() == [[1], [1]]


def test_its_function_has_true_gradients(cpu_backend):
    inputs = tensors((1, 2), rows=8)
    keys = [x.coordinate_map_key for x in inputs]

    def total(*features):
        key, manager = CoordinateMapKey(3), inputs[0].coordinate_manager
        return MinkowskiUnionFunction().apply(keys, key, manager, *features)

    assert torch.autograd.gradcheck(total, [x.F.clone().requires_grad_() for x in inputs])


def test_a_strided_union_goes_back_to_the_union():
    y = MinkowskiUnion()(*tensors((1, 1)))
    down = MinkowskiConvolution(3, 3, 2, 2, dimension=2).double()
    up = MinkowskiConvolutionTranspose(3, 3, 2, 2, dimension=2).double()
    assert up(down(y)).coordinate_map_key == y.coordinate_map_key


def test_the_union_of_the_same_sites_is_these():
    x = hand.tensor(2)
    elsewhere = SparseTensor(x.F.flip(0), x.C.flip(0))
    y = MinkowskiUnion()(x, elsewhere, x)
    assert y.coordinate_map_key == x.coordinate_map_key and torch.equal(y.C, x.C)
    torch.testing.assert_close(y.F, 3 * x.F)


def test_what_has_no_union_says_why():
    x, y = tensors((1, 1))
    with pytest.raises(AssertionError, match="two or more"):
        MinkowskiUnion()(x)
    with pytest.raises(TypeError, match="SparseTensors"):
        MinkowskiUnion()(x, x.F)
    with pytest.raises(AssertionError, match="coordinate managers"):
        MinkowskiUnion()(x, hand.tensor(2, seed=5))
    narrow = SparseTensor(y.F[:, :1], y.C + 1, coordinate_manager=x.coordinate_manager)
    with pytest.raises(ValueError, match=r"\[3, 1\] channels"):
        MinkowskiUnion()(x, narrow)
    assert repr(MinkowskiUnion()) == "MinkowskiUnion()"
