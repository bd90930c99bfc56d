"""Keys number the cells of a box, and everything made of them is what sets of rows would give."""

from itertools import pairwise, product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossamer.ops.keys import argsort, coarsen, dilate, find, pack, survey, unique, unpack

pytestmark = pytest.mark.any_backend
HUGE = 2**63 - 1


@st.composite
def boxed_rows(draw):
    """Coordinates [N, 1+D], unique, in no order, and a box that holds them."""
    ndim = draw(st.integers(1, 4))
    lower = [draw(st.integers(-9, 9)) for _ in range(ndim)]
    upper = [low + draw(st.integers(1, 7)) for low in lower]
    axes = [st.integers(low, high - 1) for low, high in zip(lower, upper, strict=True)]
    rows = draw(st.lists(st.tuples(st.integers(0, 3), *axes), max_size=30, unique=True))
    return torch.tensor(rows, dtype=torch.int32).view(-1, 1 + ndim), lower, upper


def tuples(rows: torch.Tensor) -> list[tuple[int, ...]]:
    return [tuple(row) for row in rows.tolist()]


@given(boxed_rows())
def test_unpack_undoes_pack(backend, boxed):
    coords, lower, upper = boxed
    for dtype in (torch.int32, torch.int64):
        back = unpack(pack(coords.to(dtype), lower, upper), lower, upper)
        assert back.dtype == torch.int32
        assert torch.equal(back, coords)


@given(boxed_rows())
def test_keys_are_in_the_order_of_rows(backend, boxed):
    coords, lower, upper = boxed
    in_order = coords[argsort(pack(coords, lower, upper))]
    assert tuples(in_order) == sorted(tuples(coords))


def test_a_neighbour_inside_the_box_is_key_plus_constant(backend):
    lower, upper = [-2, -3, 0], [5, 4, 6]
    inner = torch.tensor(list(product([0], range(-1, 4), range(-2, 3), range(1, 5))))
    for step in product((-1, 0, 1), repeat=3):
        moved = inner + torch.tensor([0, *step])
        constant = (step[0] * 7 + step[1]) * 6 + step[2]
        difference = pack(moved, lower, upper) - pack(inner, lower, upper)
        assert (difference == constant).all()


