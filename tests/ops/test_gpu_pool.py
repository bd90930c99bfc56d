"""Laws of pooling on a GPU, in Triton's interpreter: tables, and runs of any length in pairs."""

import math

import pytest
import torch
from torch import Tensor

from gossamer.ops.dispatch import use_backend
from gossamer.ops.pool import argmax, pool_sum
from gossamer.ops.rulebooks import TILE, tiles
from tests.ops.tables import random_sources, table, tap

pytestmark = [pytest.mark.interpreter, pytest.mark.usefixtures("garbage", "on_triton")]

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
Triples = list[tuple[int, int, int]]


@pytest.fixture
def on_triton():
    with use_backend("triton"):
        yield


def rows_of(count: int, channels: int, dtype: torch.dtype) -> Tensor:
    """Small whole numbers, so that half types add them up exactly and many are equal."""
    dice = torch.Generator().manual_seed(count)
    return torch.randint(-3, 4, (count, channels), generator=dice).to(dtype)


def hostile(x: Tensor) -> Tensor:
    """`x` with NaN in rows of the first channel, and -Inf wherever the last is not positive."""
    x = x.clone()
    x[::3, 0] = torch.nan
    x[:, -1] = torch.where(x[:, -1] > 0, x[:, -1], -torch.inf)
    return x


def sums_by_hand(x: Tensor, triples: Triples, rows: int) -> Tensor:
    y = torch.zeros(rows, x.shape[1], dtype=torch.float64)
    for _, source, target in triples:
        y[target] += x[source].double()
    return y


def winners_by_hand(x: Tensor, triples: Triples, rows: int) -> list[list[int]]:
    """Reads triples in their order; the first of the largest wins, a NaN over every number."""
    values, best = x.tolist(), [[-1] * x.shape[1] for _ in range(rows)]
    for _, source, target in triples:
        for c, value in enumerate(values[source]):
            old = best[target][c]
            held = values[old][c] if old >= 0 else -math.inf
            if old < 0 or value > held or (math.isnan(value) and not math.isnan(held)):
                best[target][c] = source
    return best


def check(x: Tensor, lists: list[Tensor], triples: Triples, rows: int) -> None:
    y = pool_sum(x, lists, [], rows)
    assert y.dtype == x.dtype
    assert torch.equal(y.double(), sums_by_hand(x, triples, rows))
    wild = hostile(x) if x.numel() else x
    winner = argmax(wild, lists, rows)
    assert winner.dtype == torch.int64
    assert winner.tolist() == winners_by_hand(wild, triples, rows)


def triples_of_table(sources: Tensor, taps: list[int] | None) -> Triples:
    found = (sources >= 0).nonzero().tolist()
    return sorted((tap(taps, k), int(sources[k, m]), m) for k, m in found)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("rows", "channels", "lines", "orders"),
    [(70, 33, 27, 3), (33, 3, 66, 2), (300, 1, 5, 5), (40, 17, 9, 1), (1, 2, 40, 1)],
)
def test_a_table_is_pooled_by_what_its_lines_read(rows, channels, lines, orders, dtype):
    sources = random_sources(lines, rows, 60, 0.3)
    x = rows_of(60, channels, dtype)
    check(x, table(sources, orders), triples_of_table(sources, None), rows)


@pytest.mark.parametrize("taps", ["natural", "mirrored", "listed"])
@pytest.mark.parametrize("orders", [1, 3])
def test_of_equal_rows_the_one_of_the_first_tap_wins(orders, taps):
    sources = random_sources(9, 40, 60, 0.7)
    named = {"natural": None, "mirrored": [8], "listed": [4, 0, 8, 1, 7, 2, 6, 3, 5]}[taps]
    x = torch.zeros(60, 3)
    x[:, 2] = torch.nan
    winner = argmax(x, table(sources, orders, named), 40)
    first = winners_by_hand(x, triples_of_table(sources, named), 40)
    assert winner.tolist() == first
    assert taps == "natural" or first != winners_by_hand(x, triples_of_table(sources, None), 40)


def test_line_32_of_a_word_and_the_first_of_the_next_count():
    sources = torch.full((34, 2), -1, dtype=torch.int32)
    sources[31, 0], sources[32, 1], sources[33, 1] = 0, 1, 2
    x = torch.tensor([[1.0], [2.0], [4.0]])
    assert pool_sum(x, table(sources), [], 2).tolist() == [[1.0], [6.0]]
    assert argmax(x, table(sources), 2).tolist() == [[0], [2]]


def test_rows_beyond_the_count_change_nothing_below_it():
    sources = random_sources(9, 50, 60, 0.5)
    x = rows_of(60, 4, torch.float32)
    y = pool_sum(x, table(sources, 3, count=20), [], 50)
    assert torch.equal(y[:20], pool_sum(x, table(sources, 3), [], 50)[:20])
    assert y[20:].isnan().all()  # unwritten, so still poison


