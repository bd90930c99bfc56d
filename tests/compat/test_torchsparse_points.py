"""TorchSparse 2.1's point functions, against dictionaries and loops in plain Python."""

from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from gossamer.compat.pointcells.fnv import folded
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


def fnv_by_hand(row):
    value = 14695981039346656037
    for number in row:
        value = (value ^ (number % 2**32)) * 1099511628211 % 2**64
    return value - 2**64 if value >= 2**63 else value


def test_a_hash_is_fnv_of_four_words():
    rows = rows_of(200, -(2**31), 2**31 - 1)
    assert F.sphash(rows).tolist() == [fnv_by_hand(row) for row in rows.tolist()]
    assert F.sphash(rows).dtype == torch.int64
    assert F.sphash(rows[:0]).shape == (0,)


def test_offsets_move_x_y_and_z_and_never_the_batch():
    rows, offsets = rows_of(40), torch.tensor([[0, 0, 0], [1, -2, 3], [-1, 0, 7]]).int()
    expected = [
        [fnv_by_hand([b, x + i, y + j, z + k]) for b, x, y, z in rows.tolist()]
        for i, j, k in offsets.tolist()
    ]
    assert F.sphash(rows, offsets).tolist() == expected
    assert F.sphash(rows[:0], offsets).shape == (3, 0)
    assert torch.equal(F.sphash(rows.long(), offsets.long()), F.sphash(rows, offsets))


def test_hashes_of_what_scans_reach_do_not_collide():
    axis = torch.tensor([*range(-40, 41, 3), -2000, -1999, 1999, 2000], dtype=torch.int32)
    rows = torch.cartesian_prod(torch.arange(3, dtype=torch.int32), axis, axis, axis)
    assert len(F.sphash(rows).unique()) == len(rows)
    assert len(folded(F.sphash(rows)).unique()) == len(rows)


@given(seed=some.integers(0, 1000))
def test_equal_rows_and_they_alone_have_equal_hashes(seed):
    rows = rows_of(60, -3, 3, seed=seed)
    same = (rows.unsqueeze(0) == rows.unsqueeze(1)).all(2)
    keys = F.sphash(rows)
    assert torch.equal(keys.unsqueeze(0) == keys.unsqueeze(1), same)


def test_a_folded_hash_is_never_negative_and_keeps_its_lowest_bits():
    keys = torch.tensor([0, -1, 1 << 60, -(1 << 63), 12345])
    expected = [(key % 2**64 >> 60) ^ (key % 2**60) for key in keys.tolist()]
    assert folded(keys).tolist() == expected


@given(seed=some.integers(0, 1000), shape=some.sampled_from([(30,), (3, 10), (0,), (2, 1, 5)]))
def test_a_query_finds_the_first_reference_that_equals_it(seed, shape):
    draw = torch.randint(-5, 6, (25,), generator=dice(seed)) * (1 << 59)
    wanted = torch.randint(-7, 8, shape, generator=dice(seed + 1)) * (1 << 59)
    first = {}
    for row, key in enumerate(draw.tolist()):
        first.setdefault(key, row)
    expected = [first.get(key, -1) for key in wanted.flatten().tolist()]
    found = F.sphashquery(wanted, draw)
    assert found.shape == wanted.shape
    assert found.flatten().tolist() == expected


def test_nothing_is_found_among_no_references():
    assert F.sphashquery(torch.tensor([[0, 5]]), torch.empty(0, dtype=torch.int64)).tolist() == [
        [-1, -1]
    ]


def test_a_query_of_shifted_hashes_finds_neighbours():
    rows = torch.unique(rows_of(60, -2, 3), dim=0)
    offsets = torch.tensor(list(product((-1, 0, 1), repeat=3))).int()
    there = {tuple(row): i for i, row in enumerate(rows.tolist())}
    found = F.sphashquery(F.sphash(rows, offsets), F.sphash(rows))
    expected = [
        [there.get((b, x + i, y + j, z + k), -1) for b, x, y, z in rows.tolist()]
        for i, j, k in offsets.tolist()
    ]
    assert found.tolist() == expected


def test_counts_leave_negative_numbers_out():
    voxels = torch.tensor([3, -1, 0, 3, -7, 1, 3]).int()
    assert F.spcount(voxels, 5).tolist() == [1, 1, 0, 3, 0]
    assert F.spcount(voxels, torch.tensor(5)).dtype == torch.int32
    assert F.spcount(voxels[:0], 2).tolist() == [0, 0]
    with pytest.raises(ValueError, match="num is 3; wanted cells below num"):
        F.spcount(voxels, 3)


