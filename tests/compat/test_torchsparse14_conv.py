"""Convolutions of TorchSparse 1.4, against dense ones and against dictionaries in plain Python."""

from itertools import product
from math import floor, prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from torch.nn.functional import conv3d as dense_conv3d
from torch.nn.functional import pad

from gossamer.compat.torchsparse14 import SparseTensor
from gossamer.compat.torchsparse14.nn import Conv3d
from gossamer.compat.torchsparse14.nn.functional import conv3d, spdownsample
from gossamer.compat.torchsparse14.nn.utils import fapply, get_kernel_offsets
from gossamer.ops.dispatch import use_backend

SIZES = [1, 2, 3, 4, 5, (3, 1, 2), (1, 3, 3), (2, 3, 3), (1, 1, 3)]
STRIDES = [2, 3, (2, 1, 2), (1, 1, 2)]
HALVES = {torch.float16: 4e-3, torch.bfloat16: 3e-2}


def three(value):
    return (value,) * 3 if isinstance(value, int) else tuple(value)


def places(count=50, low=-4, high=6, samples=2, seed=0, scale=(1, 1, 1)):
    """[N, 4] int32: distinct (x, y, z, batch), in no order; of three samples the middle is bare."""
    dice = torch.Generator().manual_seed(seed)
    places = torch.randint(low, high, (count, 3), generator=dice) * torch.tensor(scale)
    batch = torch.randint(0, samples, (count, 1), generator=dice) * (2 if samples == 2 else 1)
    rows = torch.unique(torch.cat([places, batch], 1), dim=0)
    return rows[torch.randperm(len(rows), generator=dice)].int()


