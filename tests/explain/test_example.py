"""The worked example against dense convolution and loops, which know nothing of rulebooks."""

from collections import Counter
from dataclasses import replace
from itertools import product

import pytest
import torch
from torch.nn.functional import conv2d

from gossamer.explain import worked_example
from gossamer.explain.example import KINDS
from gossamer.explain.words import check

# Output sites, atomic operations, sites fed by both inputs: the well-known figures.
KNOWN = {"regular": (8, 12, 4), "submanifold": (2, 4, 2)}
SITES = {(1, 2): 0.1, (2, 3): 0.2}
PLACES = list(SITES)


@pytest.fixture(params=KINDS)
def example(request, backend):
    return worked_example(request.param)


def met(kind: str) -> torch.Tensor:
    """How many sites the kernel meets at every output place, by dense convolution."""
    occupied = torch.zeros(1, 1, 5, 5)
    for i, j in SITES:
        occupied[0, 0, i, j] = 1
    counts = conv2d(occupied, torch.ones(1, 1, 3, 3), padding=int(kind == "submanifold"))
    return (counts * occupied if kind == "submanifold" else counts)[0, 0].int()


def pairs(kind: str) -> list[tuple]:
    """Every (tap, input place, output place), by trying all of them."""
    shift = int(kind == "submanifold")
    outputs = PLACES if shift else list(product(range(3), repeat=2))
    return [
        (tap, at, out)
        for tap, (i, j) in enumerate(product(range(3), repeat=2))
        for out in sorted(outputs)
        for at in PLACES
        if (out[0] + i - shift, out[1] + j - shift) == at
    ]


def test_sites_operations_and_sites_fed_by_both_are_those_of_a_dense_count(example):
    counts = met(example.kind)
    dense = (int((counts > 0).sum()), int(counts.sum()), int((counts > 1).sum()))
    assert (len(example.outputs), len(example.operations), example.fed_by_both) == dense
    assert dense == KNOWN[example.kind]


def test_the_rulebook_is_what_a_search_over_all_pairs_finds(example):
    found = [
        (o.tap, example.inputs[o.input].place, example.outputs[o.output].place)
        for o in example.operations
    ]
    assert found == pairs(example.kind)


def test_the_counter_numbers_the_operations_of_a_tap(example):
    seen = Counter()
    for o in example.operations:
        assert o.counter == seen[o.tap]
        seen[o.tap] += 1


def test_every_tap_moves_every_input_and_lands_where_the_rulebook_says(example):
    assert [(m.tap, m.input) for m in example.moves] == list(product(range(9), range(2)))
    landed = [(m.tap, m.input, m.output) for m in example.moves if m.output is not None]
    assert sorted(landed) == sorted((o.tap, o.input, o.output) for o in example.operations)
    for m in example.moves:
        place, tap = example.inputs[m.input].place, example.taps[m.tap]
        moved = zip(place, tap, example.shift, strict=True)
        assert m.place == tuple(a - b + c for a, b, c in moved)
        if m.output is not None:
            assert example.outputs[m.output].place == m.place


def test_keys_number_the_cells_and_rows_follow_them(example):
    for sites, (_, columns) in (
        (example.inputs, example.shape),
        (example.outputs, example.output_shape),
    ):
        assert [s.key for s in sites] == [columns * s.place[0] + s.place[1] for s in sites]
        assert [s.row for s in sorted(sites, key=lambda s: s.key)] == list(range(len(sites)))


def test_the_result_is_the_sum_over_all_pairs(example):
    for site, (dark, light) in zip(example.outputs, example.result, strict=True):
        met_here = [(tap, SITES[at]) for tap, at, out in pairs(example.kind) if out == site.place]
        assert dark == pytest.approx(sum(3 * value * (tap + 1) for tap, value in met_here))
        assert light == pytest.approx(sum(3 * value for _, value in met_here))


def test_the_result_is_the_dense_convolution_at_the_sites(example):
    picture = torch.zeros(1, 3, 5, 5)
    for (i, j), value in SITES.items():
        picture[0, :, i, j] = value
    numbered = torch.arange(1.0, 10).view(1, 1, 3, 3).expand(1, 3, 3, 3)
    filters = torch.cat([numbered, torch.ones(1, 3, 3, 3)])
    dense = conv2d(picture, filters, padding=int(example.kind == "submanifold"))[0]
    torch.testing.assert_close(torch.tensor(example.dense), dense.permute(1, 2, 0))
    rows = [dense[:, i, j] for i, j in (site.place for site in example.outputs)]
    torch.testing.assert_close(torch.tensor(example.result), torch.stack(rows))
    assert example.agrees and example.difference < 1e-6


def test_the_operations_one_by_one_add_up_to_the_result(example):
    sums = {site.row: (0.0, 0.0) for site in example.outputs}
    for o in example.operations:
        assert o.gathered == example.features[o.input]
        assert o.before == sums[o.output]
        added = zip(o.before, o.product, strict=True)
        assert o.after == pytest.approx([a + b for a, b in added])
        sums[o.output] = o.after
    torch.testing.assert_close(torch.tensor(list(sums.values())), torch.tensor(example.result))


def test_the_check_says_when_the_dense_convolution_disagrees(example):
    assert "float32 rounding" in check(example)
    wrong = replace(example, difference=0.1)
    assert not wrong.agrees
    assert "float32 rounding" not in check(wrong) and "report" in check(wrong)


def test_a_submanifold_convolution_leaves_out_what_a_dense_one_fills_around_the_sites():
    occupied = torch.zeros(1, 1, 5, 5)
    for i, j in SITES:
        occupied[0, 0, i, j] = 1
    filled = int((conv2d(occupied, torch.ones(1, 1, 3, 3), padding=1) > 0).sum())
    assert worked_example("submanifold").dense_sites == filled
    assert f" {filled - 2} cells around" in check(worked_example("submanifold"))


def test_another_kind_is_refused_with_the_choices():
    with pytest.raises(ValueError, match="kind is 'transposed'; wanted one of 'regular'"):
        worked_example("transposed")