@pytest.mark.parametrize("rows", [0, 3])
def test_no_lines_no_rows_no_inputs(rows):
    for sources in (random_sources(0, rows, 5, 1.0), random_sources(4, rows, 0, 1.0)):
        y = pool_sum(torch.zeros(0, 2), table(sources), [], rows)
        assert torch.equal(y, torch.zeros(rows, 2))
        assert (argmax(torch.zeros(0, 2), table(sources), rows) == -1).all()


def pairs_of(triples: Triples, slots: int, rows: int) -> list[Tensor]:
    """The layout of pairs, whose slots are taps."""
    slot_of = [(target // TILE) * slots + k for k, _, target in triples]
    order = sorted(range(len(triples)), key=lambda p: (slot_of[p], triples[p][2]))
    counts = torch.zeros(tiles(rows) * slots, dtype=torch.int64)
    counts.index_add_(0, torch.tensor(slot_of, dtype=torch.int64), torch.ones(len(order)).long())
    columns = [torch.tensor([triples[p][i] for p in order], dtype=torch.int32) for i in (1, 2)]
    starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return [*columns, starts, torch.arange(slots)]


def random_triples(pairs: int, inputs: int, rows: int, slots: int = 1) -> Triples:
    """In the order in which pairs are met: by row, then tap, in no order of inputs."""
    dice = torch.Generator().manual_seed(pairs)

    def thrown(sides: int) -> list[int]:
        return torch.randint(0, sides, (pairs,), generator=dice).tolist()

    columns = zip(thrown(slots), thrown(inputs), thrown(rows), strict=True)
    return sorted(columns, key=lambda triple: (triple[2], triple[0]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("pairs", "rows", "channels"),
    [(0, 3, 3), (1, 1, 1), (50, 40, 33), (300, 4, 17), (129, 1, 32), (20, 600, 1), (70, 0, 2)],
)
def test_runs_of_pairs_are_pooled_whatever_their_length(pairs, rows, channels, dtype):
    triples = random_triples(pairs if rows else 0, 30, max(1, rows))
    x = rows_of(30, channels, dtype)
    check(x, pairs_of(triples, 1, rows), triples, rows)


@pytest.fixture
def short_chunks(monkeypatch):
    from gossamer.ops.pool.gpu import segments

    monkeypatch.setattr(segments, "CHUNK", 4)
    return segments


@pytest.mark.parametrize("pairs", [4, 5, 16, 17, 63, 64, 65, 300])
def test_a_run_over_several_levels_of_chunks_counts_every_pair_once(short_chunks, pairs):
    triples: Triples = [(0, p % 30, 0 if p < pairs - 3 else 2) for p in range(pairs)]
    assert len(short_chunks._levels(pairs)) == (pairs > 4) + (pairs > 16 + 3) + (pairs > 64 + 15)
    check(rows_of(30, 3, torch.float32), pairs_of(triples, 1, 3), triples, 3)


def test_one_long_run_among_short_ones(short_chunks):
    targets = [*range(40), *[40] * 100, *range(41, 90)]
    triples: Triples = [(0, (7 * p) % 30, target) for p, target in enumerate(targets)]
    check(rows_of(30, 5, torch.float32), pairs_of(triples, 1, 90), triples, 90)


def test_pairs_in_several_slots_and_tiles(short_chunks):
    rows = TILE + 40
    triples = random_triples(60, 30, rows, slots=3) + random_triples(70, 30, 3, slots=3)
    triples.sort(key=lambda triple: (triple[2], triple[0]))
    check(rows_of(30, 2, torch.float32), pairs_of(triples, 3, rows), triples, rows)


def test_sums_have_the_same_bits_every_time_and_are_float32_inside():
    triples = random_triples(300, 30, 3)
    lists = pairs_of(triples, 1, 3)
    x = torch.randn(30, 3, generator=torch.Generator().manual_seed(0)).half()
    y = pool_sum(x, lists, [], 3)
    assert torch.equal(y, pool_sum(x, lists, [], 3))
    # One rounding to half, and float32 ones before it.
    exact = sums_by_hand(x, triples, 3)
    sizes = sums_by_hand(x.abs(), triples, 3)
    within = exact.abs() * torch.finfo(torch.half).eps + 300 * torch.finfo().eps * sizes
    assert ((y.double() - exact).abs() <= within).all()


def test_more_pairs_than_an_int32_can_number_are_an_error():
    many = torch.zeros(1, dtype=torch.int32).expand(2**31)
    lists = [many, many, torch.tensor([0, 2**31]), torch.zeros(1, dtype=torch.int64)]
    with pytest.raises(ValueError, match="there are 2147483648 pairs"):
        pool_sum(torch.zeros(1, 1), lists, [], 1)
