"""TorchSparse 2.1's cropping and global pooling, and the functions of its compiled module."""

import pytest
import torch

from gossamer.compat.torchsparse import SparseTensor, backend
from gossamer.compat.torchsparse import nn as spnn
from gossamer.compat.torchsparse.nn import functional as F

HALVES = (torch.float16, torch.bfloat16)
DTYPES = (torch.float32, torch.float64, *HALVES)
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12, torch.float16: 4e-3, torch.bfloat16: 3e-2}


def dice(seed=0):
    return torch.Generator().manual_seed(seed)


def rows_of(count, low=-4, high=5, samples=2, seed=0):
    """[count, 4] int32: batch, then places, in any order and with repeats."""
    batch = torch.randint(0, samples, (count, 1), generator=dice(seed))
    places = torch.randint(low, high, (count, 3), generator=dice(seed + 1))
    return torch.cat([batch, places], dim=1).int()


def numbers(*shape, dtype=torch.float64, seed=7):
    return torch.randn(*shape, generator=dice(seed), dtype=torch.float64).to(dtype)


def test_functions_of_the_compiled_module_are_these():
    rows, offsets = rows_of(20), torch.tensor([[1, 0, -1]]).int()
    voxels = torch.randint(-1, 5, (20,), generator=dice())
    counts, features = F.spcount(voxels, 5), numbers(20, 3).requires_grad_()
    found, weights = (
        torch.randint(-1, 20, (7, 8), generator=dice()).int(),
        torch.rand(7, 8).double(),
    )
    for kind in ("cpu", "cuda"):
        of = lambda name: getattr(backend, f"{name}_{kind}")  # noqa: B023, E731
        assert torch.equal(of("hash")(rows), F.sphash(rows))
        assert torch.equal(of("kernel_hash")(rows, offsets), F.sphash(rows, offsets))
        assert torch.equal(of("count")(voxels, 5), counts)
        y = F.spvoxelize(features, voxels, counts)
        assert torch.equal(of("voxelize_forward")(features, voxels, counts), y)
        (expected,) = torch.autograd.grad(y, features, torch.ones_like(y))
        back = of("voxelize_backward")(torch.ones_like(y), voxels, counts, 20)
        torch.testing.assert_close(back, expected)
        y = F.spdevoxelize(features, found, weights)
        assert torch.equal(of("devoxelize_forward")(features, found, weights), y)
        (expected,) = torch.autograd.grad(y, features, torch.ones_like(y))
        back = of("devoxelize_backward")(torch.ones_like(y), found, weights, 20)
        torch.testing.assert_close(back, expected)


def test_compiled_hash_queries_count_from_one():
    target, wanted = torch.tensor([7, 9, 7]), torch.tensor([9, 7, 8])
    assert backend.hash_query_cpu(wanted, target, torch.arange(3)).tolist() == [2, 1, 0]
    assert backend.hash_query_cuda(wanted, target[:0], torch.arange(0)).tolist() == [0, 0, 0]


def test_compiled_dense_grids_are_written_and_read_in_place():
    rows = torch.unique(rows_of(20, 0, 3), dim=0)
    features = numbers(len(rows), 2)
    grid, size = torch.full((2, 3, 3, 3, 2), 9.0).double(), torch.tensor([2, 3, 3, 3])
    backend.to_dense_forward_cuda(features, rows, size, grid)
    assert torch.equal(grid[rows.long().unbind(1)], features)
    assert (grid == 9).sum() == grid.numel() - features.numel()
    back = torch.empty_like(features)
    backend.to_dense_backward_cuda(grid, rows, size, back)
    assert torch.equal(back, features)


def test_cropping_takes_the_lower_bound_in_and_the_upper_one_out():
    rows, features = rows_of(80), numbers(80, 3)
    x = SparseTensor(features, rows, stride=2, spatial_range=(2, 9, 9, 9))
    y = spnn.SparseCrop((-2, 0, -4), (3, 4, 1))(x)
    kept = [
        i
        for i, (_, x_, y_, z_) in enumerate(rows.tolist())
        if -2 <= x_ < 3 and 0 <= y_ < 4 and -4 <= z_ < 1
    ]
    assert 0 < len(kept) < 80
    assert torch.equal(y.C, rows[kept]) and torch.equal(y.F, features[kept])
    assert y.s == (2, 2, 2) and tuple(y.spatial_range) == (2, 9, 9, 9)
    assert len(F.spcrop(x).C) == 80
    assert torch.equal(F.spcrop(x, coords_max=(3, 4, 1)).C[:, 1:].amax(0), torch.tensor([2, 3, 0]))
    with pytest.raises(ValueError, match=r"coords_min is \(1, 2\); wanted three numbers"):
        F.spcrop(x, (1, 2))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_global_pools_go_over_each_sample(dtype):
    rows = rows_of(60, samples=3)
    rows[rows[:, 0] == 1, 0] = 2  # sample 1 has no voxels
    features = numbers(60, 4, dtype=dtype) - 3  # so that a maximum is negative
    x = SparseTensor(features, rows)
    mean, most = spnn.GlobalAvgPool()(x), spnn.GlobalMaxPool()(x)
    for sample in (0, 2):
        own = features[rows[:, 0] == sample]
        torch.testing.assert_close(mean[sample], own.mean(0), atol=TOLERANCE[dtype], rtol=1e-2)
        assert torch.equal(most[sample], own.amax(0))
    assert mean.shape == (3, 4) and not mean[1].any() and not most[1].any()
    assert mean.dtype == most.dtype == dtype


def test_global_pools_have_a_row_for_every_sample_of_the_range():
    x = SparseTensor(numbers(5, 2), rows_of(5, samples=1), spatial_range=(4, 9, 9, 9))
    assert F.global_avg_pool(x).shape == F.global_max_pool(x).shape == (4, 2)
    empty = SparseTensor(numbers(0, 2), rows_of(0))
    assert F.global_avg_pool(empty).shape == (0, 2)
    with pytest.raises(ValueError, match="batch indices of coords go from 0 to 1; wanted 0 to 0"):
        F.global_max_pool(SparseTensor(numbers(9, 2), rows_of(9), spatial_range=(1, 9, 9, 9)))


def test_gradients_of_global_pools():
    rows, features = rows_of(9), numbers(9, 2).requires_grad_()
    for pool in (F.global_avg_pool, F.global_max_pool):
        assert torch.autograd.gradcheck(lambda x: pool(SparseTensor(x, rows)), features)  # noqa: B023
