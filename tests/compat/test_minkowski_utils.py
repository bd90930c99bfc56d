"""ME.utils: clouds into batches and cells, weights to begin with, tables of layers."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import gossamer.compat.minkowski as ME
from gossamer.compat.minkowski.backend import _C
from gossamer.compat.minkowski.utils.coords import get_coords_map
from gossamer.compat.minkowski.utils.gradcheck import gradcheck
from gossamer.compat.minkowski.utils.summary import minkowski_summary_string
from tests.compat.clouds_of_sites import cloud

KINDS = {"array": np.array, "tensor": torch.tensor}
SAMPLES = [[[0.5, -0.5], [2.0, 3.9]], [[-1.0, -1.5]]]


@pytest.mark.parametrize("kind", KINDS)
def test_coordinates_are_numbered_by_sample_and_rounded_down(kind):
    samples = [KINDS[kind](sample) for sample in SAMPLES]
    rows = ME.utils.batched_coordinates(samples)
    assert rows.dtype == torch.int32
    assert rows.tolist() == [[0, 0, -1], [0, 2, 3], [1, -1, -2]]
    exact = ME.utils.batched_coordinates(samples, dtype=torch.float32)
    assert exact.dtype == torch.float32
    torch.testing.assert_close(exact[:, 1:], torch.tensor([*SAMPLES[0], *SAMPLES[1]]))
    assert exact[:, 0].tolist() == [0, 0, 1]


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.float64, torch.uint8])
def test_coordinates_of_any_number_type_are_taken(dtype):
    samples = [torch.tensor([[1, 2]], dtype=dtype), torch.zeros(0, 2, dtype=dtype)]
    assert ME.utils.batched_coordinates(samples).tolist() == [[0, 1, 2]]


def test_coordinates_come_back_where_the_first_sample_lies():
    samples = [torch.zeros(2, 3, device="meta")]
    assert ME.utils.batched_coordinates(samples).device.type == "meta"
    assert ME.utils.batched_coordinates([torch.zeros(2, 3)], device="meta").device.type == "meta"


BAD_COORDINATES = {
    "coords is Tensor; wanted a sequence": torch.zeros(2, 3, 3),
    "coords has no samples": [],
    r"coords\[1\] is \[3\]; wanted": [torch.zeros(2, 3), torch.zeros(3)],
    r"have \[2, 3\] columns": [torch.zeros(2, 3), torch.zeros(2, 2)],
    r"coords\[0\] is list": [[[0, 0]]],
}


@pytest.mark.parametrize("message", BAD_COORDINATES)
def test_coordinates_that_can_not_be_batched_are_an_error(message):
    with pytest.raises(AssertionError, match=message):
        ME.utils.batched_coordinates(BAD_COORDINATES[message])
    with pytest.raises(AssertionError, match="dtype is torch"):
        ME.utils.batched_coordinates([torch.zeros(1, 3)], dtype=torch.float64)


def samples_of(counts, kind=torch.tensor):
    """A (coordinates, features, labels) for each count."""
    draw = np.random.default_rng(0)
    return [
        (
            kind(draw.integers(-9, 9, (n, 3))),
            kind(draw.standard_normal((n, 2))),
            kind(draw.integers(0, 5, n)),
        )
        for n in counts
    ]


@pytest.mark.parametrize("kind", KINDS.values())
def test_samples_are_collated(kind):
    samples = samples_of((4, 0, 3), kind)
    coords, feats, labels = (list(part) for part in zip(*samples, strict=True))
    rows, features, classes = ME.utils.sparse_collate(coords, feats, labels)
    assert torch.equal(rows, ME.utils.batched_coordinates(coords))
    assert features.tolist() == [f for sample in feats for f in sample.tolist()]
    assert classes.tolist() == [c for sample in labels for c in sample.tolist()]
    again = ME.utils.batch_sparse_collate(samples)
    for mine, other in zip(again, (rows, features, classes), strict=True):
        assert torch.equal(mine, other)
    assert len(ME.utils.sparse_collate(coords, feats)) == 2
    assert len(ME.utils.batch_sparse_collate([sample[:2] for sample in samples])) == 2


def test_labels_of_whole_samples_are_stacked_and_others_listed():
    coords, feats = [torch.zeros(2, 3)] * 2, [torch.zeros(2, 1)] * 2
    labels = [torch.tensor(3), torch.tensor(1)]
    assert ME.utils.sparse_collate(coords, feats, labels)[2].tolist() == [3, 1]
    assert ME.utils.sparse_collate(coords, feats, ["a", "b"])[2] == ["a", "b"]


def test_samples_that_do_not_fit_together_are_an_error():
    coords, feats = [torch.zeros(2, 3), torch.zeros(3, 3)], [torch.zeros(3, 1), torch.zeros(2, 1)]
    with pytest.raises(AssertionError, match=r"feats\[0\] has 3 rows and coords\[0\] 2"):
        ME.utils.sparse_collate(coords, feats)
    with pytest.raises(AssertionError, match="feats has 1 samples and coords 2"):
        ME.utils.sparse_collate(coords, feats[:1])
    with pytest.raises(AssertionError, match="labels has 1 samples and coords 2"):
        ME.utils.sparse_collate(coords, feats[::-1], [0])


def test_a_collation_stops_at_its_limit(caplog):
    samples = samples_of((4, 5, 3))
    whole = ME.utils.batch_sparse_collate(samples)
    for limit in (-1, 0, False, 12):
        rows = ME.utils.SparseCollation(limit)(samples)[0]
        assert torch.equal(rows, whole[0])
    assert not caplog.records
    rows, features, labels = ME.utils.SparseCollation(limit_numpoints=11)(samples)
    assert len(rows) == len(features) == len(labels) == 9
    assert "the first 2 samples with 9 points are kept" in caplog.text
    with pytest.raises(ValueError, match="the first sample of the batch has 4 points"):
        ME.utils.SparseCollation(3)(samples)


def test_a_collation_serves_a_loader():
    loader = torch.utils.data.DataLoader(
        samples_of((4, 5, 3)), batch_size=2, collate_fn=ME.utils.SparseCollation()
    )
    assert [len(rows) for rows, _, _ in loader] == [9, 3]


def by_hand(cells, labels=None, ignored=-100):
    """First rows, each row's number and labels, from a dictionary."""
    first, inverse, agreed = {}, [], {}
    for row, cell in enumerate(map(tuple, cells)):
        first.setdefault(cell, row)
        inverse.append(list(first).index(cell))
        if labels is not None:
            agreed[cell] = labels[row] if agreed.get(cell, labels[row]) == labels[row] else ignored
    return list(first.values()), inverse, list(agreed.values())


