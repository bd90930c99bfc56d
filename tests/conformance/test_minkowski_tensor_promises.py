"""What MinkowskiEngine's documentation says of tensors, fields, managers and data.

Its terms, guides, examples and docstrings promise it of `import MinkowskiEngine as ME`, whichever
library that name means in this process.
"""

import operator
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from tests.conformance.scenes import dice, features, voxels
from tests.conformance.windows import assert_same, box, moved, rounded, sites

ME = pytest.importorskip("MinkowskiEngine")

Mode = ME.SparseTensorQuantizationMode
MERGED = {
    Mode.UNWEIGHTED_AVERAGE: lambda x: x.mean(0),
    Mode.UNWEIGHTED_SUM: lambda x: x.sum(0),
    Mode.MAX_POOL: lambda x: x.amax(0),
}


def scene(stride: int = 1):
    places = voxels((16, 16), 10)
    places[:, 1:] *= stride
    return ME.SparseTensor(features(20, 3) - 0.5, places, tensor_stride=stride)


def elsewhere(x):
    """Another tensor of `x`'s manager, which shares some coordinates with it."""
    places = torch.cat([x.C[::2], x.C[::2] + torch.tensor([0, 50, 0])])
    return ME.SparseTensor(features(20, 3, 1), places, coordinate_manager=x.coordinate_manager)


def points() -> tuple[Tensor, Tensor]:
    """[60, 3] batch index and places with fractions, negative too; [60, 2] features."""
    places = torch.rand(60, 2, generator=dice()) * 6 - 3
    batch = torch.arange(60)[:, None] % 2
    return torch.cat([batch, places], 1), features(60, 2) - 0.5


def voxel_of_points() -> tuple[list[tuple], dict[tuple, Tensor]]:
    """The voxel of each of `points`, and the rows of points in each voxel."""
    places, rows = points()
    cells = [tuple(row) for row in places.floor().int().tolist()]
    own = {c: torch.stack([f for d, f in zip(cells, rows, strict=True) if d == c]) for c in cells}
    return cells, own


def field(mode=Mode.UNWEIGHTED_AVERAGE):
    places, rows = points()
    return ME.TensorField(rows, places, quantization_mode=mode)


def test_a_tensor_has_the_coordinates_and_features_it_was_given():
    places, rows = voxels((16, 16), 10), features(20, 3)
    x = ME.SparseTensor(features=rows, coordinates=places)
    assert torch.equal(x.C, places) and torch.equal(x.F, rows) and len(x) == 20
    assert x.D == x.dimension == 2 and x.tensor_stride == [1, 1]


def test_what_is_not_there_is_zero():
    x = scene()
    asked = torch.cat([x.C, x.C + torch.tensor([0, 50, 0])]).float()
    wanted = torch.cat([x.F, torch.zeros(20, 3)])
    torch.testing.assert_close(x.features_at_coordinates(asked), wanted)


