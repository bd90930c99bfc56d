"""TorchSparse 2.1's hash tables, against dictionaries."""

from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from gossamer.compat.torchsparse.backend import GPUHashTable, GPUHashTable32

TABLES = {GPUHashTable: torch.int64, GPUHashTable32: torch.int32}


def dice(seed):
    return torch.Generator().manual_seed(seed)


def memory(kind, capacity):
    return torch.zeros(capacity, dtype=TABLES[kind]), torch.zeros(capacity, dtype=torch.int32)


def sites(seed, count=120, low=-2, high=3):
    """[N, 4] int32: x, y, z, batch, without repeats, in any order."""
    places = torch.randint(low, high, (count, 3), generator=dice(seed))
    batch = torch.randint(0, 2, (count, 1), generator=dice(seed + 1))
    rows = torch.unique(torch.cat([places, batch], 1), dim=0)
    return rows[torch.randperm(len(rows), generator=dice(seed))].int()


def offsets(size):
    """Every tap of a kernel: from -(k-1)//2 on; x fastest where their number is odd, else z."""
    axes = [range(-((k - 1) // 2), k - (k - 1) // 2) for k in size]
    if size[0] * size[1] * size[2] % 2:
        return [(x, y, z) for z, y, x in product(*axes[::-1])]
    return list(product(*axes))


@pytest.mark.parametrize("kind", TABLES)
@given(seed=some.integers(0, 500))
def test_values_are_numbered_from_one_and_missing_ones_are_zero(kind, seed):
    keys = torch.randint(-6, 7, (20,), generator=dice(seed)).to(TABLES[kind])
    wanted = torch.randint(-9, 10, (200,), generator=dice(seed + 1)).to(TABLES[kind])
    table = kind(*memory(kind, 20))
    table.insert_vals(keys)
    first = {}
    for row, key in enumerate(keys.tolist()):
        first.setdefault(key, row + 1)
    found = table.lookup_vals(wanted)
    assert found.dtype == torch.int32
    assert found[:200].tolist() == [first.get(key, 0) for key in wanted.tolist()]
    assert found.shape == (256,) and not found[200:].any()


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("size", [(1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 2, 1), (3, 3, 2), (1, 3, 5)])
@pytest.mark.parametrize("stride", [(1, 1, 1), (2, 1, 3)])
def test_voxels_around_a_place_come_in_the_order_of_the_kernel(kind, size, stride):
    rows, queries = sites(0), sites(5)
    table = kind(*memory(kind, 2 * len(rows)))
    table.insert_coords(rows)
    taps = offsets(size)
    found = table.lookup_coords(
        queries, torch.tensor(size).int(), torch.tensor(stride).int(), len(taps)
    )
    there = {tuple(row): i + 1 for i, row in enumerate(rows.tolist())}
    expected = [
        [
            there.get(
                (*(q * s + o for q, s, o in zip(query, stride, tap, strict=False)), query[3]), 0
            )
            for tap in taps
        ]
        for query in queries.tolist()
    ]
    assert found.dtype == torch.int32
    assert found[: len(queries)].tolist() == expected
    assert sum(map(sum, expected)) > 0
    assert len(found) % 128 == 0 and not found[len(queries) :].any()


def test_a_table_of_a_capacity_finds_the_same_as_one_in_memory():
    rows = sites(2)
    one, other = GPUHashTable(len(rows)), GPUHashTable(*memory(GPUHashTable, 2 * len(rows)))
    ask = rows.flip(0), torch.tensor([2, 2, 2]), torch.tensor([1, 1, 1]), 8
    for table in (one, other):
        table.insert_coords(rows)
    assert torch.equal(one.lookup_coords(*ask), other.lookup_coords(*ask))


def test_another_table_reads_the_same_memory():
    keys, numbers = memory(GPUHashTable, 200)
    rows = sites(3)
    GPUHashTable(keys, numbers).insert_coords(rows)
    assert (numbers > 0).sum() == len(rows)
    ask = rows, torch.tensor([1, 1, 1]), torch.tensor([1, 1, 1]), 1
    found = GPUHashTable(keys, numbers).lookup_coords(*ask)
    assert found[: len(rows), 0].tolist() == list(range(1, len(rows) + 1))


def test_a_32_bit_table_tells_voxels_apart_whose_short_keys_are_equal():
    # Of 200000 keys of 32 bits some are equal, near certainly; of 64 bits none is.
    rows = torch.cat([torch.cartesian_prod(*[torch.arange(58)] * 3)], 1)
    rows = torch.cat([rows, torch.zeros(len(rows), 1)], 1).int()
    table = GPUHashTable32(*memory(GPUHashTable32, len(rows)))
    table.insert_coords(rows)
    found = table.lookup_coords(rows, torch.ones(3).int(), torch.ones(3).int(), 1)
    assert torch.equal(found[: len(rows), 0], torch.arange(1, len(rows) + 1).int())
    away = rows + torch.tensor([100, 0, 0, 0]).int()
    assert not table.lookup_coords(away, torch.ones(3).int(), torch.ones(3).int(), 1).any()


def test_a_key_of_zero_is_a_key_like_any_other():
    here = memory(GPUHashTable, 4)
    table = GPUHashTable(*here)
    table.insert_vals(torch.tensor([5, 0]))
    for reader in (table, GPUHashTable(*here)):
        assert reader.lookup_vals(torch.tensor([0, 5, 1]))[:3].tolist() == [2, 1, 0]


def test_what_is_inserted_later_counts_and_what_was_there_stays():
    table = GPUHashTable(*memory(GPUHashTable, 4))
    table.insert_vals(torch.tensor([10, 20, 30]))
    table.insert_vals(torch.tensor([40, 10]))
    assert table.lookup_vals(torch.tensor([10, 20, 30, 40]))[:4].tolist() == [2, 2, 3, 1]


def test_a_full_table_says_so_and_stays_as_it_was():
    keys, numbers = memory(GPUHashTable, 3)
    table = GPUHashTable(keys, numbers)
    table.insert_vals(torch.tensor([1, 2, 2, 3]))
    before = keys.clone(), numbers.clone()
    with pytest.raises(ValueError, match="capacity of the hashtable is 3, and it would have 4"):
        table.insert_vals(torch.tensor([4]))
    assert torch.equal(keys, before[0]) and torch.equal(numbers, before[1])
    assert table.lookup_vals(torch.tensor([4, 1]))[:2].tolist() == [0, 1]


def test_empty_tables_and_empty_questions():
    table = GPUHashTable(*memory(GPUHashTable, 0))
    table.insert_coords(torch.zeros(0, 4).int())
    one = torch.ones(3).int()
    assert not table.lookup_coords(torch.zeros(5, 4).int(), one, one, 1).any()
    assert table.lookup_coords(torch.zeros(0, 4).int(), 2 * one, one, 8).shape == (0, 8)
    assert not GPUHashTable(8).lookup_vals(torch.tensor([3])).any()


def test_columns_of_a_larger_tensor_are_read_as_they_are():
    rows = sites(4)
    spaced = torch.cat([rows[:, [3]], rows[:, :3]], 1)[:, [1, 2, 3, 0]]
    wide = torch.zeros(len(rows), 8).int()
    wide[:, ::2] = spaced
    table = GPUHashTable(len(rows))
    table.insert_coords(wide[:, ::2])
    one = torch.ones(3).int()
    found = table.lookup_coords(rows, one, one, 1)[: len(rows), 0]
    assert found.tolist() == list(range(1, len(rows) + 1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: GPUHashTable(torch.zeros(4).long()), "vals is missing"),
        (lambda: GPUHashTable(torch.zeros(4).int(), torch.zeros(4).int()), "wanted torch.int64"),
        (lambda: GPUHashTable32(torch.zeros(4).long(), torch.zeros(4).int()), "torch.int32"),
        (lambda: GPUHashTable(torch.zeros(4).long(), torch.zeros(5).int()), r"both \[capacity\]"),
        (lambda: GPUHashTable(9).insert_coords(torch.zeros(2, 3).int()), r"wanted \[N, 4\]"),
        (lambda: GPUHashTable(9).insert_coords(torch.zeros(2, 4)), "wanted int32"),
        (
            lambda: GPUHashTable(9).lookup_coords(
                torch.zeros(2, 4).int(), torch.tensor([2, 2, 2]), torch.ones(3), 9
            ),
            "kernel_volume is 9",
        ),
    ],
)
def test_bad_arguments_say_what_was_wanted(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()
