"""SparseTensor of the MinkowskiEngine facade as a grid, dense or torch's sparse."""

import pytest
import torch

from gossamer.compat.minkowski.MinkowskiSparseTensor import SparseTensor
from tests.compat import minkowski_by_hand as hand


@pytest.mark.parametrize("contract", [True, False])
@pytest.mark.parametrize("given_shape", [True, False])
def test_a_dense_grid_has_each_site_at_its_cell(backend, contract, given_shape):
    x = hand.tensor(2, stride=2, reach=4)
    low = torch.tensor([-8, -10], dtype=torch.int32)
    shape = torch.Size([3, 99, 20, 20]) if given_shape else None
    grid, lowest, stride = x.dense(shape, low, contract)
    step = 2 if contract else 1
    assert lowest.tolist() == [-8, -10] and stride.tolist() == [2, 2]
    count = 0
    for (b, *c), f in hand.as_dict(x).items():
        i, j = ((v - m) // step for v, m in zip(c, low.tolist(), strict=True))
        assert torch.equal(grid[b, :, i, j], f)
        count += int((f != 0).sum())
    assert int((grid != 0).sum()) == count and grid.shape[1] == 3
    assert not given_shape or grid.shape == (3, 3, 20, 20)


def test_a_dense_grid_begins_at_the_origin_and_its_gradient_is_the_cells():
    spots = torch.tensor([[0, 1, 3], [1, 2, 1]])
    features = torch.rand(2, 2, dtype=torch.float64, requires_grad=True)
    grid, lowest, _ = SparseTensor(features, spots).dense()
    assert grid.shape == (2, 2, 3, 4) and lowest.tolist() == [0, 0]
    assert torch.equal(grid[1, :, 2, 1], features[1])
    weight = torch.rand_like(grid)
    (grid * weight).sum().backward()
    wanted = torch.stack([weight[0, :, 1, 3], weight[1, :, 2, 1]])
    torch.testing.assert_close(features.grad, wanted)
    empty = SparseTensor(features[:0].detach(), spots[:0])
    assert not empty.dense(torch.Size([2, 2, 3, 4]))[0].any()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: x.dense(), "min_coordinate"),
        (lambda x: x.dense(min_coordinate=torch.tensor([-9, -9])), "multiples"),
        (lambda x: x.dense(torch.Size([2, 3, 1, 1]), torch.tensor([-10, -10])), "larger shape"),
        (lambda x: x.dense(torch.Size([2, 3, 9])), r"wanted 4 sizes"),
        (lambda x: x.dense(min_coordinate=torch.tensor([0])), "2 ints"),
        (lambda x: x.sparse(max_coords=torch.tensor([-100, -100])), "smaller min_coordinate"),
        (lambda x: x._with(type(x._values)(x.F)).sparse(torch.tensor([1, 1])), "multiples"),
    ],
)
def test_a_grid_that_can_not_be_says_why(call, words):
    with pytest.raises(ValueError, match=words):
        call(hand.tensor(2, stride=2))


def test_a_tensor_without_sites_has_no_grid_of_its_own():
    empty = SparseTensor(torch.zeros(0, 3), torch.zeros(0, 3).int())
    with pytest.raises(ValueError, match="no sites"):
        empty.dense()
    assert empty.sparse()[0].shape == (0, 0, 0, 3)
    assert empty.shape == (0, 3) and "SparseTensor" in repr(empty) and (empty + empty).shape[0] == 0


@pytest.mark.parametrize("contract", [True, False])
def test_as_torchs_sparse_tensor_it_is_the_dense_one(contract):
    x = hand.tensor(2, stride=2)
    made, lowest, stride = x.sparse(contract_coords=contract)
    grid, *_ = x.dense(min_coordinate=x.C[:, 1:].amin(0).int(), contract_stride=contract)
    torch.testing.assert_close(made.to_dense().movedim(-1, 1), grid)
    first = x.C[:, 1:].amin(0) // (2 if contract else 1)
    assert lowest.tolist() == [first.tolist()] and stride.tolist() == [2, 2]
    low, high = torch.tensor([-20, -20]).int(), torch.tensor([20, 20]).int()
    made, *_ = x.sparse(low, high, contract)
    assert made.shape == (2, 21, 21, 3) if contract else made.shape == (2, 41, 41, 3)
    assert x.C.amin() < 0  # and nobody moved the coordinates