def bilinear(x, place: list[float]) -> Tensor:
    """The features of the four sites around, weighted by area; where there is none, 0."""
    batch, *where = place
    found = torch.zeros(x.F.shape[1])
    for corner in product((0, 1), repeat=2):
        site = [int(p // 1) + c for p, c in zip(where, corner, strict=True)]
        weights = [1 - abs(p - s) for p, s in zip(where, site, strict=True)]
        row = (x.C == torch.tensor([int(batch), *site])).all(1)
        found = found + x.F[row].sum(0) * weights[0] * weights[1]
    return found


def test_interpolation_between_sites_is_linear():
    x = scene()
    asked = x.C + torch.tensor([0, 0.25, 0.5])
    wanted = torch.stack([bilinear(x, place) for place in asked.tolist()])
    torch.testing.assert_close(x.features_at_coordinates(asked), wanted)
    torch.testing.assert_close(ME.MinkowskiInterpolation()(x, asked), wanted)


@pytest.mark.parametrize("kind", ["SparseTensor", "TensorField"])
@pytest.mark.parametrize("mode", MERGED, ids=lambda mode: mode.name)
def test_a_quantization_mode_says_what_a_voxel_gets_of_its_points(mode, kind):
    _, own = voxel_of_points()
    places, rows = points()
    if kind == "SparseTensor":
        x = ME.SparseTensor(rows, places.floor().int(), quantization_mode=mode)
    else:
        x = field(mode).sparse()
    assert_same(sites(x.C, x.F), {cell: MERGED[mode](rows) for cell, rows in own.items()})


def test_random_subsampling_takes_one_point_of_each_voxel():
    _, own = voxel_of_points()
    x = field(Mode.RANDOM_SUBSAMPLE).sparse()
    assert len(x) == len(own)
    for cell, row in sites(x.C, x.F).items():
        assert (own[cell] == row).all(1).any()


def test_slicing_gives_every_point_the_features_of_its_voxel():
    z = field()
    x = z.sparse()
    found, cells = sites(x.C, x.F), voxel_of_points()[0]
    y = x.slice(z)
    assert isinstance(y, ME.TensorField) and torch.equal(y.C, z.C)
    torch.testing.assert_close(y.F, torch.stack([found[cell] for cell in cells]))
    torch.testing.assert_close(x.cat_slice(z).F, torch.cat([y.F, z.F], 1))


def test_slicing_reaches_points_from_a_coarser_tensor():
    z = field()
    y = ME.MinkowskiSumPooling(2, 2, dimension=2)(z.sparse())
    found, cells = sites(y.C, y.F), voxel_of_points()[0]
    wanted = torch.stack([found[rounded(cell, 2)] for cell in cells])
    torch.testing.assert_close(y.slice(z).F, wanted)


def test_splatting_gives_features_to_the_cells_around_and_keeps_their_sum():
    z = field()
    x = z.splat()
    cells = {moved(cell, offset) for cell in voxel_of_points()[0] for offset in box(2, 2)}
    assert sites(x.C, x.F).keys() == cells
    torch.testing.assert_close(x.F.sum(0), z.F.sum(0), rtol=1e-4, atol=1e-5)


def test_decomposed_features_of_sample_i_are_those_with_batch_index_i():
    order = torch.randperm(20, generator=dice())
    places, rows = voxels((16, 16), 10)[order], features(20, 3)
    x = ME.SparseTensor(rows, places)
    for i in (0, 1):
        own = places[:, 0] == i
        wanted = sites(places[own, 1:], rows[own])
        assert_same(sites(x.decomposed_coordinates[i], x.decomposed_features[i]), wanted)
        assert_same(sites(*x.coordinates_and_features_at(i)), wanted)
        assert torch.equal(rows[x.decomposition_permutations[i]], x.features_at(i))


@pytest.mark.parametrize("contracted", [True, False])
@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_a_dense_cell_lies_at_the_origin_plus_tensor_stride_times_its_index(form, contracted):
    x, origin = scene(2), torch.IntTensor([0, 0])
    if form == "dense":
        y, first, stride = x.dense(min_coordinate=origin, contract_stride=contracted)
    else:
        y, first, stride = x.sparse(min_coords=origin, contract_coords=contracted)
        y = y.to_dense().movedim(-1, 1)
    step = stride[0] if contracted else 1
    first = torch.as_tensor(first).flatten()
    found = {}
    for b, i, j in (y != 0).any(1).nonzero().tolist():
        found[(b, *(first + step * torch.tensor([i, j])).tolist())] = y[b, :, i, j]
    assert_same(found, sites(x.C, x.F))


def test_a_dense_tensor_goes_there_and_back():
    dense = torch.randn(2, 3, 4, 5, generator=dice()) * (torch.rand(2, 1, 4, 5) < 0.5)
    dense.requires_grad_()
    x = ME.MinkowskiToSparseTensor(remove_zeros=False)(dense)
    assert len(x) == 40
    back = ME.MinkowskiToDenseTensor(dense.shape)(x)
    assert torch.equal(back, dense)
    back.square().sum().backward()
    torch.testing.assert_close(dense.grad, 2 * dense.detach())


def test_to_sparse_leaves_out_zeros():
    dense = torch.randn(2, 3, 4, 5, generator=dice()) * (torch.arange(5) % 2)
    for x in (ME.to_sparse(dense), ME.to_sparse(dense.movedim(1, -1), format="BXXC")):
        assert len(x) == 16 and torch.equal(x.dense(shape=dense.shape)[0], dense)


def test_to_sparse_tensor_takes_out_zeros_by_default_and_only_given_coordinates():
    dense = torch.randn(2, 3, 4, 5, generator=dice()) * (torch.arange(5) % 2)
    assert len(ME.MinkowskiToSparseTensor()(dense)) == 16
    cells = ME.dense_coordinates(dense.shape)
    assert len(ME.MinkowskiToSparseTensor(coordinates=cells)(dense)) == 40


def test_to_feature_is_the_plain_tensor():
    assert torch.equal(ME.MinkowskiToFeature()(scene()), scene().F)


@pytest.mark.parametrize("sign", [1, -1])
def test_adding_takes_zero_where_a_tensor_has_no_site(sign):
    x = scene()
    z = elsewhere(x)
    there, here, nothing = sites(z.C, z.F), sites(x.C, x.F), torch.zeros(3)
    both = here.keys() | there.keys()
    wanted = {s: here.get(s, nothing) + sign * there.get(s, nothing) for s in both}
    y = x + z if sign == 1 else x - z
    assert_same(sites(y.C, y.F), wanted)


@pytest.mark.parametrize("name", ["add", "sub", "mul", "truediv"])
def test_arithmetic_on_equal_coordinates_is_that_of_features(name):
    x = scene()
    z = ME.SparseTensor(
        features(20, 3, 1) + 1,
        coordinate_map_key=x.coordinate_map_key,
        coordinate_manager=x.coordinate_manager,
    )
    wanted = getattr(operator, name)(x.F, z.F)
    torch.testing.assert_close(getattr(operator, name)(x, z).F, wanted)
    torch.testing.assert_close(getattr(operator, f"i{name}")(x, z).F, wanted)


def test_arithmetic_in_place_and_cat_want_equal_coordinates():
    x = scene()
    z = elsewhere(x)
    for joined in (operator.iadd, operator.imul, ME.cat, ME.sum):
        with pytest.raises(AssertionError):
            joined(x, z)


@pytest.mark.parametrize("name", ["cat", "sum", "mean", "var"])
def test_tensors_of_one_key_are_joined_by_features(name):
    x = scene()
    y, z = ME.MinkowskiSigmoid()(x), ME.MinkowskiReLU()(x)
    rows = torch.stack([x.F, y.F, z.F])
    wanted = {
        "cat": torch.cat([*rows], 1),
        "sum": rows.sum(0),
        "mean": rows.mean(0),
        "var": rows.var(0, correction=0),
    }
    torch.testing.assert_close(getattr(ME, name)(x, y, z).F, wanted[name])


def test_tensors_of_one_key_have_the_same_coordinates():
    x = scene()
    z = ME.SparseTensor(
        features(20, 1),
        coordinate_map_key=x.coordinate_map_key,
        coordinate_manager=x.coordinate_manager,
    )
    assert torch.equal(z.C, x.C)


def test_the_shared_mode_lets_tensors_made_apart_be_added_until_it_is_cleared():
    assert ME.sparse_tensor_operation_mode() == (
        ME.SparseTensorOperationMode.SEPARATE_COORDINATE_MANAGER
    )
    assert scene().coordinate_manager is not scene().coordinate_manager
    ME.set_sparse_tensor_operation_mode(ME.SparseTensorOperationMode.SHARE_COORDINATE_MANAGER)
    try:
        x, z = scene(), scene()
        manager = ME.global_coordinate_manager()
        assert x.coordinate_manager is z.coordinate_manager is manager
        assert_same(sites((x + z).C, (x + z).F), sites(x.C, 2 * x.F))
        ME.clear_global_coordinate_manager()
        assert scene().coordinate_manager is not manager
    finally:
        ME.clear_global_coordinate_manager()
        ME.set_sparse_tensor_operation_mode(
            ME.SparseTensorOperationMode.SEPARATE_COORDINATE_MANAGER
        )


def test_a_manager_maps_rows_to_unique_coordinates_and_back():
    rows = torch.IntTensor([[0, 0], [0, 0], [0, 1], [0, 2]])
    manager = ME.CoordinateManager(D=1)
    key, (unique, inverse) = manager.insert_and_map(rows, [1])
    assert key.get_tensor_stride() == [1]
    assert torch.equal(rows[unique.long()], manager.get_coordinates(key))
    assert torch.equal(rows[unique.long()][inverse.long()], rows)
    unique, inverse = ME.utils.unique_coordinate_map(rows)
    assert len(unique) == 3 and torch.equal(rows[unique.long()][inverse.long()], rows)


def test_a_kernel_map_lists_the_input_and_output_rows_of_each_offset():
    x = scene()
    manager, key = x.coordinate_manager, x.coordinate_map_key
    coarse = manager.stride(key, [2, 2])
    maps = manager.kernel_map(key, coarse, stride=2, kernel_size=3)
    targets = manager.get_coordinates(coarse)
    found = set()
    for tap, (rows, places) in maps.items():
        for i, o in zip(rows.tolist(), places.tolist(), strict=True):
            found.add((tap, tuple(x.C[i].tolist()), tuple(targets[o].tolist())))
    there = {tuple(row) for row in x.C.tolist()}
    wanted = {
        (tap, moved(target, offset), target)
        for tap, offset in enumerate(box(3, 2))
        for target in map(tuple, targets.tolist())
        if moved(target, offset) in there
    }
    assert found == wanted


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_sparse_quantize_floors_by_its_size_and_drops_repeats(kind):
    places, rows = points()
    places = places[:, 1:]
    if kind == "numpy":
        places, rows = places.numpy(), rows.numpy()
    cells = np.floor(np.asarray(places) / 0.5).astype(int)
    quantized, kept, unique, inverse = ME.utils.sparse_quantize(
        places, rows, quantization_size=0.5, return_index=True, return_inverse=True
    )
    unique, inverse = np.asarray(unique), np.asarray(inverse)
    assert {tuple(c) for c in quantized.tolist()} == {tuple(c) for c in cells.tolist()}
    assert len(quantized) == len(np.unique(cells, axis=0))
    assert np.array_equal(np.asarray(quantized)[inverse], cells)
    assert np.array_equal(np.asarray(kept), np.asarray(rows)[unique])
    maps = ME.utils.sparse_quantize(places, quantization_size=0.5, return_maps_only=True)
    assert len(maps) == len(quantized)


def test_sparse_quantize_gives_the_ignore_label_where_labels_conflict():
    places = np.array([[0.1, 0.2], [0.3, 0.9], [1.5, 0.0], [1.6, 0.1], [2.0, 0.0]])
    labels = np.array([3, 4, 5, 5, 6], dtype=np.int32)
    cells, _, found = ME.utils.sparse_quantize(places, places, labels, ignore_label=-7)
    found = dict(zip(map(tuple, cells.tolist()), found.tolist(), strict=True))
    assert found == {(0, 0): -7, (1, 0): 5, (2, 0): 6}


def samples() -> list[tuple]:
    return [(voxels((9, 9), n, 1, n)[:, 1:], features(n, 2, n), torch.arange(n)) for n in (3, 5, 4)]


@pytest.mark.parametrize("way", ["batch_sparse_collate", "SparseCollation", "sparse_collate"])
def test_collation_puts_batch_indices_first_and_stacks_samples(way):
    if way == "sparse_collate":
        found = ME.utils.sparse_collate(*map(list, zip(*samples(), strict=True)))
    else:
        collate = getattr(ME.utils, way)
        collate = collate() if way == "SparseCollation" else collate
        (found,) = DataLoader(samples(), batch_size=3, collate_fn=collate)
    batch = torch.tensor([0] * 3 + [1] * 5 + [2] * 4)
    places, rows, labels = (torch.cat(part) for part in zip(*samples(), strict=True))
    wanted = torch.cat([batch[:, None], places], 1)
    for mine, theirs in zip(found, (wanted, rows, labels), strict=True):
        assert torch.equal(mine.to(theirs.dtype), theirs)
    assert torch.equal(ME.utils.batched_coordinates([c for c, *_ in samples()]), wanted.int())


def test_collation_leaves_out_samples_beyond_its_limit():
    places, *_ = ME.utils.SparseCollation(limit_numpoints=9)(samples())
    assert places[:, 0].tolist() == [0] * 3 + [1] * 5
