"""MinkowskiPruning: the rows of a mask, their order, their sites afterwards."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossamer.compat.coordmaps.key import CoordinateMapKey
from gossamer.compat.minkowski.MinkowskiConvolution import MinkowskiConvolution
from gossamer.compat.minkowski.MinkowskiPruning import MinkowskiPruning, MinkowskiPruningFunction
from gossamer.compat.minkowski.MinkowskiSparseTensor import SparseTensor
from tests.compat import minkowski_by_hand as hand


@given(seed=st.integers(0, 999), keep=st.sampled_from([0.0, 0.5, 1.0]))
def test_it_keeps_the_rows_of_the_mask_in_their_order(seed, keep):
    made = torch.Generator().manual_seed(seed)
    x = hand.tensor(3, rows=30, seed=seed)
    for y in (x, MinkowskiConvolution(3, 2, 3, dimension=3).double()(x)):
        mask = torch.rand(len(y), generator=made) < keep
        left = MinkowskiPruning()(y, mask)
        torch.testing.assert_close(left.F, y.F[mask])
        assert torch.equal(left.C, y.C[mask])
        assert left.tensor_stride == y.tensor_stride
        assert left.coordinate_map_key.get_key()[1].startswith("pruned")


@given(seed=st.integers(0, 999))
def test_what_follows_sees_only_what_is_left(seed):
    x = hand.tensor(2, rows=30, seed=seed)
    mask = torch.rand(len(x), generator=torch.Generator().manual_seed(seed)) < 0.6
    conv = MinkowskiConvolution(3, 2, 3, 2, dimension=2).double()
    fresh = SparseTensor(x.F[mask], x.C[mask])
    hand.check(conv(MinkowskiPruning()(x, mask)), hand.as_dict(conv(fresh)))


def test_gradients_reach_only_what_is_left(cpu_backend):
    x = hand.tensor(2, rows=10)
    mask = torch.arange(len(x)) % 2 == 0
    features = x.F.clone().requires_grad_()
    run, key = MinkowskiPruningFunction().apply, CoordinateMapKey(3)
    rest = (mask, x.coordinate_map_key, key, x.coordinate_manager)
    assert torch.equal(run(features, *rest), x.F[mask])
    assert key.is_key_set()
    assert torch.autograd.gradcheck(lambda f: run(f, *rest), features)
    run(features, *rest).sum().backward()
    assert torch.equal(features.grad, mask.double().unsqueeze(1).expand(-1, 3))


@pytest.mark.parametrize("form", [lambda m: m.byte(), lambda m: m.unsqueeze(1)])
def test_masks_come_in_other_forms(form):
    x = hand.tensor(2)
    mask = torch.arange(len(x)) % 3 == 0
    assert torch.equal(MinkowskiPruning()(x, form(mask)).F, x.F[mask])


@pytest.mark.parametrize(
    ("mask", "error", "words"),
    [
        (torch.rand(3), TypeError, "bool"),
        (torch.ones(3, dtype=torch.bool), ValueError, "one bool a row"),
        ([True], TypeError, "mask"),
    ],
)
def test_a_mask_that_does_not_fit_says_why(mask, error, words):
    with pytest.raises(error, match=words):
        MinkowskiPruning()(hand.tensor(2), mask)
    with pytest.raises(TypeError, match="SparseTensor"):
        MinkowskiPruning()(torch.zeros(3), mask)