def numbers(*shape, seed=7):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def offsets_by_hand(size, step):
    """The taps as the library's documentation of its weights has them."""
    axes = [[(i - (k - 1) // 2) * s for i in range(k)] for k, s in zip(size, step, strict=True)]
    if prod(size) % 2:
        return [(x, y, z) for z in axes[2] for y in axes[1] for x in axes[0]]
    return list(product(*axes))


def sites_by_hand(coords, size, stride, tensor_stride=(1, 1, 1)):
    """The rows a strided kernel leads to, in order."""
    step = [t * s for t, s in zip(tensor_stride, stride, strict=True)]
    rows = coords.tolist()
    if all(s in (1, k) for s, k in zip(stride, size, strict=True)):
        found = {(b, *(floor(v / s) * s for v, s in zip(p, step, strict=True))) for *p, b in rows}
    else:
        least = [min(row[axis] for row in rows) for axis in range(3)]
        reached = [
            (b, *(v + o for v, o in zip(p, offset, strict=True)))
            for *p, b in rows
            for offset in offsets_by_hand(size, tensor_stride)
        ]
        found = {
            (b, *p)
            for b, *p in reached
            if all(v % s == 0 and v >= low for v, s, low in zip(p, step, least, strict=True))
        }
    return [[*p, b] for b, *p in sorted(found)]


def densely(coords, feats, weight, size, far, at):
    """[M, C_out]: a dense convolution of stride 1, read at the rows `at`."""
    reach = [k * f for k, f in zip(size, far, strict=True)]
    everything = torch.cat([coords, at]).long()
    low = everything.amin(0)
    low[3] = 0
    shape = (everything.amax(0) - low + 1).tolist()
    grid = feats.new_zeros(shape[3], *shape[:3], feats.shape[1])
    x, y, z, b = (coords.long() - low).unbind(1)
    grid[b, x, y, z] = feats
    grid = pad(grid.movedim(-1, 1), [r for r in reach[::-1] for _ in range(2)])
    start = [r - (k - 1) // 2 * f for r, k, f in zip(reach, size, far, strict=True)]
    if prod(size) % 2:  # x counts fastest
        kernel = weight.view(*size[::-1], *weight.shape[1:]).permute(4, 3, 2, 1, 0)
    else:
        kernel = weight.view(*size, *weight.shape[1:]).permute(4, 3, 0, 1, 2)
    found = dense_conv3d(grid, kernel, dilation=tuple(far)).movedim(1, -1)
    x, y, z, b = (at.long() - low).unbind(1)
    return found[b, x + start[0], y + start[1], z + start[2]]


@pytest.mark.parametrize(("tensor_stride", "dilation"), [(1, 1), (1, (1, 2, 3)), ((2, 1, 3), 2)])
@pytest.mark.parametrize("stride", [1, *STRIDES])
@pytest.mark.parametrize("size", SIZES)
def test_a_convolution_is_the_dense_one_at_its_sites(size, stride, tensor_stride, dilation):
    k, t, d = three(size), three(tensor_stride), three(dilation)
    coords = places(40, -2, 4, scale=t)
    feats, weight = numbers(len(coords), 3), numbers(prod(k), 3, 2, seed=1)
    x = SparseTensor(feats, coords, tensor_stride)
    y = conv3d(x, weight, size, stride=stride, dilation=dilation)
    far = [a * b for a, b in zip(t, d, strict=True)]
    assert y.stride == tuple(a * b for a, b in zip(t, three(stride), strict=True))
    if stride == 1:
        assert y.coords is coords
    torch.testing.assert_close(y.F, densely(coords, feats, weight, k, far, y.coords))


@given(
    size=some.tuples(*[some.integers(1, 5)] * 3),
    stride=some.tuples(*[some.integers(1, 4)] * 3),
    tensor_stride=some.sampled_from([(1, 1, 1), (2, 2, 2), (1, 2, 3)]),
    dilation=some.integers(1, 2),
    seed=some.integers(0, 99),
)
def test_a_strided_kernel_leads_to_the_sites_of_the_rule(
    size, stride, tensor_stride, dilation, seed
):
    coords = places(25, -7, 9, seed=seed, scale=tensor_stride)
    wanted = sites_by_hand(coords, size, stride, tensor_stride)
    found = spdownsample(coords, stride, size, tensor_stride)
    assert found.tolist() == wanted and found.dtype == coords.dtype
    if all(s == 1 for s in stride):
        return
    conv = Conv3d(1, 1, size, stride, dilation)
    out = conv(SparseTensor(torch.ones(len(coords), 1), coords, tensor_stride)).coords
    assert torch.equal(out, found)
    assert all(
        v % (t * s) == 0
        for row in out.tolist()
        for v, t, s in zip(row, tensor_stride, stride, strict=False)
    )


def test_a_size_of_three_at_stride_two_counts_more_sites_than_one_of_two():
    coords = places(200, -8, 8)
    counts = [len(spdownsample(coords, 2, size)) for size in (1, 2, 3)]
    assert counts[0] < counts[1] < counts[2]
    even = coords[(coords[:, :3] % 2 == 0).all(1)]
    assert counts[0] == len(even)


@pytest.mark.parametrize("size", SIZES)
def test_offsets_come_in_the_order_of_the_weight(size):
    found = get_kernel_offsets(size, (1, 2, 3), 2)
    wanted = offsets_by_hand(three(size), (2, 4, 6))
    assert found.tolist() == [list(o) for o in wanted] and found.dtype == torch.int32


@pytest.mark.parametrize("stride", [1, *STRIDES])
@pytest.mark.parametrize("size", SIZES)
def test_a_transposed_convolution_is_the_adjoint_and_goes_back(size, stride):
    coords, weight = places(), numbers(prod(three(size)), 3, 2, seed=1)
    x = SparseTensor(numbers(len(coords), 3), coords)
    y = conv3d(x, weight, size, stride=stride)
    given = fapply(y, lambda feats: numbers(*feats.shape, seed=2))
    back = conv3d(given, weight.mT, size, stride=stride, transposed=True)
    assert back.coords is coords and back.stride == (1, 1, 1)
    torch.testing.assert_close((y.F * given.F).sum(), (x.F * back.F).sum())


def test_a_transposed_convolution_goes_back_wherever_the_finer_sites_are_known():
    """Also along a kernel that led nowhere, and to sites that were only ever the input."""
    coords = places()
    x = SparseTensor(numbers(len(coords), 3), coords)
    y = conv3d(x, numbers(8, 3, 2), 2, stride=2)
    weight = numbers(27, 2, 3, seed=3)
    back = conv3d(y, weight, 3, stride=2, transposed=True)
    pairs = dict(enumerate(offsets_by_hand((3, 3, 3), (1, 1, 1))))
    coarse = {tuple(row): i for i, row in enumerate(y.C.tolist())}
    wanted = torch.zeros_like(x.F)
    for i, (*p, b) in enumerate(coords.tolist()):
        for tap, offset in pairs.items():
            j = coarse.get((*(v - o for v, o in zip(p, offset, strict=True)), b))
            if j is not None:
                wanted[i] += y.F[j] @ weight[tap]
    torch.testing.assert_close(back.F, wanted)
    # The map was not put where a convolution of the same size would take its sites from.
    again = conv3d(x, numbers(27, 3, 2), 3, stride=2)
    assert again.C.tolist() == sites_by_hand(coords, (3, 3, 3), (2, 2, 2))


def test_finer_sites_that_nobody_knows_are_an_error_that_names_the_way_out():
    coords = places(scale=(2, 2, 2))
    layer = torch.nn.Sequential(Conv3d(3, 2, 2, 2, transposed=True))
    x = SparseTensor(torch.randn(len(coords), 3), coords, 2)
    with pytest.raises(ValueError, match=r"in layer 0 \(Conv3d\).*cmaps"):
        layer(x)
    fine = places()
    x.cmaps[(1, 1, 1)] = fine
    assert layer(x).coords is fine
    with pytest.raises(ValueError, match="divides it"):
        layer(SparseTensor(torch.randn(len(coords), 3), coords, 3))


def test_the_second_strided_layer_of_a_kind_leads_to_the_same_sites():
    coords = places()
    x = SparseTensor(torch.randn(len(coords), 3), coords)
    one, two = Conv3d(3, 4, 2, 2), Conv3d(3, 4, 2, 2)
    y, z = one(x), two(x)
    assert y.C is z.C and len(y.F) == len(y.C)
    assert torch.equal((y + z).F, y.F + z.F)


def test_a_strided_kernel_onto_as_many_sites_as_there_were_is_no_submanifold_one():
    coords = torch.tensor([[0, 0, 0, 0], [3, 0, 0, 0]]).int()
    feats, weight = numbers(2, 3), numbers(3, 3, 2)
    y = conv3d(SparseTensor(feats, coords), weight, (3, 1, 1), stride=(2, 1, 1))
    assert y.C.tolist() == [[0, 0, 0, 0], [2, 0, 0, 0], [4, 0, 0, 0]]
    y = conv3d(SparseTensor(feats, coords + 1), weight, (3, 1, 1), stride=(2, 1, 1))
    assert y.C.tolist() == [[2, 1, 1, 1], [4, 1, 1, 1]]
    wanted = [feats[0] @ weight[0], feats[1] @ weight[1]]
    torch.testing.assert_close(y.F, torch.stack(wanted))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("size", "stride"), [(1, 1), (3, 1), (2, 1), (2, 2), (3, 2), (1, 2)])
def test_gradients_are_slopes(size, stride, transposed):
    coords = places(14, 0, 4)
    x = SparseTensor(numbers(len(coords), 2), coords)
    there = conv3d(x, numbers(prod(three(size)), 2, 2), size, stride=stride)
    start = there if transposed else x
    weight = numbers(prod(three(size)), 2, 3, seed=5)
    taken = [numbers(len(start.C), 2), weight, numbers(3)]

    def run(feats, weight, bias):
        given = fapply(start, lambda _: feats)
        return conv3d(given, weight, size, bias, stride, 1, transposed).F

    assert torch.autograd.gradcheck(run, [t.requires_grad_() for t in taken])


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(("size", "stride"), [(1, 1), (3, 1), (2, 2), (3, 2)])
def test_half_types_and_autocast_are_near(size, stride, dtype):
    coords = places()
    feats = numbers(len(coords), 4).float()
    conv = Conv3d(4, 5, size, stride, bias=True)
    wanted = conv(SparseTensor(feats, coords)).F
    with torch.autocast("cpu", dtype):
        cast = conv(SparseTensor(feats, coords)).F
    own = conv.to(dtype)(SparseTensor(feats.to(dtype), coords)).F
    for y in (cast, own):
        assert y.dtype == dtype
        torch.testing.assert_close(y.float(), wanted, rtol=0, atol=8 * HALVES[dtype])


@pytest.mark.parametrize("size", [2, 3])
def test_backends_agree(backend, size):
    coords = places()
    feats, weight = numbers(len(coords), 4).float(), numbers(size**3, 4, 3).float()
    x = SparseTensor(feats, coords)
    y = conv3d(conv3d(x, weight, size), weight.mT.contiguous(), size, stride=2)
    with use_backend("reference"):
        z = conv3d(SparseTensor(feats, coords), weight, size)
        z = conv3d(z, weight.mT.contiguous(), size, stride=2)
    torch.testing.assert_close(y.F, z.F, rtol=1e-4, atol=1e-4)


def net():
    return torch.nn.Sequential(Conv3d(3, 4, 3), Conv3d(4, 4, 2, 2), Conv3d(4, 4, 3, 2, 2, True))


@pytest.mark.parametrize("rows", [0, 1])
def test_nothing_and_a_single_row_pass_through(rows):
    coords = torch.tensor([[5, -3, 2, 1]]).int()[:rows]
    feats = torch.randn(rows, 3, requires_grad=True)
    layers = net()
    y = layers(SparseTensor(feats, coords))
    assert y.stride == (4, 4, 4) and len(y.F) == len(y.C) >= rows
    back = Conv3d(4, 3, 3, 2, transposed=True)(y)
    back = Conv3d(3, 3, 2, 2, transposed=True)(back)
    assert back.F.shape == (rows, 3) and back.C is coords
    back.F.sum().backward()
    assert feats.grad is not None and all(p.grad is not None for p in layers[0].parameters())


def test_int64_rows_keep_their_dtype_and_give_the_same():
    coords = places()
    feats, layers = torch.randn(len(coords), 3), net()
    short, long = (layers(SparseTensor(feats, c)) for c in (coords, coords.long()))
    assert long.C.dtype == torch.int64 and torch.equal(short.C, long.C.int())
    assert torch.equal(short.F, long.F)


def test_rows_in_another_order_are_the_same_rows():
    coords = places()
    order = torch.randperm(len(coords))
    feats, layers = torch.randn(len(coords), 3), net()
    y = layers(SparseTensor(feats, coords))
    z = layers(SparseTensor(feats[order], coords[order]))
    assert torch.equal(y.C, z.C) and torch.equal(y.F, z.F)
    kept = layers[0](SparseTensor(feats[order], coords[order])).F
    torch.testing.assert_close(kept, layers[0](SparseTensor(feats, coords)).F[order])


def test_rows_of_one_voxel_all_count():
    """Downwards they add up; where sites are kept, each sees itself, and of others the first."""
    coords = torch.tensor([[0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]).int()
    feats = numbers(3, 2)
    weight = numbers(8, 2, 2)
    down = conv3d(SparseTensor(feats, coords), weight, 2, stride=2)
    together = SparseTensor(torch.stack([feats[0] + feats[2], feats[1]]), coords[:2])
    torch.testing.assert_close(down.F, conv3d(together, weight, 2, stride=2).F)
    weight = numbers(3, 2, 2)
    y = conv3d(SparseTensor(feats, coords), weight, (3, 1, 1)).F
    wanted = [
        feats[0] @ weight[1] + feats[1] @ weight[2],
        feats[1] @ weight[1] + feats[0] @ weight[0],
        feats[2] @ weight[1] + feats[1] @ weight[2],
    ]
    torch.testing.assert_close(y, torch.stack(wanted))


def test_samples_never_meet():
    coords = places(samples=3)
    feats, layers = torch.randn(len(coords), 3), net()
    together = layers[0](SparseTensor(feats, coords)).F
    for sample in range(3):
        own = coords[:, 3] == sample
        alone = layers[0](SparseTensor(feats[own], coords[own])).F
        torch.testing.assert_close(together[own], alone)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"coords": torch.zeros(4, 4)}, TypeError, "floor"),
        ({"coords": torch.zeros(4, 3).int()}, ValueError, r"\(x, y, z, batch\)"),
        ({"coords": torch.tensor([[0, 0, 0, -1]] * 4).int()}, ValueError, "last column"),
        ({"coords": torch.zeros(5, 4).int()}, ValueError, "4 rows"),
        ({"feats": torch.zeros(4, 5)}, ValueError, r"\[N, C_in\]"),
        ({"kernel_size": 2}, ValueError, "taps"),
        ({"kernel_size": 0}, ValueError, "kernel_size"),
        ({"stride": 0}, ValueError, "stride"),
        ({"dilation": (1, 0, 1)}, ValueError, "dilation"),
        ({"stride": (2, 2)}, AssertionError, "3"),
        ({"bias": torch.zeros(3)}, ValueError, "bias"),
    ],
)
def test_what_does_not_fit_is_said_in_a_sentence(change, error, says):
    usual = {"feats": torch.zeros(4, 3), "coords": places()[:4], "kernel_size": 3}
    given = {"stride": 2, "dilation": 1, "bias": None, **usual, **change}
    x = SparseTensor(given.pop("feats"), given.pop("coords"))
    with pytest.raises(error, match=says):
        conv3d(x, torch.zeros(27, 3, 2), **given)


def test_coordinates_too_far_apart_are_an_error_and_no_crash():
    far = 2**31 - 9
    coords = torch.tensor([[-far, -far, -far, 0], [far, far, far, 0]]).int()
    with pytest.raises(ValueError, match="key"):
        Conv3d(1, 1)(SparseTensor(torch.ones(2, 1), coords))
