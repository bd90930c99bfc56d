"""A rulebook as spconv's arrays holds the pairs found by hand, and comes back from them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossamer.compat.arrays.layouts import (
    implicit_gemm_arrays,
    link_of_pairs,
    link_of_table,
    native_arrays,
    tile_masks,
)
from gossamer.compat.rows.sites import Link, Sites
from gossamer.geometry import Geometry
from tests.compat.by_hand import (
    centred,
    conv_shape,
    half_listed,
    listed,
    random_indices,
    regular_pairs,
    submanifold_pairs,
)

SHAPES = {1: [17], 2: [6, 7], 3: [4, 5, 3], 4: [3, 4, 3, 2]}
COUNTS = (0, 1, 20)
DUPLICATES = torch.tensor(
    [[0, 1, 1], [0, 1, 1], [0, 2, 1], [1, 0, 0], [0, 1, 1]], dtype=torch.int32
)


def submanifold(indices: torch.Tensor, shape: list[int], dilation: int = 1) -> Link:
    sites = Sites.of(indices, shape, 2)
    geometry = Geometry.of("submanifold", len(shape), 3, dilation=dilation)
    return Link(sites.rows, sites.rows, sites.coords.rulebook(geometry), True)


def strided(indices: torch.Tensor, shape: list[int]) -> tuple[Link, list[tuple[int, ...]]]:
    sites = Sites.of(indices, shape, 2)
    geometry = Geometry.of("regular", len(shape), 3, stride=2, padding=1)
    out = sites.led_to(geometry)
    link = Link(sites.rows, out.rows, sites.coords.rulebook(geometry))
    return link, [tuple(site) for site in out.indices().tolist()]


def strided_by_hand(indices: torch.Tensor, shape: list[int], sites: list) -> set:
    ones = [1] * len(shape)
    kernel = [3] * len(shape), [2] * len(shape), ones, ones
    pairs = regular_pairs(indices, conv_shape(shape, *kernel), *kernel)
    return {(tap, row, sites.index(site)) for tap, row, site in pairs}


def assert_padded(pairs: torch.Tensor, counts: torch.Tensor) -> None:
    beyond = torch.arange(pairs.shape[2]) >= counts.unsqueeze(1)
    assert (pairs[:, beyond] == -1).all()
    assert (pairs[:, ~beyond] >= 0).all()


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("ndim", SHAPES)
def test_submanifold_lists_count_half_of_the_taps(ndim, count):
    indices = random_indices(ndim, count, SHAPES[ndim], 2)
    pairs, counts = native_arrays(submanifold(indices, SHAPES[ndim]))
    centre = 3**ndim // 2
    assert pairs.shape == (2, 3**ndim, count)
    assert pairs.dtype == counts.dtype == torch.int32
    assert half_listed(pairs, counts) == submanifold_pairs(indices, centred([3] * ndim, [1] * ndim))
    assert (counts[centre:] == 0).all()
    assert torch.equal(pairs[:, centre], torch.arange(count, dtype=torch.int32).expand(2, -1))
    assert torch.equal(pairs.flip(0, 1), pairs)  # tap K-1-i is tap i turned round
    assert_padded(pairs[:, :centre], counts[:centre])


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("ndim", SHAPES)
def test_strided_lists_hold_the_pairs_found_by_hand(ndim, count):
    indices = random_indices(ndim, count, SHAPES[ndim], 2)
    link, sites = strided(indices, SHAPES[ndim])
    pairs, counts = native_arrays(link)
    assert pairs.shape == (2, 3**ndim, count)
    assert listed(pairs, counts) == strided_by_hand(indices, SHAPES[ndim], sites)
    assert sites == sorted(sites)
    assert_padded(pairs, counts)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("ndim", SHAPES)
@pytest.mark.parametrize("kind", ["submanifold", "strided"])
def test_tables_and_lists_come_back_as_the_same_pairs(kind, ndim, count):
    indices = random_indices(ndim, count, SHAPES[ndim], 2)
    subm = kind == "submanifold"
    link = submanifold(indices, SHAPES[ndim]) if subm else strided(indices, SHAPES[ndim])[0]
    inputs, outputs = len(link.source), len(link.target)
    from_lists = link_of_pairs(*native_arrays(link), inputs, outputs, subm)
    forward, backward, *_ = implicit_gemm_arrays(link, 1, True)
    assert forward.shape == (3**ndim, outputs)
    assert backward.shape == (3**ndim, inputs)
    for back in (from_lists, link_of_table(forward, inputs), link_of_table(backward, outputs).T):
        assert (len(back.source), len(back.target)) == (inputs, outputs)
        assert torch.equal(back.triples(), link.triples())


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 3), st.integers(0, 2)), max_size=20),
    st.booleans(),
)
def test_any_rows_come_back_from_their_lists(rows, subm):
    indices = torch.tensor(rows, dtype=torch.int32).view(-1, 3)
    link = submanifold(indices, [4, 3]) if subm else strided(indices, [4, 3])[0]
    pairs, counts = native_arrays(link)
    back = link_of_pairs(pairs, counts, len(link.source), len(link.target), subm)
    ours, theirs = (sorted(map(tuple, one.triples().tolist())) for one in (link, back))
    assert ours == theirs
    assert pairs.shape == (2, 9, len(rows))


def test_a_submanifold_kernel_of_one_tap_reads_each_row_for_itself():
    sites = Sites.of(link_rows(), [6, 7], 2)
    rulebook = sites.coords.rulebook(Geometry.of("submanifold", 2, 1))
    pairs, counts = native_arrays(Link(sites.rows, sites.rows, rulebook, True))
    assert (pairs.shape, counts.tolist()) == ((2, 1, 20), [0])
    triples = link_of_pairs(pairs, counts, 20, 20, True).triples()
    assert triples.tolist() == [[0, row, row] for row in range(20)]


def bits(row: list[int]) -> int:
    return sum((word & 0xFFFFFFFF) << (32 * place) for place, word in enumerate(row))


@pytest.mark.parametrize("ndim", SHAPES)
@pytest.mark.parametrize("kind", ["submanifold", "strided"])
def test_bit_sets_name_the_taps_of_each_row_in_ascending_order(kind, ndim):
    indices = random_indices(ndim, 20, SHAPES[ndim], 2)
    subm = kind == "submanifold"
    link = submanifold(indices, SHAPES[ndim]) if subm else strided(indices, SHAPES[ndim])[0]
    forward, backward, sets, sets_back, orders, orders_back, masks = implicit_gemm_arrays(
        link, 1, True
    )
    assert [mask.tolist() for mask in masks] == [[0xFFFFFFFF]]
    for table, (found,), (order,) in ((forward, sets, orders), (backward, sets_back, orders_back)):
        assert found.shape == (table.shape[1], -(-(3**ndim) // 32))
        assert found.dtype == order.dtype == torch.int32
        numbers = [bits(row) for row in found.tolist()]
        assert numbers == sorted(numbers)
        assert sorted(order.tolist()) == list(range(table.shape[1]))
        for number, row in zip(numbers, order.tolist(), strict=True):
            assert number == sum(1 << k for k in range(len(table)) if table[k, row] >= 0)


def test_two_splits_share_the_taps_out():
    link = submanifold(random_indices(3, 20, [4, 5, 3], 2), [4, 5, 3])
    forward, _, sets, _, orders, _, masks = implicit_gemm_arrays(link, 2, True)
    assert [mask.dtype for mask in masks] == [np.dtype(np.uint32)] * 2
    assert [int(mask[0]) for mask in masks] == [(1 << 14) - 1, ((1 << 13) - 1) << 14]
    for found, order, mask in zip(sets, orders, masks, strict=True):
        for number, row in zip(found.squeeze(1).tolist(), order.tolist(), strict=True):
            all_taps = sum(1 << k for k in range(27) if forward[k, row] >= 0)
            assert number == all_taps & int(mask[0])
    with pytest.raises(ValueError, match="ksize has 81 taps"):
        implicit_gemm_arrays(submanifold(random_indices(4, 5, [3] * 4, 1), [3] * 4), 2, True)


def test_unsorted_bit_sets_follow_the_rows():
    link = submanifold(random_indices(2, 20, [6, 7], 2), [6, 7])
    sorted_sets, order = (implicit_gemm_arrays(link, 1, True)[i][0] for i in (2, 4))
    sets, same = (implicit_gemm_arrays(link, 1, True, do_sort=False)[i][0] for i in (2, 4))
    assert torch.equal(same, torch.arange(20, dtype=torch.int32))
    assert torch.equal(sets[order.long()], sorted_sets)


def test_a_submanifold_kernel_in_eval_has_no_arrays_of_inputs():
    link = submanifold(random_indices(2, 20, [6, 7], 2), [6, 7])
    forward, backward, sets, sets_back, orders, orders_back, _ = implicit_gemm_arrays(
        link, 1, False
    )
    assert torch.equal(forward, implicit_gemm_arrays(link, 1, True)[0])
    assert (backward.numel(), sets_back, orders_back) == (0, [], [])
    assert (len(sets), len(orders)) == (1, 1)
    # An inverse convolution may follow any other kernel, so that one has them all the same.
    assert len(implicit_gemm_arrays(strided(link_rows(), [6, 7])[0], 1, False)[3]) == 1


def link_rows() -> torch.Tensor:
    return random_indices(2, 20, [6, 7], 2)


@pytest.mark.parametrize("ndim", [2, 4])
def test_a_tile_has_the_taps_of_all_its_rows(ndim):
    indices = random_indices(ndim, 70, [9] * ndim, 1)
    sets = implicit_gemm_arrays(submanifold(indices, [9] * ndim), 1, True)[2]
    tiles = tile_masks(sets).view(1, 3, -1)
    for tile in range(3):
        wanted = 0
        for row in sets[0][32 * tile : 32 * tile + 32].tolist():
            wanted |= bits(row)
        assert bits(tiles[0, tile].tolist()) == wanted


def test_rows_that_repeat_all_feed_a_strided_kernel():
    link, sites = strided(DUPLICATES, [4, 4])
    pairs, counts = native_arrays(link)
    assert listed(pairs, counts) == strided_by_hand(DUPLICATES, [4, 4], sites)
    back = link_of_pairs(pairs, counts, 5, len(sites), False)
    assert torch.equal(back.triples(), link.triples())
    with pytest.raises(ValueError, match=r"indices has rows that repeat.*ConvAlgo\.Native"):
        implicit_gemm_arrays(link, 1, True)


def test_of_rows_that_repeat_a_submanifold_kernel_sees_itself_and_the_first():
    link = submanifold(DUPLICATES, [4, 4])
    around = submanifold_pairs(DUPLICATES[[0, 2, 3]], centred([3, 3], [1, 1]))
    names = {0: [0, 1, 4], 1: [2], 2: [3]}  # the rows of each site
    wanted = {
        (tap, names[read][0], row)
        for tap, read, written in around
        for row in names[written]
        if tap != 4
    } | {(4, row, row) for row in range(5)}
    pairs, counts = native_arrays(link)
    assert listed(pairs, counts) == wanted
    assert counts[4] == 5  # every tap is counted, for there are no mirror images
    forward = implicit_gemm_arrays(link, 1, True)[0]
    for back in (link_of_pairs(pairs, counts, 5, 5, True), link_of_table(forward, 5)):
        assert torch.equal(back.triples(), link.triples())


GOOD = torch.tensor([[[0, 1], [0, -1]], [[1, 0], [0, -1]]], dtype=torch.int32)


@pytest.mark.parametrize(
    ("pairs", "counts", "error", "words"),
    [
        (GOOD.float(), [2, 1], TypeError, "indice_pairs is torch.float32"),
        (GOOD[0], [2, 1], ValueError, r"indice_pairs is \(2, 2\)"),
        (GOOD[:1], [2, 1], ValueError, r"indice_pairs is \(1, 2, 2\)"),
        (GOOD, [2], ValueError, r"indice_pair_num \(1,\)"),
        (GOOD, [[2, 1]], ValueError, r"indice_pair_num is \(1, 2\)"),
        (GOOD, [3, 1], ValueError, "indice_pair_num has numbers from 1 to 3"),
        (GOOD, [-1, 1], ValueError, "indice_pair_num has numbers from -1"),
        (GOOD, [2, 2], ValueError, r"indice_pairs\[0\] has numbers from -1"),
        (GOOD + torch.tensor([1, 0]).view(2, 1, 1), [2, 1], ValueError, r"indice_pairs\[0\]"),
        (GOOD + torch.tensor([0, 2]).view(2, 1, 1), [2, 1], ValueError, r"indice_pairs\[1\]"),
        ([[[0]]], [1], TypeError, "indice_pairs is a list"),
    ],
)
def test_lists_that_would_read_past_the_end_are_an_error(pairs, counts, error, words):
    with pytest.raises(error, match=words):
        link_of_pairs(pairs, torch.tensor(counts, dtype=torch.int32), 2, 2, False)


def test_submanifold_lists_for_other_numbers_of_rows_are_an_error():
    pairs, counts = native_arrays(submanifold(random_indices(1, 5, [17], 1), [17]))
    with pytest.raises(ValueError, match="features has 5 rows and num_activate_out is 6"):
        link_of_pairs(pairs, counts, 5, 6, True)
    with pytest.raises(ValueError, match=r"indice_pairs\[0\] has numbers from"):
        link_of_pairs(torch.full_like(pairs, 7), counts + 1, 5, 5, True)


@pytest.mark.parametrize(
    ("table", "error", "words"),
    [
        (torch.tensor([[0.0]]), TypeError, "pair_fwd is torch.float32"),
        (torch.tensor([0]), ValueError, r"pair_fwd is \(1,\)"),
        (torch.tensor([[0, 3]]), ValueError, "pair_fwd has numbers from 0 to 3; wanted -1 to 2"),
        (torch.tensor([[0, -2]]), ValueError, "pair_fwd has numbers from -2 to 0"),
    ],
)
def test_a_table_that_would_read_past_the_end_is_an_error(table, error, words):
    with pytest.raises(error, match=words):
        link_of_table(table, 3)