ROWS = st.lists(st.tuples(*[st.floats(-3, 3, width=32)] * 3, st.integers(0, 2)), min_size=1)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.sampled_from([None, 1, 0.7, (0.5, 1.0, 2.0)]), st.sampled_from(list(KINDS)))
def test_cells_and_labels_are_those_of_a_dictionary(rows, edge, kind):
    points = np.array([row[:3] for row in rows], dtype=np.float32)
    labels = np.array([row[3] for row in rows], dtype=np.int32)
    make = (lambda x: x) if kind == "array" else torch.from_numpy
    # As upstream: a tensor is divided in its own dtype, an array by NumPy's rules.
    scaled = points if edge is None else make(points) / (make(np.array(edge, np.float32)))
    if kind == "array" and isinstance(edge, tuple):
        scaled = points / np.array(edge)
    cells = np.floor(np.asarray(scaled)).astype(int)
    first, inverse, agreed = by_hand(cells.tolist(), labels.tolist(), 255)
    unique, features, classes, index, back = ME.utils.sparse_quantize(
        make(points), make(points), make(labels), 255, True, True, quantization_size=edge
    )
    assert unique.tolist() == cells[first].tolist()
    assert type(unique) is type(classes) is type(make(points))
    assert features.tolist() == points[first].tolist()
    assert (index.tolist(), back.tolist()) == (first, inverse)
    assert classes.tolist() == agreed
    plain, index, back = ME.utils.sparse_quantize(
        make(points), return_index=True, return_inverse=True, quantization_size=edge
    )
    assert isinstance(plain, torch.Tensor)
    assert plain.dtype == torch.int32
    assert plain.tolist() == unique.tolist()
    assert (index.tolist(), back.tolist()) == (first, inverse)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float32, np.float64, np.uint8])
def test_coordinates_to_quantize_may_have_any_number_type(dtype):
    points = np.array([[1, 2], [0, 0], [1, 2]], dtype=dtype)
    assert ME.utils.sparse_quantize(points).tolist() == [[1, 2], [0, 0]]
    assert ME.utils.sparse_quantize(points, quantization_size=2).tolist() == [[0, 1], [0, 0]]


@pytest.mark.parametrize("labels", [None, np.zeros(3, dtype=np.int64)])
def test_only_the_maps_are_returned_where_only_they_are_wanted(labels):
    points = np.array([[1, 2], [0, 0], [1, 2]])
    options = {"labels": labels, "return_maps_only": True}
    assert ME.utils.sparse_quantize(points, **options).tolist() == [0, 1]
    index, back = ME.utils.sparse_quantize(
        points, return_index=True, return_inverse=True, **options
    )
    assert (index.tolist(), back.tolist()) == ([0, 1], [0, 1, 0])


