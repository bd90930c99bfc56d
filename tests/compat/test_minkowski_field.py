"""TensorField: points, the cells they lie in, and the way back."""

import copy
import pickle

import pytest
import torch
from torch import nn

from gossamer.compat.coordmaps.key import CoordinateMapKey
from gossamer.compat.layers.passing import mapped
from gossamer.compat.minkowski.MinkowskiConvolution import (
    MinkowskiConvolution,
    MinkowskiConvolutionTranspose,
)
from gossamer.compat.minkowski.MinkowskiPruning import MinkowskiPruning
from gossamer.compat.minkowski.MinkowskiSparseTensor import SparseTensor
from gossamer.compat.minkowski.MinkowskiTensor import SparseTensorQuantizationMode
from gossamer.compat.minkowski.MinkowskiTensorField import TensorField, create_splat_coordinates

MODE = SparseTensorQuantizationMode
REDUCE = {
    MODE.UNWEIGHTED_AVERAGE: lambda f: f.mean(0),
    MODE.UNWEIGHTED_SUM: lambda f: f.sum(0),
    MODE.RANDOM_SUBSAMPLE: lambda f: f[0],
    MODE.MAX_POOL: lambda f: f.amax(0),
}


def field(ndim=2, count=40, reach=4.0, **options):
    made = torch.Generator().manual_seed(count)
    points = (torch.rand(count, 1 + ndim, generator=made) - 0.5) * 2 * reach
    points[:, 0] = torch.arange(count) % 2
    features = torch.randn(count, 3, generator=made, dtype=torch.float64) - 3
    return TensorField(features, points, **options)


@pytest.mark.parametrize("mode", REDUCE)
@pytest.mark.parametrize("stride", [1, 2, (1, 3)])
def test_a_cell_makes_one_row_of_its_points(backend, mode, stride):
    x = field(quantization_mode=mode)
    y = x.sparse(stride)
    wide = torch.tensor([1, stride, stride] if isinstance(stride, int) else [1, *stride])
    cells = (x.C / wide).floor().long() * wide
    wanted = torch.stack([REDUCE[mode](x.F[(cells == c).all(1)]) for c in y.C])
    torch.testing.assert_close(y.F, wanted)
    assert {tuple(c) for c in y.C.tolist()} == {tuple(c) for c in cells.tolist()}
    assert torch.equal(y.C[x.inverse_mapping(y.coordinate_map_key)].long(), cells)
    assert y.tensor_stride == wide[1:].tolist()
    torch.testing.assert_close(x.sparse(stride, quantization_mode=mode).F, y.F)


def test_cells_can_be_those_of_a_map_that_is_there():
    x = field()
    y = MinkowskiConvolution(3, 2, 2, 2, dimension=2).double()(x.sparse())
    left = MinkowskiPruning()(y, torch.arange(len(y)) % 2 == 0)
    again = x.sparse(coordinate_map_key=left.coordinate_map_key)
    assert again.coordinate_map_key == left.coordinate_map_key
    cells = torch.cat([x.C[:, :1], (x.C[:, 1:] / 2).floor() * 2], 1).int()
    for c, f in zip(again.C, again.F, strict=True):
        torch.testing.assert_close(f, x.F[(cells == c).all(1)].mean(0))


def test_points_without_a_cell_count_nowhere_and_get_zeros_back():
    x = TensorField(torch.tensor([[1.0], [2], [4]]), torch.tensor([[0, 0.5], [0, 9.5], [0, 0.7]]))
    manager = x.coordinate_manager
    key, _ = manager.insert_and_map(torch.tensor([[0, 5], [0, 0]]))
    y = x.sparse(coordinate_map_key=key)
    assert y.F.tolist() == [[0], [2.5]]
    assert x.inverse_mapping(key).tolist() == [1, -1, 1]
    assert y.slice(x).F.tolist() == [[2.5], [0], [2.5]]
    first = x.sparse(coordinate_map_key=key, quantization_mode=MODE.RANDOM_SUBSAMPLE)
    assert first.F.tolist() == [[0], [1]]


def test_slicing_gives_each_point_its_cell_through_a_whole_network():
    x = field()
    net = nn.Sequential(
        MinkowskiConvolution(3, 4, 3, dimension=2),
        MinkowskiConvolution(4, 4, 2, 2, dimension=2),
        MinkowskiConvolutionTranspose(4, 2, 2, 2, dimension=2),
    ).double()
    y = net(x.sparse())
    out = y.slice(x)
    assert isinstance(out, TensorField) and len(out) == len(x)
    assert out.coordinate_field_map_key == x.coordinate_field_map_key
    rows = [y.C.tolist().index(c) for c in x.C.floor().int().tolist()]
    torch.testing.assert_close(out.F, y.F[rows])
    torch.testing.assert_close(y.cat_slice(x).F, torch.cat([y.F[rows], x.F], 1))
    coarse = net[1](net[0](x.sparse()))
    cells = torch.cat([x.C[:, :1], (x.C[:, 1:] / 2).floor() * 2], 1).int()
    rows = [coarse.C.tolist().index(c) for c in cells.tolist()]
    torch.testing.assert_close(coarse.slice(x).F, coarse.F[rows])


