"""Points and voxels of TorchSparse 1.4, against dictionaries and loops in plain Python."""

from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from gossamer.compat.torchsparse14 import PointTensor, SparseTensor, backend, cat
from gossamer.compat.torchsparse14 import nn as spnn
from gossamer.compat.torchsparse14.nn import functional as F
from gossamer.compat.torchsparse14.nn.utils import fapply, get_kernel_offsets
from gossamer.compat.torchsparse14.utils.collate import sparse_collate, sparse_collate_fn
from gossamer.compat.torchsparse14.utils.quantize import sparse_quantize
from tests.compat.test_torchsparse14_conv import places


def hash_by_hand(row):
    """FNV-1a over four words, whose highest 4 bits are folded into the lower 60."""
    value = 14695981039346656037
    for number in row:
        value = (value ^ (number % 2**32)) * 1099511628211 % 2**64
    return (value >> 60) ^ (value % 2**60)


def test_a_hash_is_fnv_of_the_row_folded_to_sixty_bits():
    rows = places(80, -(2**31), 2**31 - 1, samples=3)
    assert F.sphash(rows).tolist() == [hash_by_hand(row) for row in rows.tolist()]
    assert F.sphash(rows).dtype == torch.int64 and F.sphash(rows[:0]).shape == (0,)
    assert torch.equal(F.sphash(rows.long()), F.sphash(rows))


def test_offsets_move_x_y_and_z_and_every_row_keeps_its_own_batch():
    rows, offsets = places(samples=3), get_kernel_offsets(2, 3)
    wanted = [
        [hash_by_hand([x + i, y + j, z + k, b]) for x, y, z, b in rows.tolist()]
        for i, j, k in offsets.tolist()
    ]
    assert len(set(rows[:, 3].tolist())) == 3
    assert F.sphash(rows, offsets).tolist() == wanted


def test_hashes_refuse_what_is_no_row():
    with pytest.raises(TypeError, match="int32"):
        F.sphash(torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"\[N, 4\]"):
        F.sphash(torch.zeros(2, 3).int())
    with pytest.raises(ValueError, match=r"\[N, 3\]"):
        F.sphash(torch.zeros(2, 4).int(), torch.zeros(2, 4).int())


def test_a_query_finds_the_first_row_or_none():
    references = torch.tensor([7, 3, 7, 9, 0])
    queries = torch.tensor([[9, 7], [5, 0]])
    found = F.sphashquery(queries, references)
    assert found.tolist() == [[3, 0], [-1, 4]] and found.dtype == torch.int64
    assert F.sphashquery(queries, references[:0]).tolist() == [[-1, -1], [-1, -1]]


def cloud(count=60, samples=2, seed=0):
    """[P, 4] float: (x, y, z, batch), in and around the voxels that `voxels` gives."""
    dice = torch.Generator().manual_seed(seed)
    batch = torch.randint(0, samples, (count, 1), generator=dice).float()
    return torch.cat([torch.rand(count, 3, generator=dice) * 8 - 3, batch], 1)