def test_labels_may_be_a_column():
    points, labels = np.array([[1, 2], [0, 0], [1, 2]]), np.array([[4], [5], [6]])
    assert ME.utils.sparse_quantize(points, labels=labels)[1].tolist() == [-100, 5]
    with pytest.raises(AssertionError, match=r"labels is \[3, 2\]; wanted \[N\] or \[N, 1\]"):
        ME.utils.sparse_quantize(points, labels=np.zeros((3, 2)))


def test_nothing_is_quantized_to_nothing():
    for points in (np.zeros((0, 3)), torch.zeros(0, 3)):
        cells, index, back = ME.utils.sparse_quantize(
            points, return_index=True, return_inverse=True
        )
        assert cells.shape == (0, 3)
        assert len(index) == len(back) == 0


def test_a_range_that_no_key_can_number_is_quantized():
    span = 2**31 - 1
    corners = torch.randint(-span, span, (50, 6), generator=torch.Generator().manual_seed(0))
    points = torch.cat([corners, corners.flip(0)]).int()
    cells, index, back = ME.utils.sparse_quantize(points, return_index=True, return_inverse=True)
    first, inverse, _ = by_hand(points.tolist())
    assert (index.tolist(), back.tolist()) == (first, inverse)
    assert torch.equal(cells, points[:50])


def test_rows_longer_than_a_key_are_told_apart_by_every_column():
    columns = 70
    points = torch.cat([torch.eye(columns), torch.zeros(1, columns), torch.ones(1, columns)])
    points = points.double() * (2**31 - 1)
    assert torch.equal(ME.utils.sparse_quantize(points), points.int())


BAD_QUANTIZATION = {
    "coordinates is list": ([[0, 0]], {}),
    r"coordinates is \[3\]": (np.zeros(3), {}),
    "features has 1 rows and coordinates 2": (np.zeros((2, 3)), {"features": np.zeros((1, 1))}),
    "labels has 1 rows and coordinates 2": (np.zeros((2, 3)), {"labels": np.zeros(1)}),
    "return_inverse is set and return_index is not": (np.zeros((2, 3)), {"return_inverse": True}),
    "quantization_size has 2 entries": (np.zeros((2, 3)), {"quantization_size": [1, 2]}),
}
WORSE_QUANTIZATION = {
    "not finite": (np.array([[0.0, math.nan]]), {}),
    "cells reach from -5e": (np.array([[-5e9, 0.0]]), {}),
    "cells reach from": (np.array([[2.0, 0.0]]), {"quantization_size": 1e-10}),
    "quantization_size is 0; wanted numbers above 0": (np.zeros((1, 3)), {"quantization_size": 0}),
    "quantization_size is str|quantization_size is a": (
        np.zeros((1, 3)),
        {"quantization_size": {1}},
    ),
    "device is 'meta'": (np.zeros((1, 3)), {"device": "meta"}),
}


@pytest.mark.parametrize("message", BAD_QUANTIZATION)
def test_arguments_that_do_not_fit_are_an_error(message):
    points, options = BAD_QUANTIZATION[message]
    with pytest.raises(AssertionError, match=message):
        ME.utils.sparse_quantize(points, **options)


@pytest.mark.parametrize("message", list(WORSE_QUANTIZATION)[:4])
def test_points_without_a_cell_are_an_error(message):
    points, options = WORSE_QUANTIZATION[message]
    with pytest.raises(ValueError, match=message):
        ME.utils.sparse_quantize(points, **options)


def test_other_sizes_and_devices_are_an_error():
    with pytest.raises(ValueError, match="quantization_size is set"):
        ME.utils.sparse_quantize(np.zeros((1, 3)), quantization_size={1})
    with pytest.raises(ValueError, match="device is 'meta'"):
        ME.utils.sparse_quantize(np.zeros((1, 3)), device="meta")


def test_distinct_coordinates_are_found():
    rows = torch.tensor([[0, 2, 2], [0, 0, 0], [0, 2, 2], [1, 2, 2]]).int()
    unique, back = ME.utils.unique_coordinate_map(rows)
    assert (unique.tolist(), back.tolist()) == ([0, 1, 3], [0, 1, 0, 2])
    with pytest.raises(AssertionError, match="wanted a tensor"):
        ME.utils.unique_coordinate_map([[0, 0]])


