"""Interpolation between the sites of a MinkowskiEngine tensor."""

from itertools import product

import pytest
import torch

from gossamer.compat.minkowski.MinkowskiInterpolation import (
    MinkowskiInterpolation,
    MinkowskiInterpolationFunction,
)
from gossamer.compat.minkowski.MinkowskiSparseTensor import SparseTensor
from tests.compat import minkowski_by_hand as hand


def by_hand(x, points):
    """Absent corners count as zero."""
    stride, inputs = x.tensor_stride, hand.as_dict(x)
    rows = []
    for batch, *place in points.tolist():
        total = torch.zeros(x.shape[1], dtype=torch.float64)
        low = [p // s * s for p, s in zip(place, stride, strict=True)]
        for step in product((0, 1), repeat=len(place)):
            spot = [v + t * s for v, t, s in zip(low, step, stride, strict=True)]
            weight = 1.0
            for p, v, s in zip(place, spot, stride, strict=True):
                weight *= 1 - abs(p - v) / s
            total += weight * inputs.get((int(batch), *map(int, spot)), 0)
        rows.append(total)
    return torch.stack(rows)


def places(ndim, count=30, reach=5):
    made = torch.Generator().manual_seed(count)
    points = (torch.rand(count, 1 + ndim, generator=made, dtype=torch.float64) - 0.5) * 2 * reach
    points[:, 0] = torch.arange(count) % 2
    return points


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
@pytest.mark.parametrize("stride", [1, 3])
def test_it_is_linear_in_every_axis_and_absent_sites_are_zero(backend, ndim, stride):
    x = hand.tensor(ndim, stride=stride, reach=2)
    points = places(ndim, reach=2 * stride)
    wanted = by_hand(x, points)
    torch.testing.assert_close(MinkowskiInterpolation()(x, points), wanted)
    torch.testing.assert_close(x.features_at_coordinates(points), wanted)
    assert wanted.abs().sum() > 0


def test_sites_that_are_no_multiples_of_the_tensor_stride_are_no_corners():
    x = SparseTensor(torch.rand(3, 2).double(), torch.tensor([[0, 0], [0, 3], [0, 4]]), 4)
    points = torch.tensor([[0, 0.0], [0, 3.0], [0, 1.0]]).double()
    torch.testing.assert_close(x.features_at_coordinates(points), by_hand(x, points))


def test_at_a_site_it_is_the_sites_features():
    x = hand.tensor(3)
    torch.testing.assert_close(x.features_at_coordinates(x.C.double()), x.F)
    torch.testing.assert_close(x.features_at_coordinates(x.C), x.F)
    far = torch.tensor([[7, 0, 0, 0], [0, 99, 0, 0]]).double()
    assert not x.features_at_coordinates(far).any()


def test_rows_points_and_weights_are_its_matrix():
    x, points = hand.tensor(2), places(2)
    y, (rows, at), weights = MinkowskiInterpolation(True, True)(x, points)
    matrix = torch.zeros(len(points), len(x), dtype=torch.float64)
    matrix[at, rows] = weights
    torch.testing.assert_close(matrix @ x.F, y)
    y, (rows, _) = MinkowskiInterpolation(return_kernel_map=True)(x, points)
    assert rows.min() >= 0
    y, weights = MinkowskiInterpolation(return_weights=True)(x, points)
    assert len(weights) == len(rows) and repr(MinkowskiInterpolation()).endswith("()")


def test_gradients_are_true_also_for_the_points(cpu_backend):
    x, points = hand.tensor(2, rows=12), places(2, count=8)
    run, features = MinkowskiInterpolationFunction().apply, x.F.clone().requires_grad_()
    rest = (x.coordinate_map_key, x.coordinate_manager)
    assert torch.autograd.gradcheck(lambda f: run(f, points, *rest)[0], features)

    def at(axes):
        return run(features, torch.cat([points[:, :1], axes], 1), *rest)[0]

    assert torch.autograd.gradcheck(at, points[:, 1:].clone().requires_grad_())


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (torch.zeros(2, 2), r"\[P, 3\]"),
        (torch.full((1, 3), torch.nan), "finite"),
        (torch.full((1, 3), 3e9), "32 bits"),
    ],
)
def test_points_that_can_not_be_say_so(points, words):
    with pytest.raises(ValueError, match=words):
        MinkowskiInterpolation()(hand.tensor(2), points)
    with pytest.raises(TypeError, match="SparseTensor"):
        MinkowskiInterpolation()(torch.zeros(1, 1), points)


def test_no_points_and_no_sites_give_nothing():
    x = hand.tensor(2)
    assert MinkowskiInterpolation()(x, torch.zeros(0, 3)).shape == (0, 3)
    empty = SparseTensor(torch.zeros(0, 3), torch.zeros(0, 3).int())
    assert not MinkowskiInterpolation()(empty, torch.zeros(2, 3)).any()