def test_slicing_has_gradients():
    x = field(count=10)
    y = x.sparse()

    def sliced(features):
        return y._with(type(y._values)(features)).slice(x).F

    assert torch.autograd.gradcheck(sliced, y.F.clone().requires_grad_())


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_splatting_weighs_the_places_around_a_point(ndim):
    x = field(ndim, count=12)
    y = x.splat()
    wanted = {}
    for point, f in zip(x.C.double(), x.F, strict=True):
        low = point.floor()
        for step in torch.cartesian_prod(*[torch.arange(2)] * ndim).view(-1, ndim):
            spot = low[1:] + step
            weight = (1 - (point[1:] - spot).abs()).prod()
            key = (int(point[0]), *map(int, spot))
            wanted[key] = wanted.get(key, 0) + weight * f
    assert {tuple(c) for c in y.C.tolist()} == wanted.keys()
    for c, f in zip(y.C.tolist(), y.F, strict=True):
        torch.testing.assert_close(f, wanted[tuple(c)])
    spots = create_splat_coordinates(x.C)
    assert spots.dtype == torch.int32 and len(spots) == 12 * 2**ndim
    assert {tuple(c) for c in spots.tolist()} == wanted.keys()
    back = y.interpolate(x)
    assert isinstance(back, TensorField)
    torch.testing.assert_close(back.F, y.features_at_coordinates(x.C))


def test_it_knows_its_points_and_samples():
    x = field(3, device="cpu", requires_grad=True)
    assert x.requires_grad and x.D == 3 and len(x) == 40
    assert x.coordinate_key == x.coordinate_field_map_key == CoordinateMapKey([1, 1, 1])
    assert [len(f) for f in x.decomposed_features] == [20, 20]
    assert torch.equal(x.coordinates_at(1), x.C[1::2, 1:])
    twin = TensorField(
        x.F, coordinate_field_map_key=x.coordinate_key, coordinate_manager=x.coordinate_manager
    )
    assert torch.equal(twin.C, x.C) and "coordinate_field_map_key=" in repr(twin)
    torch.testing.assert_close((x + twin).F, 2 * x.F)
    torch.testing.assert_close((x * 3 - x.F).F, 2 * x.F)
    elsewhere = TensorField(x.F, x.C)
    torch.testing.assert_close((x + elsewhere).F, 2 * x.F)
    with pytest.raises(AssertionError, match="different sites"):
        x + TensorField(x.F, x.C + 1)
    assert torch.equal(x._with(mapped(x._values, nn.ReLU())).F, x.F.relu())


def test_it_can_be_copied_and_moved():
    x = field()
    for twin in (copy.deepcopy(x), pickle.loads(pickle.dumps(x)), x.to(torch.float64)):
        torch.testing.assert_close(twin.sparse().F, x.sparse().F)
    away = x.to("meta")
    assert away.C.device.type == away._get_coordinates().device.type == "meta"


def test_whole_numbers_stay_exact_beyond_what_float32_holds():
    far = (1 << 24) + 1
    x = TensorField(torch.ones(2, 1), torch.tensor([[0, far], [0, far + 1]]))
    assert x.sparse().C.tolist() == [[0, far], [0, far + 1]]


def test_a_field_without_points_is_a_tensor_without_sites():
    x = TensorField(torch.zeros(0, 3), torch.zeros(0, 3))
    assert len(x.sparse()) == len(x.splat()) == 0
    assert x.sparse().slice(x).shape == (0, 3)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"coordinates": torch.full((2, 3), torch.inf)}, ValueError, "finite"),
        ({"coordinates": torch.full((2, 3), 1e12)}, ValueError, "32 bits"),
        ({"coordinates": torch.zeros(3, 3)}, ValueError, "2 rows and coordinates 3"),
        ({"coordinates": None}, ValueError, "together with its"),
        ({"quantization_mode": MODE.NO_QUANTIZATION}, AssertionError, "quantization_mode"),
        ({"tensor_stride": 0}, ValueError, "tensor_stride"),
    ],
)
def test_what_it_can_not_be_made_of_it_says(arguments, error, words):
    given = {"features": torch.zeros(2, 1), "coordinates": torch.zeros(2, 3), **arguments}
    with pytest.raises(error, match=words):
        TensorField(**given)
    with pytest.raises(AssertionError, match="SPLAT"):
        field().sparse(quantization_mode=MODE.SPLAT_LINEAR_INTERPOLATION)


def test_a_negative_sample_says_so():
    x = TensorField(torch.zeros(1, 1), torch.tensor([[-1.0, 0]]))
    with pytest.raises(ValueError, match="batch"):
        x.sparse()


def test_layers_for_sites_say_how_a_field_becomes_sites():
    with pytest.raises(TypeError, match=r"sparse\(\)"):
        MinkowskiConvolution(3, 2, 3, dimension=2).double()(field())
    assert isinstance(field().sparse(), SparseTensor)


def test_a_batch_index_that_arithmetic_has_moved_a_little_is_still_that_sample():
    points = torch.tensor([[0.9999, 3.0], [1.0001, 5.0], [0.0, 3.0]])
    x = TensorField(torch.ones(3, 1), points).sparse()
    assert x.C.tolist() == [[1, 3], [1, 5], [0, 3]]