def means_by_hand(features, voxels, count):
    inside = [[f for f, v in zip(features, voxels.tolist(), strict=True) if v == n] for n in count]
    return torch.stack([torch.stack(f).mean(0) if f else 0 * features[0] for f in inside])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_voxels_are_means_of_their_points(backend, dtype):
    voxels = torch.randint(-2, 9, (50,), generator=dice())
    features = numbers(50, 3, dtype=dtype)
    counts = F.spcount(voxels, 10)
    y = F.spvoxelize(features, voxels, counts)
    expected = means_by_hand(features.double(), voxels, range(10))
    assert y.dtype == dtype
    torch.testing.assert_close(y.double(), expected, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_the_mean_of_a_constant_is_that_constant_in_half_types(dtype):
    voxels = torch.arange(3000) % 7
    features = torch.full((3000, 2), 1.7, dtype=dtype)
    assert torch.equal(F.spvoxelize(features, voxels, F.spcount(voxels, 7)), features[:7])


def test_points_beyond_the_last_voxel_are_left_out_and_counts_of_zero_give_zero(backend):
    features = torch.ones(4, 1)
    voxels = torch.tensor([0, 5, 1, -1])
    assert F.spvoxelize(features, voxels, torch.tensor([1, 0])).tolist() == [[1.0], [0.0]]
    assert F.spvoxelize(features[:0], voxels[:0], torch.zeros(3).int()).tolist() == [[0.0]] * 3


def test_gradients_of_voxelize(backend):
    voxels = torch.randint(-1, 5, (12,), generator=dice())
    counts = F.spcount(voxels, 6)
    features = numbers(12, 2).requires_grad_()
    function = lambda x: F.spvoxelize(x, voxels, counts)  # noqa: E731
    assert torch.autograd.gradcheck(function, features)
    assert torch.autograd.gradgradcheck(function, features)


def weights_by_hand(place, found):
    inner = [p - p // 1 for p in place]
    weights = [
        0.0
        if row < 0
        else torch.tensor([i if up else 1 - i for i, up in zip(inner, corner, strict=True)])
        .double()
        .prod()
        .item()
        for corner, row in zip(product((0, 1), repeat=3), found, strict=True)
    ]
    return [weight / (sum(weights) + 1e-8) for weight in weights]


@pytest.mark.parametrize("edge", [1, 2, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_are_trilinear_and_share_what_is_missing(edge, dtype):
    places = (numbers(40, 3, dtype=dtype) * 5) * edge
    found = torch.randint(-1, 3, (40, 8), generator=dice()).clamp(-1, 0).int()
    weights = F.calc_ti_weights(places, found, scale=edge)
    expected = [
        weights_by_hand([p / edge for p in place], rows)
        for place, rows in zip(places.double().tolist(), found.tolist(), strict=True)
    ]
    assert weights.dtype == dtype
    torch.testing.assert_close(weights.double(), torch.tensor(expected).double(), atol=2e-6, rtol=0)


def test_a_point_on_a_voxel_has_that_voxel_alone():
    weights = F.calc_ti_weights(torch.tensor([[3.0, -2.0, 7.0]]), torch.zeros(1, 8).int())
    torch.testing.assert_close(weights, torch.eye(8)[:1])


def test_a_point_without_voxels_has_weights_of_zero():
    weights = F.calc_ti_weights(torch.rand(3, 3), torch.full((3, 8), -1))
    assert not weights.any()
    assert F.calc_ti_weights(torch.rand(0, 3), torch.zeros(0, 8).int()).shape == (0, 8)


def test_weights_far_from_the_origin_are_as_exact_as_near_it():
    near = torch.rand(20, 3, generator=dice(), dtype=torch.float64)
    found = torch.zeros(20, 8).int()
    far = F.calc_ti_weights(near + 2.0**25, found)
    torch.testing.assert_close(far, F.calc_ti_weights(near, found), atol=1e-7, rtol=0)


def test_weights_take_places_in_half_types_and_whole_numbers():
    found = torch.zeros(2, 8).int()
    places = torch.rand(2, 3).half()
    weights = F.calc_ti_weights(places, found, scale=0.3)
    assert weights.dtype == torch.float32
    torch.testing.assert_close(weights, F.calc_ti_weights(places.double(), found, 0.3).float())
    assert F.calc_ti_weights(torch.tensor([[1, 2, 3], [4, 5, 6]]), found)[:, 0].allclose(
        torch.ones(2)
    )


def corners_of(points, rows):
    """[P, 8]: the row of each voxel around each point (batch first), by dictionary."""
    there = {tuple(row): i for i, row in enumerate(rows.tolist())}
    found = [
        [
            there.get((int(b), x // 1 + i, y // 1 + j, z // 1 + k), -1)
            for i, j, k in product((0, 1), repeat=3)
        ]
        for b, x, y, z in points.tolist()
    ]
    return torch.tensor(found).int()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_points_are_weighted_sums_of_voxels(backend, dtype):
    found = torch.randint(-1, 6, (30, 8), generator=dice()).int()
    weights, features = torch.rand(30, 8, generator=dice()).to(dtype), numbers(6, 3, dtype=dtype)
    expected = torch.zeros(30, 3).double()
    for point, corner in product(range(30), range(8)):
        if (row := found[point, corner]) >= 0:
            expected[point] += weights[point, corner].double() * features[row].double()
    y = F.spdevoxelize(features, found, weights)
    assert y.dtype == dtype
    torch.testing.assert_close(y.double(), expected, atol=4 * TOLERANCE[dtype], rtol=0)


def test_constants_stay_constant_from_voxels_to_points():
    rows = torch.unique(rows_of(150, -2, 3), dim=0)
    points = torch.cat(
        [
            torch.randint(0, 2, (80, 1), generator=dice()).double(),
            torch.rand(80, 3, generator=dice(3), dtype=torch.float64) * 4 - 2,
        ],
        dim=1,
    )
    found = corners_of(points, rows)
    weights = F.calc_ti_weights(points[:, 1:], found)
    y = F.spdevoxelize(torch.full((len(rows), 2), 2.5).double(), found, weights)
    near = (found >= 0).any(1)
    assert near.sum() > 40
    torch.testing.assert_close(y[near], torch.full_like(y[near], 2.5), atol=1e-4, rtol=0)
    assert not y[~near].any()


def test_linear_functions_come_back_exactly_where_all_corners_are_there():
    rows = torch.tensor(list(product([0], range(-2, 3), range(-2, 3), range(-2, 3)))).int()
    points = torch.rand(30, 3, generator=dice(), dtype=torch.float64) * 4 - 2
    found = corners_of(torch.cat([torch.zeros(30, 1).double(), points], 1), rows)
    y = F.spdevoxelize(rows[:, 1:].double(), found, F.calc_ti_weights(points, found))
    torch.testing.assert_close(y, points, atol=1e-6, rtol=0)


def test_gradients_of_devoxelize(backend):
    found = torch.randint(-1, 5, (9, 8), generator=dice()).int()
    features, weights = numbers(5, 2).requires_grad_(), numbers(9, 8).requires_grad_()
    function = lambda x, w: F.spdevoxelize(x, found, w)  # noqa: E731
    assert torch.autograd.gradcheck(function, (features, weights))


def test_devoxelize_without_voxels_or_points():
    none = torch.full((3, 8), -1)
    assert F.spdevoxelize(torch.ones(0, 2), none, torch.ones(3, 8)).tolist() == [[0.0, 0.0]] * 3
    assert F.spdevoxelize(torch.ones(4, 2), none[:0], torch.ones(0, 8)).shape == (0, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: F.sphash(torch.zeros(3, 3).int()), r"coords has shape \(3, 3\); wanted \[N, 4\]"),
        (lambda: F.sphash(torch.zeros(3, 4)), "coords is torch.float32; wanted int32"),
        (
            lambda: F.sphash(torch.zeros(3, 4).int(), torch.zeros(2, 4).int()),
            r"offsets has shape \(2, 4\); wanted \[N, 3\]",
        ),
        (
            lambda: F.calc_ti_weights(torch.rand(5, 4), torch.zeros(5, 8)),
            "without the batch",
        ),
        (
            lambda: F.calc_ti_weights(torch.rand(5, 3), torch.zeros(8, 5)),
            r"idx_query has shape \(8, 5\)",
        ),
        (
            lambda: F.calc_ti_weights(torch.rand(5, 3), torch.zeros(5, 8), scale=0),
            "scale is 0; wanted",
        ),
        (
            lambda: F.spdevoxelize(torch.rand(5, 3), torch.full((2, 8), 5), torch.rand(2, 8)),
            "idx reaches 5, and feats has 5 rows",
        ),
        (
            lambda: F.spdevoxelize(torch.rand(5, 3), torch.zeros(2, 8), torch.rand(8, 2)),
            "wanted both alike",
        ),
        (
            lambda: F.spvoxelize(torch.rand(5, 3), torch.zeros(4).int(), torch.ones(1)),
            "wanted the cell of each of 5 points",
        ),
        (
            lambda: F.spvoxelize(torch.rand(4, 3), torch.zeros(4), torch.ones(1)),
            "idx is torch.float32; wanted int32",
        ),
    ],
)
def test_bad_arguments_say_what_was_wanted(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()