@pytest.mark.parametrize("scale", [1, 2])
def test_trilinear_weights_have_a_line_a_corner(scale):
    points = cloud()
    rows = places(400, -4, 6)
    rows[:, 3] %= 2
    rows[:, :3] *= scale
    rows = torch.unique(rows, dim=0)
    offsets = get_kernel_offsets(2, scale)
    base = torch.cat([(points[:, :3] / scale).floor() * scale, points[:, 3:]], 1).int()
    found = F.sphashquery(F.sphash(base, offsets), F.sphash(rows))
    weights = F.calc_ti_weights(points, found, scale)
    assert weights.shape == (8, 60) == found.shape and weights.is_contiguous()
    there = {tuple(row): i for i, row in enumerate(rows.tolist())}
    feats = torch.randn(len(rows), 3)
    out = F.spdevoxelize(feats, found.t().contiguous(), weights.t().contiguous())
    for p, (x, y, z, b) in enumerate(points.tolist()):
        low = [int(v // scale) * scale for v in (x, y, z)]
        shares = {}
        for corner, step in enumerate(product((0, 1), repeat=3)):
            inner = [(v - c) / scale for v, c in zip((x, y, z), low, strict=True)]
            share = np.prod([f if s else 1 - f for f, s in zip(inner, step, strict=True)])
            at = (*(c + s * scale for c, s in zip(low, step, strict=True)), int(b))
            assert found[corner, p] == there.get(at, -1)
            shares[corner] = share if at in there else 0.0
        total = sum(shares.values())
        wanted = [share / total if total else 0.0 for share in shares.values()]
        np.testing.assert_allclose(weights[:, p], wanted, atol=1e-4)
        mixed = sum(w * feats[found[k, p]] for k, w in enumerate(wanted) if w)
        torch.testing.assert_close(out[p], torch.zeros(3) + mixed, rtol=0, atol=1e-3)
    with pytest.raises(ValueError, match=r"\[8, P\]"):
        F.calc_ti_weights(points, found.t(), scale)


def initial_voxelize(z):
    hashes = F.sphash(torch.floor(z.C).int())
    distinct = torch.unique(hashes)
    row = F.sphashquery(hashes, distinct)
    counts = F.spcount(row.int(), len(distinct))
    coords = F.spvoxelize(torch.floor(z.C), row, counts).round().int()
    x = SparseTensor(F.spvoxelize(z.F, row, counts), coords, 1)
    x.cmaps.setdefault(x.stride, x.coords)
    z.additional_features["idx_query"][1], z.additional_features["counts"][1] = row, counts
    return x


def base(z, x):
    places = torch.floor(z.C[:, :3] / x.s[0]).int() * x.s[0]
    return torch.cat([places, z.C[:, -1:].int()], 1)


def point_to_voxel(x, z):
    kept = z.additional_features
    if kept["idx_query"].get(x.s) is None:
        row = F.sphashquery(F.sphash(base(z, x)), F.sphash(x.C))
        kept["idx_query"][x.s], kept["counts"][x.s] = row, F.spcount(row.int(), x.C.shape[0])
    new = SparseTensor(F.spvoxelize(z.F, kept["idx_query"][x.s], kept["counts"][x.s]), x.C, x.s)
    new.cmaps, new.kmaps = x.cmaps, x.kmaps
    return new


def voxel_to_point(x, z):
    if z.idx_query.get(x.s) is None:
        row = F.sphashquery(F.sphash(base(z, x), get_kernel_offsets(2, x.s, 1)), F.sphash(x.C))
        z.weights[x.s] = F.calc_ti_weights(z.C, row, scale=x.s[0]).t().contiguous()
        z.idx_query[x.s] = row.t().contiguous()
    new = PointTensor(
        F.spdevoxelize(x.F, z.idx_query[x.s], z.weights[x.s]), z.C, z.idx_query, z.weights
    )
    new.additional_features = z.additional_features
    return new


class PointVoxel(nn.Module):
    """A network of two branches, as SPVCNN is built in this dialect."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(spnn.Conv3d(4, 6), spnn.BatchNorm(6), spnn.ReLU(True))
        self.down = nn.Sequential(spnn.Conv3d(6, 8, 2, 2), spnn.BatchNorm(8), spnn.ReLU(True))
        self.up = spnn.Conv3d(8, 6, 2, 2, transposed=True)
        self.merge, self.points = spnn.Conv3d(12, 5), nn.Linear(6, 8)

    def forward(self, z):
        skip = self.stem(initial_voxelize(z))
        z0 = voxel_to_point(skip, z)
        x = self.down(point_to_voxel(skip, z0))
        z1 = voxel_to_point(x, z0)
        z1.F = z1.F + self.points(z0.F)
        x = self.up(point_to_voxel(x, z1))
        x = self.merge(cat((x, skip)))
        return voxel_to_point(x, z1), x


@pytest.mark.parametrize("training", [True, False])
def test_a_network_of_voxels_and_points_learns(training):
    net, z = PointVoxel().train(training), PointTensor(torch.randn(60, 4), cloud())
    z.F.requires_grad_()
    out, x = net(z)
    assert out.F.shape == (60, 5) and out.C is z.C and out.idx_query is z.idx_query
    assert set(z.idx_query) == {(1, 1, 1), (2, 2, 2)} == set(z.weights)
    assert len(x.F) == len({tuple(row) for row in z.C.floor().int().tolist()})
    out.F.square().sum().backward()
    assert z.F.grad.isfinite().all() and z.F.grad.any()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name


def test_such_a_network_does_not_depend_on_the_order_of_points():
    net, points, feats = PointVoxel().eval(), cloud(), torch.randn(60, 4)
    order = torch.randperm(60)
    y = net(PointTensor(feats, points))[0].F
    z = net(PointTensor(feats[order], points[order]))[0].F
    torch.testing.assert_close(z, y[order], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_quantizing_floors_from_the_lowest_on_and_says_which_and_where(dtype):
    points = (np.random.default_rng(0).random((200, 3)) * 9 - 5).astype(dtype)
    voxels, index, inverse = sparse_quantize(points, 0.7, return_index=True, return_inverse=True)
    cells = np.floor(points / 0.7).astype(np.int32)
    cells -= cells.min(axis=0)
    assert voxels.dtype == np.int32 and (voxels.min(axis=0) == 0).all()
    assert (voxels[inverse] == cells).all() and (cells[index] == voxels).all()
    assert [tuple(v) for v in voxels] == sorted({tuple(c) for c in cells})
    assert (sparse_quantize(points, (0.7,) * 3) == voxels).all()


def test_collating_puts_the_sample_last():
    samples = [
        {
            "lidar": SparseTensor(np.ones((n, 4), np.float32), np.full((n, 3), n, np.int32), 2),
            "more": {"label": np.arange(3), "name": f"scan {n}"},
            "weight": torch.ones(2),
        }
        for n in (2, 3)
    ]
    batch = sparse_collate_fn(samples)
    assert batch["lidar"].C.tolist() == [[2, 2, 2, 0]] * 2 + [[3, 3, 3, 1]] * 3
    assert batch["lidar"].C.dtype == torch.int32
    assert batch["lidar"].F.shape == (5, 4) and batch["lidar"].s == (2, 2, 2)
    assert batch["more"]["label"].shape == (2, 3) and batch["more"]["name"] == ["scan 2", "scan 3"]
    assert batch["weight"].shape == (2, 2) and sparse_collate_fn([1, 2]) == [1, 2]
    other = SparseTensor(torch.ones(1, 4), torch.ones(1, 3).int())
    with pytest.raises(AssertionError, match="stride"):
        sparse_collate([samples[0]["lidar"], other])
    with pytest.raises(ValueError, match="empty"):
        sparse_collate([])


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("size", [2, 3])
def test_the_compiled_names_convolve_along_a_kernel_map(size, transpose):
    coords = places()
    x = SparseTensor(torch.randn(len(coords), 3, dtype=torch.float64), coords)
    y = F.conv3d(x, torch.zeros(size**3, 3, 2, dtype=torch.float64), size, stride=2)
    pairs, counts, sizes = next(iter(x.kmaps.values()))
    given = torch.randn(len((y if transpose else x).C), 3, dtype=torch.float64, requires_grad=True)
    start = fapply(y if transpose else x, lambda _: given)
    weight = torch.randn(size**3, 3, 2, dtype=torch.float64, requires_grad=True)
    wanted = F.conv3d(start, weight, size, stride=2, transposed=transpose).F
    out = torch.full_like(wanted, torch.nan).detach()
    backend.convolution_forward_cuda(given, out, weight, pairs.int(), counts.int(), transpose)
    torch.testing.assert_close(out, wanted.detach())
    grad = torch.randn_like(out)
    grads = torch.empty(0, dtype=torch.float64), torch.full_like(weight, torch.nan).detach()
    backend.convolution_backward_cpu(
        given, grads[0], grad, weight, grads[1], pairs.int(), counts.int(), transpose
    )
    for found, right in zip(grads, torch.autograd.grad(wanted, (given, weight), grad), strict=True):
        torch.testing.assert_close(found, right)
    assert sizes == (len(x.C), len(y.C))
    with pytest.raises(ValueError, match="rows"):
        backend.convolution_forward_cpu(given, out, weight, pairs, counts, not transpose)
    with pytest.raises(ValueError, match="as many pairs"):
        backend.convolution_forward_cpu(given, out, weight, pairs[1:], counts, transpose)


def test_the_other_compiled_names_are_the_functions():
    rows = places()
    offsets = get_kernel_offsets(3)
    assert torch.equal(backend.hash_cpu(rows), F.sphash(rows))
    assert torch.equal(backend.kernel_hash_cuda(rows, offsets), F.sphash(rows, offsets))
    hashes = F.sphash(rows)
    found = backend.hash_query_cpu(hashes.flip(0), hashes, torch.arange(len(rows)))
    assert torch.equal(found - 1, torch.arange(len(rows)).flip(0))
    assert backend.count_cpu(torch.tensor([1, 1, -1]).int(), 3).tolist() == [0, 2, 0]