def test_the_compiled_module_quantizes_too():
    rows = np.array([[0, 0], [0, 0], [0, 0], [0, 1]], dtype=np.int32)
    labels = np.array([0, 1, 2, 3], dtype=np.int32)
    for result in (_C.quantize_np(rows), _C.quantize_th(torch.from_numpy(rows))):
        assert [x.tolist() for x in result] == [[0, 3], [0, 0, 0, 1]]
    by_label = _C.quantize_label_np(rows, labels, -1)
    assert all(x.dtype == np.int32 for x in by_label)
    as_tensors = _C.quantize_label_th(torch.from_numpy(rows), torch.from_numpy(labels), -1)
    assert all(x.dtype == torch.int64 for x in as_tensors)
    for result in (by_label, as_tensors):
        assert [x.tolist() for x in result] == [[0, 3], [0, 0, 0, 1], [-1, 3]]


def fnv(row):
    """A hash written out, with the integers of Python."""
    number = 14695981039346656037
    for value in row:
        number = (number * 1099511628211 % 2**64) ^ (value % 2**64)
    return number


def test_hashes_are_those_of_the_formula():
    rows = np.random.default_rng(0).integers(-(2**20), 2**20, (30, 4))
    for dtype in (np.int32, np.int64, np.float64):
        assert ME.utils.fnv_hash_vec(rows.astype(dtype)).tolist() == [fnv(r) for r in rows.tolist()]


def test_ravelled_rows_are_numbered_in_the_box_around_them():
    rows = np.array([[1, -2, 5], [0, 0, 5], [1, -1, 7]], dtype=np.int32)
    before = rows.copy()
    expected = np.ravel_multi_index((rows - rows.min(0)).T, rows.max(0) - rows.min(0) + 1)
    assert ME.utils.ravel_hash_vec(rows).tolist() == expected.tolist()
    assert (rows == before).all()
    assert len(ME.utils.ravel_hash_vec(rows[:0])) == 0
    wide = np.array([[-(2**31), 0], [2**31 - 1, 0]], dtype=np.int32)
    assert ME.utils.ravel_hash_vec(wide).tolist() == [0, 2**32 - 1]


@pytest.mark.parametrize(
    ("shape", "mode", "fan"),
    [
        ((27, 8, 16), "fan_in", 27 * 8),
        ((27, 8, 16), "fan_out", 27 * 16),
        ((8, 16), "fan_in", 16),
        ((8, 16), "fan_out", 8),
    ],
)
def test_kaiming_weights_have_the_deviation_of_their_fan(shape, mode, fan):
    tensor = torch.empty(shape)
    torch.manual_seed(4)
    made = ME.utils.kaiming_normal_(tensor, mode=mode, nonlinearity="relu")
    assert made is tensor
    torch.manual_seed(4)
    torch.testing.assert_close(tensor, torch.empty(shape).normal_(0, math.sqrt(2 / fan)))


def test_kaiming_takes_no_vector_and_no_other_mode():
    with pytest.raises(ValueError, match="wanted two axes"):
        ME.utils.kaiming_normal_(torch.empty(3))
    with pytest.raises(ValueError, match="mode is 'fan'"):
        ME.utils.kaiming_normal_(torch.empty(3, 3), mode="fan")


def test_a_summary_counts_every_parameter_once(capsys):
    relu = ME.MinkowskiPReLU()
    network = nn.Sequential(
        ME.MinkowskiConvolution(4, 6, 3, bias=True, dimension=3),
        relu,
        ME.MinkowskiBatchNorm(6),
        relu,
    )
    network[0].bias.requires_grad_(False)
    total, trainable = ME.utils.summary(network, cloud())
    assert total == 27 * 4 * 6 + 6 + 1 + 12
    assert trainable == total - 6
    printed = capsys.readouterr().out
    assert "MinkowskiConvolution-1" in printed
    assert "[33, 6]" in printed
    assert f"Total params: {total:,}" in printed
    assert not any(module._forward_hooks for module in network.modules())
    text, counts = minkowski_summary_string(network, cloud())
    assert counts == (total, trainable)
    assert text.strip() == printed.strip()


def test_a_gradient_check_finds_a_wrong_gradient():
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, *grads):
            return grads[0] * 3

    x = torch.ones(2, dtype=torch.float64, requires_grad=True)
    assert not gradcheck(Wrong, (x,), raise_exception=False)


def test_rows_of_a_tensor_and_of_its_strided_one_are_paired():
    x = cloud()
    y = ME.MinkowskiConvolution(4, 4, 2, 2, dimension=3)(x)
    rows, cells = get_coords_map(x, y)
    assert sorted(rows.tolist()) == list(range(len(x)))
    below = x.C[rows.long()].clone()
    below[:, 1:] = below[:, 1:].div(2, rounding_mode="floor") * 2
    assert torch.equal(below, y.C[cells.long()])
    with pytest.raises(AssertionError, match="different coordinate managers"):
        get_coords_map(x, cloud())
