"""TorchSparse 2.1's helpers: quantising, collating, dense grids, tuples."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from hypothesis.extra.numpy import arrays

from gossamer.compat.torchsparse import SparseTensor
from gossamer.compat.torchsparse.utils import make_divisible, make_ntuple, make_tensor, to_dense
from gossamer.compat.torchsparse.utils.collate import sparse_collate, sparse_collate_fn
from gossamer.compat.torchsparse.utils.quantize import sparse_quantize


def voxels_by_hand(points, size):
    """{voxel: its points, in order}, sorted by voxel."""
    voxels = {}
    for row, point in enumerate(points.tolist()):
        cell = tuple(int(np.floor(p / s)) for p, s in zip(point, size, strict=True))
        voxels.setdefault(cell, []).append(row)
    return dict(sorted(voxels.items()))


POINTS = arrays(
    np.float64, some.tuples(some.integers(0, 40), some.just(3)), elements=some.floats(-9, 9)
)


@given(points=POINTS, size=some.sampled_from([1, 0.5, (0.5, 2.0, 1.25), 3]))
def test_quantising_gives_each_voxel_once_with_its_first_point(points, size):
    edges = size if isinstance(size, tuple) else (size,) * 3
    expected = voxels_by_hand(points, edges)
    voxels, index, inverse = sparse_quantize(points, size, return_index=True, return_inverse=True)
    assert [tuple(v) for v in voxels.tolist()] == list(expected)
    assert index.tolist() == [rows[0] for rows in expected.values()]
    numbers = {row: n for n, rows in enumerate(expected.values()) for row in rows}
    assert inverse.tolist() == [numbers[row] for row in range(len(points))]
    assert voxels.dtype == np.int32 and voxels.shape[1] == 3


def test_what_is_not_asked_for_does_not_come():
    points = np.array([[0.2, 0.3, -0.1], [5.0, 1.0, 1.0], [0.9, 0.0, -0.9]])
    assert isinstance(sparse_quantize(points), np.ndarray)
    assert sparse_quantize(points).tolist() == [[0, 0, -1], [5, 1, 1]]
    assert [len(part) for part in sparse_quantize(points, return_index=True)] == [2, 2]
    assert [len(part) for part in sparse_quantize(points, return_inverse=True)] == [2, 3]
    with pytest.raises(TypeError):
        sparse_quantize(points, 1, True)


@pytest.mark.parametrize("far", [2**20, 2**31 - 1])
def test_voxels_at_the_ends_of_int32_keep_apart_and_in_order(far):
    points = np.array([[far, -far, far], [-far, far, -far], [far, -far, far - 1], [0, 0, 0]])
    points = np.concatenate([points, points])
    voxels, index = sparse_quantize(points, return_index=True)
    assert voxels.tolist() == sorted(points[:4].tolist())
    assert sorted(index.tolist()) == [0, 1, 2, 3]


def test_quantising_takes_lists_tensors_and_sizes_of_numpy():
    points = [[0.0, 1.0, 2.5], [0.1, 1.1, 2.6]]
    for value in (points, torch.tensor(points), np.array(points, dtype=np.float32)):
        for size in (1, np.float32(1), [1, 1, 1], np.ones(3)):
            assert sparse_quantize(value, size).tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("points", "size", "message"),
    [
        ([[0.0, np.nan, 0.0]], 1, "row 0 is .*nan"),
        ([[0.0, 0.0, 0.0], [np.inf, 0.0, 0.0]], 1, "row 1"),
        ([[3e9, 0.0, 0.0]], 1, r"less than 2\*\*31 voxels"),
        ([0.0, 1.0], 1, r"wanted \[P, D\]"),
        ([[0.0, 1.0, 2.0]], 0, "voxel_size is 0"),
        ([[0.0, 1.0, 2.0]], (1, 1), r"voxel_size is \(1, 1\)"),
    ],
)
def test_what_cannot_be_quantised_says_why(points, size, message):
    with pytest.raises((ValueError, AssertionError), match=message):
        sparse_quantize(np.array(points), size)


def sample(count, seed, numpy=False, stride=1):
    rng = np.random.default_rng(seed)
    coords = rng.integers(-5, 5, (count, 3)).astype(np.int32)
    feats = rng.random((count, 2)).astype(np.float32)
    if not numpy:
        coords, feats = torch.from_numpy(coords), torch.from_numpy(feats)
    return SparseTensor(feats, coords, stride)


@pytest.mark.parametrize("numpy", [True, False])
def test_a_batch_is_its_samples_one_after_another(numpy):
    samples = [sample(n, n, numpy, stride=2) for n in (4, 0, 7)]
    before = [(s.coords, s.feats) for s in samples]
    batch = sparse_collate(samples)
    assert batch.C[:, 0].tolist() == [0] * 4 + [2] * 7
    assert batch.C.dtype == torch.int32 and batch.s == (2, 2, 2)
    for number, one in enumerate(samples):
        own = batch.C[:, 0] == number
        assert np.array_equal(batch.C[own, 1:], one.coords)
        assert np.array_equal(batch.F[own], one.feats)
    assert all(s.coords is c and s.feats is f for s, (c, f) in zip(samples, before, strict=True))


def test_samples_of_different_strides_make_no_batch():
    with pytest.raises(AssertionError, match="sample 1 has stride"):
        sparse_collate([sample(2, 0), sample(2, 0, stride=2)])
    with pytest.raises(ValueError, match="at least one SparseTensor"):
        sparse_collate([])


def test_collating_goes_by_name_and_by_what_is_there():
    inputs = [
        {
            "lidar": sample(n, n, numpy=True),
            "array": np.full(3, n),
            "tensor": torch.tensor([n, n]),
            "deeper": {"lidar": sample(n + 1, n), "label": n},
            "file": f"{n}.bin",
        }
        for n in (2, 5)
    ]
    batch = sparse_collate_fn(inputs)
    assert len(batch["lidar"].C) == 7 and batch["lidar"].C.shape[1] == 4
    assert batch["array"].tolist() == [[2, 2, 2], [5, 5, 5]]
    assert batch["tensor"].tolist() == [[2, 2], [5, 5]]
    assert len(batch["deeper"]["lidar"].C) == 9 and batch["deeper"]["label"] == [2, 5]
    assert batch["file"] == ["2.bin", "5.bin"]
    assert sparse_collate_fn([1, 2]) == [1, 2]


def test_samples_without_a_common_name_make_no_batch():
    with pytest.raises(ValueError, match="inputs is empty"):
        sparse_collate_fn([])
    with pytest.raises(ValueError, match=r"sample 1 has no \['a'\]"):
        sparse_collate_fn([{"a": 1, "b": 2}, {"b": 2}])


def test_a_loader_collates_in_its_workers():
    scans = [{"lidar": sample(n, n, numpy=True), "name": str(n)} for n in range(1, 5)]
    loader = torch.utils.data.DataLoader(
        scans, batch_size=2, collate_fn=sparse_collate_fn, num_workers=1
    )
    batches = list(loader)
    assert [len(b["lidar"].F) for b in batches] == [3, 7]
    assert batches[1]["name"] == ["3", "4"]


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str
)
def test_dense_grids_have_channels_last_and_of_several_rows_the_last(dtype):
    rows = torch.tensor([[0, 1, 2, 3], [1, 0, 0, 0], [0, 1, 2, 3]]).int()
    feats = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], dtype=dtype)
    grid = to_dense(feats, rows, (2, 2, 3, 4))
    assert grid.shape == (2, 2, 3, 4, 2) and grid.dtype == dtype
    assert grid[0, 1, 2, 3].tolist() == [5, 6] and grid[1, 0, 0, 0].tolist() == [3, 4]
    assert grid.count_nonzero() == 4


def test_gradients_of_dense_grids():
    rows = torch.tensor([[0, 1, 1, 0], [0, 0, 1, 1], [0, 1, 1, 0]])
    feats = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: to_dense(x, rows, (1, 2, 2, 2)), feats)
    assert to_dense(feats[:0], rows[:0], (1, 2, 2, 2)).count_nonzero() == 0


@pytest.mark.parametrize("row", [[0, -1, 0, 0], [0, 2, 0, 0], [1, 0, 0, 0], [-1, 0, 0, 0]])
def test_a_row_outside_of_the_grid_is_an_error(row):
    with pytest.raises(ValueError, match="wanted rows inside"):
        to_dense(torch.ones(1, 2), torch.tensor([row]), (1, 2, 2, 2))


def test_rows_and_features_must_be_as_many():
    with pytest.raises(ValueError, match="a row of coords for each of feats"):
        to_dense(torch.ones(2, 2), torch.zeros(1, 4).int(), (1, 2, 2, 2))


def test_tuples_are_made_of_numbers_lists_and_tensors():
    for value in (3, [3, 3, 3], (3, 3, 3), torch.tensor([[3, 3, 3]]), np.int64(3)):
        assert make_ntuple(value, 3) == (3, 3, 3)
    assert make_ntuple(torch.tensor(2), 1) == (2,)
    for value in ([1, 2], (1, 2), torch.tensor(2), "abc"):
        with pytest.raises(AssertionError):
            make_ntuple(value, 3)


def test_tensors_are_their_own():
    one = make_tensor((1, 2, 3), dtype=torch.int32, device="cpu")
    one.zero_()
    assert make_tensor((1, 2, 3), torch.int32, "cpu").tolist() == [1, 2, 3]


def test_multiples_round_up():
    assert [make_divisible(x, 16) for x in (0, 1, 16, 17)] == [0, 16, 16, 32]
