"""A table of keys and values, against a dict."""

import copy
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossamer.compat.spconv.pytorch.hash import HashTable
from gossamer.ops.keys import unique

CPU = torch.device("cpu")
KEYS, VALUES = (torch.int32, torch.int64), (torch.int32, torch.int64, torch.float32, torch.float64)
NUMBERS = st.lists(st.integers(-5, 5), max_size=12)


def table_of(numbers: dict[int, int], key=torch.int64, value=torch.int64, **options) -> HashTable:
    out = HashTable(CPU, key, value, **options)
    out.insert(
        torch.tensor(list(numbers), dtype=key), torch.tensor(list(numbers.values())).to(value)
    )
    return out


@given(st.sampled_from(KEYS), st.sampled_from(VALUES), st.lists(NUMBERS, max_size=4), NUMBERS)
def test_a_table_is_a_dict(key, value, inserts, wanted):
    table, known, written = HashTable(CPU, key, value), {}, 0
    for numbers in inserts:
        values = list(range(written, written + len(numbers)))
        written += len(numbers)
        known.update(zip(numbers, values, strict=True))
        table.insert(torch.tensor(numbers, dtype=key), torch.tensor(values, dtype=value))
    found, empty = table.query(torch.tensor(wanted, dtype=key))
    assert empty.tolist() == [k not in known for k in wanted]
    assert found.tolist() == [known.get(k, 0) for k in wanted]
    assert (found.dtype, empty.dtype) == (value, torch.bool)
    keys, values, count = table.items()
    assert dict(zip(keys.tolist(), values.tolist(), strict=True)) == known
    assert keys.tolist() == sorted(known)
    assert (count.tolist(), keys.dtype, values.dtype) == ([len(known)], key, value)


@given(NUMBERS, NUMBERS)
def test_only_keys_that_are_there_get_new_values(there, wanted):
    table = table_of({k: 100 for k in there})
    news = torch.arange(len(wanted))
    failed = table.insert_exist_keys(torch.tensor(wanted, dtype=torch.int64), news)
    assert failed.tolist() == [int(k not in there) for k in wanted]
    assert failed.dtype == torch.uint8
    last = dict(zip(wanted, news.tolist(), strict=True))
    found, _ = table.query(torch.tensor(there, dtype=torch.int64))
    assert found.tolist() == [last.get(k, 100) for k in there]


def test_keys_are_numbered_in_their_order():
    table = table_of({5: 1, -3: 6, 7: 4, 2**40: 77})
    assert table.assign_arange_().tolist() == [4]
    keys, values, _ = table.items()
    assert keys.tolist() == [-3, 5, 7, 2**40]
    assert values.tolist() == [0, 1, 2, 3]


def test_keys_without_values_are_there():
    table = HashTable(CPU, torch.int32, torch.float32)
    table.insert(torch.tensor([4, 4, 2], dtype=torch.int32))
    assert table.query(torch.tensor([2, 3, 4], dtype=torch.int32))[1].tolist() == [
        False,
        True,
        False,
    ]


def test_a_query_writes_to_what_it_is_given_and_leaves_the_rest():
    given = torch.tensor([8, 9])
    values, empty = table_of({1: 5}).query(torch.tensor([1, 2]), given)
    assert values is given
    assert (values.tolist(), empty.tolist()) == ([5, 9], [False, True])


def test_floats_are_keys_by_their_bits():
    keys = torch.tensor([1.5, -2.5, 0.0, float("nan")])
    table = HashTable(CPU, torch.float32, torch.int32)
    table.insert(keys, torch.arange(4, dtype=torch.int32))
    found, empty = table.query(torch.tensor([float("nan"), -2.5, 3.5]))
    assert found[:2].tolist() == [3, 1]
    assert empty.tolist() == [False, False, True]


def test_items_fill_buffers_of_the_length_that_is_asked_for():
    keys, values, count = table_of({3: 30, 1: 10}).items(max_size=4)
    assert (keys.tolist(), values.tolist(), count.tolist()) == ([1, 3, 0, 0], [10, 30, 0, 0], [2])
    with pytest.raises(ValueError, match="max_size is 1; wanted 2 or more"):
        table_of({3: 30, 1: 10}).items(max_size=1)


def test_a_full_table_refuses_another_key_and_stays_as_it_was():
    table = table_of({1: 10, 2: 20}, max_size=2)
    table.insert(torch.tensor([2, 2]), torch.tensor([21, 22]))
    with pytest.raises(AssertionError, match="3 keys do not fit this table, whose max_size is 2"):
        table.insert(torch.tensor([1, 3]), torch.tensor([11, 30]))
    assert [part.tolist() for part in table.items()[:2]] == [[1, 2], [10, 22]]


@pytest.mark.parametrize("again", [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_a_copy_is_a_table_of_its_own(again):
    first = table_of({1: 10})
    second = again(first)
    second.insert(torch.tensor([2]), torch.tensor([20]))
    assert [int(t.items()[2]) for t in (first, second)] == [1, 2]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: HashTable(CPU, torch.float16, torch.int64),
            KeyError,
            "key_dtype is torch.float16",
        ),
        (lambda: HashTable(CPU, torch.int64, torch.bool), KeyError, "value_dtype is torch.bool"),
        (
            lambda: HashTable(torch.device("cuda"), torch.int64, torch.int64),
            AssertionError,
            "max_size is -1",
        ),
        (
            lambda: table_of({}).query(torch.zeros(1, dtype=torch.int32)),
            TypeError,
            "keys is torch.i",
        ),
        (lambda: table_of({}).query(torch.zeros(1, 1).long()), ValueError, r"shape \(1, 1\)"),
        (
            lambda: table_of({}).insert(torch.zeros(1).long(), torch.zeros(1)),
            TypeError,
            "values is",
        ),
        (
            lambda: table_of({}).insert(torch.arange(2), torch.arange(1)),
            ValueError,
            "one for every",
        ),
        (lambda: table_of({}).query(torch.arange(2), torch.arange(3)), ValueError, "one for every"),
        (
            lambda: table_of({}, value=torch.float32).assign_arange_(),
            AssertionError,
            "int32 or int64",
        ),
    ],
)
def test_what_does_not_fit_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_inserts_wait_and_are_seen_as_they_were_when_they_came():
    table, keys, values = table_of({5: 50, 6: 60, 7: 70}), torch.tensor([1]), torch.tensor([10])
    table.insert(keys, values)
    keys.fill_(2)
    values.fill_(20)
    table.insert(keys, values)
    assert [part.tolist() for part in table.items()[:2]] == [[1, 2, 5, 6, 7], [10, 20, 50, 60, 70]]


def test_many_small_inserts_sort_each_key_a_few_times(monkeypatch):
    sorted_keys = []

    def counted(keys):
        sorted_keys.append(len(keys))
        return unique(keys)

    monkeypatch.setattr("gossamer.compat.spconv.pytorch.hash.unique", counted)
    table = HashTable(CPU, torch.int64, torch.int64, max_size=2000)
    for key in range(1000):
        table.insert(torch.tensor([key % 700]), torch.tensor([key]))
    found, empty = table.query(torch.arange(701))
    assert found.tolist() == [*range(700, 1000), *range(300, 700), 0]
    assert empty.tolist() == [False] * 700 + [True]
    assert sum(sorted_keys) < 6 * 1000