@pytest.mark.parametrize("sizes", [(2**31 - 1, 2**31), (2**21, 2**21, 2**20), (3, 2**31, 2**29)])
def test_keys_of_63_bits_are_exact(backend, sizes):
    lower = [-(n // 2) for n in sizes]
    upper = [low + n for low, n in zip(lower, sizes, strict=True)]
    corners = list(product((0, 1), *zip(lower, [u - 1 for u in upper], strict=True)))
    keys = pack(torch.tensor(corners), lower, upper)
    for row, key in zip(corners, keys.tolist(), strict=True):
        exact = row[0]
        for value, low, n in zip(row[1:], lower, sizes, strict=True):
            exact = exact * n + value - low
        assert key == exact < 2**63
    assert tuples(unpack(keys, lower, upper)) == corners


KEYS = {
    "none": [],
    "one": [5],
    "repeated": [3, 1, 3, 2, 1, 3, 0],
    "negative": [3, -1, 2, -1, 3, -7],
    "huge": [HUGE, 2, HUGE, HUGE - 1, 0, 2],
    "many": torch.randint(0, 500, (2000,), generator=torch.Generator().manual_seed(0)).tolist(),
}


@pytest.mark.parametrize("name", KEYS)
def test_argsort_is_the_stable_order(backend, name):
    order = argsort(torch.tensor(KEYS[name], dtype=torch.int64))
    assert order.tolist() == sorted(range(len(KEYS[name])), key=KEYS[name].__getitem__)


rows_of_ints = st.integers(2, 5).flatmap(
    lambda columns: st.lists(
        st.tuples(*[st.integers(-2, 2)] * columns), min_size=0, max_size=6
    ).map(lambda rows: torch.tensor(rows, dtype=torch.int64).view(-1, columns))
)


@given(rows_of_ints, st.sampled_from([torch.int32, torch.int64]), st.booleans())
def test_survey_gives_the_range_of_each_column_and_whether_rows_ascend(backend, rows, dtype, sort):
    rows = torch.tensor(sorted(tuples(rows))).view(rows.shape) if sort else rows
    least, most, ascending = survey(rows.to(dtype)).tolist()
    columns = list(zip(*tuples(rows), strict=True)) or [()] * rows.shape[1]
    assert least == [min(column, default=0) for column in columns]
    assert most == [max(column, default=-1) for column in columns]
    expected = tuples(rows) == sorted(set(tuples(rows)))
    assert ascending == [int(expected)] * rows.shape[1]


@pytest.mark.parametrize("name", KEYS)
def test_unique_gives_the_distinct_keys_and_where_each_one_is(backend, name):
    keys = torch.tensor(KEYS[name], dtype=torch.int64)
    distinct, row, order = unique(keys)
    assert distinct.tolist() == sorted(set(KEYS[name]))
    assert torch.equal(distinct[row], keys)
    assert torch.equal(order, argsort(keys))


@pytest.mark.parametrize("name", KEYS)
def test_find_gives_the_row_or_minus_one(backend, name):
    known = sorted(set(KEYS[name]))
    wanted = [*KEYS[name], -9, 4, HUGE, 501, -1]
    place = {key: row for row, key in enumerate(known)}
    rows = find(torch.tensor(known, dtype=torch.int64), torch.tensor([wanted, wanted[::-1]]))
    expected = [place.get(key, -1) for key in wanted]
    assert rows.tolist() == [expected, expected[::-1]]


@given(st.sets(st.integers(0, 30)), st.lists(st.integers(-2, 33), max_size=60))
def test_find_does_not_depend_on_what_was_wanted_before(backend, known, wanted):
    # Near numbers in every order: the same again, the next one, one that is missing, back.
    keys = sorted(known)
    rows = find(torch.tensor(keys, dtype=torch.int64), torch.tensor(wanted, dtype=torch.int64))
    assert rows.tolist() == [keys.index(key) if key in known else -1 for key in wanted]


relations = st.tuples(st.integers(1, 3), st.lists(st.integers(-2, 2), min_size=4, max_size=12))


@given(boxed_rows(), relations)
def test_coarsen_gives_every_site_that_some_tap_meets_a_fine_site_from(backend, boxed, relation):
    fine, lower, upper = boxed
    stride, offsets = per_axis(relation, len(lower))
    expected = set()
    for batch, *cell in tuples(fine):
        for site in product(*map(range, lower, upper)):
            reached = {
                tuple(o * s + d for o, s, d in zip(site, stride, tap, strict=True))
                for tap in offsets
            }
            if tuple(cell) in reached:
                expected.add((batch, *site))
    flat = [value for tap in offsets for value in tap]
    got = coarsen(fine, lower, upper, stride, flat, 4)
    assert got.dtype == torch.int32
    assert tuples(got) == sorted(expected)


@given(boxed_rows(), relations)
def test_dilate_gives_every_site_that_some_tap_reaches(backend, boxed, relation):
    coarse, lower, upper = boxed
    stride, offsets = per_axis(relation, len(lower))
    expected = set()
    for (batch, *cell), tap in product(tuples(coarse), offsets):
        site = [c * s + d for c, s, d in zip(cell, stride, tap, strict=True)]
        if all(low <= v < high for low, v, high in zip(lower, site, upper, strict=True)):
            expected.add((batch, *site))
    flat = [value for tap in offsets for value in tap]
    got = dilate(coarse, lower, upper, stride, flat, 4)
    assert got.dtype == torch.int32
    assert tuples(got) == sorted(expected)


def per_axis(relation, ndim: int) -> tuple[list[int], list[tuple[int, ...]]]:
    stride, values = relation
    taps = [tuple(values[i : i + ndim]) for i in range(0, len(values) - ndim + 1, ndim)]
    return [stride, *[1 + stride % 2] * (ndim - 1)], list(dict.fromkeys(taps))


def test_rows_spread_over_many_pieces_of_work_stay_in_place(backend):
    rng = torch.Generator().manual_seed(0)
    coords = torch.randint(-300, 300, (70_000, 3), generator=rng)
    coords[:, 0] %= 4
    keys = pack(coords, [-300, -300], [300, 300])
    distinct, row, order = unique(keys)
    ordered = keys[order]
    assert (ordered.diff() >= 0).all()
    assert all(
        a < b
        for (a, b), same in zip(pairwise(order.tolist()), ordered.diff() == 0, strict=True)
        if same
    )
    assert torch.equal(find(distinct, keys), row)
    assert torch.equal(unpack(distinct, [-300, -300], [300, 300])[row].long(), coords)
