"""Tables made on a GPU hold the pairs that are defined, whichever way, in the order of the law."""

from itertools import pairwise, product

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton")

from gossamer.ops.keys.gpu.parts import form
from gossamer.ops.launch import launch
from gossamer.ops.rulebooks import TILE, line_group, reference, slots_of
from gossamer.ops.rulebooks import triton as gpu
from gossamer.ops.rulebooks.gpu import match, order
from tests.ops.tables import random_sources
from tests.ops.test_gpu_keys import BOXES, CASES, TAPS, garbage_behind, sites

pytestmark = [pytest.mark.interpreter, pytest.mark.usefixtures("garbage")]


def defined(fine: Tensor, coarse: Tensor, stride, offsets) -> Tensor:
    """[K, M] by a dictionary of the fine sites."""
    row_of = {tuple(row): i for i, row in enumerate(fine.tolist())}
    lines = []
    for i in range(0, len(offsets), len(stride)):
        tap = offsets[i : i + len(stride)]
        wanted = [
            (batch, *(c * s + o for c, s, o in zip(cell, stride, tap, strict=True)))
            for batch, *cell in coarse.tolist()
        ]
        lines.append([row_of.get(site, -1) for site in wanted])
    return torch.tensor(lines, dtype=torch.int32).view(len(lines), len(coarse))


def around(fine: Tensor, coarse: Tensor, stride, offsets) -> tuple[list[int], list[int]]:
    """The smallest box of all fine sites and all that a tap can look at."""
    taps = torch.tensor(offsets).view(-1, 1, len(stride))
    seen = coarse[:, 1:].long() * torch.tensor(stride) + taps
    every = torch.cat([fine[:, 1:].long(), seen.flatten(0, 1)])
    return every.amin(0).tolist(), (every.amax(0) + 1).tolist()


@pytest.mark.parametrize(("ndim", "taps", "stride"), CASES)
def test_every_way_gives_the_pairs_that_are_defined(ndim, taps, stride, monkeypatch):
    offsets = [v for tap in TAPS[taps](ndim) for v in tap]
    fine = sites(ndim, 60)
    coarse = sites(ndim, 50, seed=1)
    coarse[:, 1:] //= torch.tensor(stride)
    coarse = fine if stride == [1] * ndim else coarse.unique(dim=0)
    box = around(fine, coarse, stride, offsets)
    wanted = defined(fine, coarse, stride, offsets)
    assert taps == "listed" or (wanted >= 0).any()
    for batches, most in ((2, 2**29), (2, 0), (0, 2**29)):  # a bitmap, narrow and wide keys
        monkeypatch.setattr(match, "MOST_CELLS", most)
        (made,) = gpu.match(fine, coarse, *box, stride, offsets, batches)
        assert made.dtype == torch.int32
        assert torch.equal(made, wanted)


@pytest.mark.parametrize("way", ["bitmap", "narrow keys", "wide keys"])
@pytest.mark.parametrize("numbers", [(40, 30), (0, 5), (5, 0)])
def test_rows_beyond_the_counts_are_never_read_and_read_nothing(way, numbers, monkeypatch):
    if way != "bitmap":
        monkeypatch.setattr(match, "MOST_CELLS", 0)
    stride, offsets = [2, 1, 2], [v for tap in TAPS["box"](3) for v in tap]
    fine, coarse = sites(3, 60), sites(3, 60, seed=1)
    coarse[:, 1:] //= torch.tensor(stride)
    coarse = coarse.unique(dim=0)
    box = around(fine, coarse, stride, offsets)
    more_fine, more_coarse = garbage_behind(fine, 20)[0], garbage_behind(coarse, 20)[0]
    counts = torch.tensor([numbers[0]]), torch.tensor([numbers[1]])
    fine, coarse = fine[: numbers[0]], coarse[: numbers[1]]
    batches = 0 if way == "wide keys" else 2
    (made,) = gpu.match(more_fine, more_coarse, *box, stride, offsets, batches, *counts)
    assert torch.equal(made[:, : len(coarse)], defined(fine, coarse, stride, offsets))
    assert (made[:, len(coarse) :] == -1).all()


def test_without_a_count_every_row_counts_and_none_may_be_missing():
    row = torch.tensor([[0, 3]]).int()
    assert gpu.match(row, row, [2], [5], [1], [-1, 0, 1], 1)[0].tolist() == [[-1], [0], [-1]]
    none = row[:0]
    assert gpu.match(none, row, [2], [5], [1], [-1, 0, 1], 1)[0].tolist() == [[-1]] * 3
    assert gpu.match(row, none, [2], [5], [1], [-1, 0, 1], 0)[0].shape == (3, 0)


def test_grids_of_63_bits_find_their_neighbours():
    side = 2**30
    fine = torch.tensor([[0, -side, 7], [0, side - 2, -side], [0, side - 2, side - 2]]).int()
    fine = torch.cat([fine, fine + torch.tensor([0, 0, 1], dtype=torch.int32)]).unique(dim=0)
    offsets = [v for tap in TAPS["box"](2) for v in tap]
    corners = [-side - 1] * 2, [side] * 2
    for batches in (0, 1):
        (made,) = gpu.match(fine, fine, *corners, [1, 1], offsets, batches)
        assert torch.equal(made, defined(fine, fine, [1, 1], offsets))


@pytest.mark.parametrize("number", [1, 31, 32, 33, 300])
def test_a_full_line_of_cells_is_numbered_across_words(number, monkeypatch):
    rows = torch.stack([torch.zeros(number), torch.arange(number)], dim=1).int()
    for most in (2**29, 0):
        monkeypatch.setattr(match, "MOST_CELLS", most)
        (made,) = gpu.match(rows, rows, [-9], [number + 9], [1], [-9, 0, 1], 1)
        assert torch.equal(made, defined(rows, rows, [1], [-9, 0, 1]))


def test_sorted_keys_are_not_read_beyond_the_last_one(monkeypatch):
    keys_of = match.packed

    def with_more_behind(*arguments):
        keys = keys_of(*arguments)
        return torch.cat([keys, keys + 1])[: len(keys)]

    monkeypatch.setattr(match, "packed", with_more_behind)
    row = torch.tensor([[0, 3]]).int()
    assert gpu.match(row, row, [2], [5], [1], [-1, 0, 1], 0)[0].tolist() == [[-1], [0], [-1]]


def test_a_site_outside_the_box_marks_nothing():
    words, first = torch.zeros(9).int(), torch.zeros(9).int()
    rows = torch.tensor([[0, -40], [0, 5], [0, 70]]).int()
    middle = words[4:6], first[4:6]
    numbers = len(rows), 64, *form([0], [64])
    constants = {"COUNTED": False, "D": 1, "BLOCK": 128}
    launch(match._number, (1,), (rows, rows, *middle, *numbers), **constants)
    assert words.tolist() == [0, 0, 0, 0, 32, 0, 0, 0, 0]
    assert first.tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0]


SHAPES = [(1, 1, 1), (3, 0, 5), (9, 40, 40), (2, 1500, 1100), (5, 70, 3000)]


@pytest.mark.parametrize(("lines", "rows", "inputs"), SHAPES)
def test_a_table_turned_and_listed_is_as_defined(lines, rows, inputs):
    sources = random_sources(lines, rows, inputs, 0.4)
    turned = gpu.turn(sources, inputs)
    assert torch.equal(turned, reference.turn(sources, inputs))
    assert torch.equal(gpu.turn(turned, rows), sources)
    for made, wanted in zip(gpu.listed(sources), reference.listed(sources), strict=True):
        assert made.shape == wanted.shape and made.dtype == wanted.dtype
    inputs_of, outputs_of, starts = gpu.listed(sources)
    assert starts.tolist() == [0, *(sources >= 0).sum(1).cumsum(0).tolist()]
    for line, (begin, end) in enumerate(pairwise(starts.tolist())):
        rows_of_line = (sources[line] >= 0).nonzero()[:, 0]
        assert torch.equal(outputs_of[begin:end], rows_of_line.int())
        assert torch.equal(inputs_of[begin:end], sources[line, rows_of_line])


def hold(sources: Tensor, groups: int, significance: list[int], count: int | None) -> None:
    """Hold what `arrange` says against its contract, property by property."""
    lines, rows = sources.shape
    each, slots = lines // groups, slots_of(rows)
    known = rows if count is None else count
    counted = None if count is None else torch.tensor([count])
    out, out_rows, masks, places = gpu.arrange(sources, groups, significance, counted)
    assert [t.dtype for t in (out, out_rows, masks, places)] == [torch.int32] * 4
    assert out.shape == (lines, slots) and out_rows.shape == (groups, slots)
    assert masks.shape == (groups, -(-each // 32), slots // 32) and places.shape == (groups, rows)
    for number in range(groups):
        first = line_group(number, groups) * each
        mine, arranged = sources[first : first + each, :known], out[first : first + each]
        wanted = torch.arange(known)
        if number < groups - 1:
            wanted = wanted[(mine >= 0).any(0)]
        here = out_rows[number, : len(wanted)].long()
        assert torch.equal(here.sort().values, wanted)
        assert (out_rows[number, len(wanted) :] == -1).all()
        assert torch.equal(arranged[:, : len(wanted)], mine[:, here])
        assert (arranged[:, len(wanted) :] == -1).all()
        back = torch.full((rows,), -1, dtype=torch.int32)
        back[here] = torch.arange(len(here)).int()
        assert torch.equal(places[number], back)
        numbers = [gray(column, significance[first : first + each]) for column in mine[:, here].T]
        if not significance:
            assert torch.equal(here, wanted)
        elif each <= 60:
            assert numbers == sorted(numbers, reverse=True)
        for line in range(each):
            met = (arranged[line] >= 0).view(-1, 32).any(1)
            assert torch.equal((masks[number, line // 32] >> line % 32 & 1).bool(), met)
        unused = 32 * masks.shape[1] - each
        if unused:
            assert not ((masks[number, -1].long() & 0xFFFFFFFF) >> (32 - unused)).any()


def gray(column: Tensor, significance: list[int]) -> int:
    """The number whose Gray code has the bits of a row's lines."""
    number = bit = 0
    for line in sorted(range(len(significance)), key=lambda i: -significance[i]):
        bit ^= int(column[line] >= 0)
        number = 2 * number + bit
    return number


ARRANGED = [
    # lines, groups, rows, how many of them exist
    (1, 1, 7, None),
    (3, 3, 300, 270),
    (27, 1, 300, None),
    (27, 3, 300, 256),
    (27, 3, 256, 0),
    (9, 3, 0, None),
    (30, 1, 200, 130),
    (31, 1, 200, 130),
    (33, 1, 130, 129),
    (60, 1, 100, None),
    (63, 1, 100, None),
    (64, 2, 100, 90),
    (125, 1, 60, 50),
    (125, 5, 60, 50),
    (195, 3, 40, 30),
]


@pytest.mark.parametrize("density", [0.02, 0.4])
@pytest.mark.parametrize(("lines", "groups", "rows", "count"), ARRANGED)
def test_an_arranged_table_keeps_its_contract(lines, groups, rows, count, density):
    sources = random_sources(lines, rows, 400, density)
    if count is not None:
        sources[:, count:] = 7  # valid numbers, which nobody may take for sources
    significance = torch.randperm(lines, generator=torch.Generator().manual_seed(1)).tolist()
    hold(sources, groups, significance, count)
    if groups == 1:
        hold(sources, 1, [], count)


def test_the_last_of_many_lines_hears_of_the_first():
    sources = torch.full((60, 60), -1, dtype=torch.int32)
    for row in range(60):  # three lines each, half the mask apart
        sources[[row, (row + 29) % 60, (row + 31) % 60], row] = row
    hold(sources, 1, list(range(60)), None)


@pytest.mark.parametrize(("lines", "groups"), [(27, 1), (27, 3), (31, 1), (62, 1), (125, 5)])
def test_an_arranged_table_is_the_one_defined_bit_for_bit(lines, groups):
    sources = random_sources(lines, 300, 300, 0.2)
    significance = torch.randperm(lines, generator=torch.Generator().manual_seed(1)).tolist()
    count = torch.tensor([280])
    made = gpu.arrange(sources, groups, significance, count)
    wanted = reference.arrange(sources, groups, significance, count)
    assert all(map(torch.equal, made, wanted))


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("each", [1, 28, 29, 30, 31, 60, 61, 62, 63, 124, 125, 343])
def test_digits_leave_room_for_groups_and_missing_rows(each, groups):
    ranks = torch.randperm(each * groups, generator=torch.Generator().manual_seed(0)).tolist()
    places, bits, dtype = order.digits_of(tuple(ranks), groups)
    above = 1 if groups == 1 else 3
    assert bits + above <= torch.iinfo(dtype).bits - 1
    assert dtype == torch.int32 or bits + above > 31
    for first in range(0, len(ranks), each):
        place, rank = places[first : first + each], ranks[first : first + each]
        assert set(place) == set(range(bits))
        if each + above <= 63:  # a bit a line
            assert sorted(range(each), key=place.__getitem__) == sorted(
                range(each), key=rank.__getitem__
            )
        else:
            assert place == place[::-1]
            pairs = sorted((max(rank[i], rank[-1 - i]), place[i]) for i in range(each))
            assert [bit for _, bit in pairs] == sorted(place)


@pytest.mark.parametrize("rows", [3 * TILE // 2, TILE, 1])
def test_pairs_are_transposed_as_defined(rows):
    rng = torch.Generator().manual_seed(0)
    inputs = torch.randint(0, rows, (900,), generator=rng).int()
    outputs = torch.randint(0, 2 * TILE, (900,), generator=rng).int()
    slot = torch.randint(0, 3, (900,), generator=rng)
    pairs = reference.tiled(inputs, outputs, slot, 3, 2 * TILE)
    made = gpu.transpose(*pairs, 3, rows)
    wanted = reference.transpose(*pairs, 3, rows)
    for new, old in zip(made, wanted, strict=True):
        assert new.dtype == old.dtype and torch.equal(new, old)


def test_boxes_of_one_cell_and_one_tap():
    for ndim in BOXES:
        row = torch.tensor([[0, *BOXES[ndim][0]]]).int()
        corner = BOXES[ndim][0], [low + 1 for low in BOXES[ndim][0]]
        for batches in (0, 1):
            assert gpu.match(row, row, *corner, [1] * ndim, [0] * ndim, batches)[0].tolist() == [
                [0]
            ]


def test_every_batch_has_its_own_cells():
    rows = torch.tensor(list(product(range(3), range(4)))).int()
    for batches in (0, 3):
        (made,) = gpu.match(rows, rows, [-1], [5], [1], [-1, 1], batches)
        assert torch.equal(made, defined(rows, rows, [1], [-1, 1]))


def test_too_many_taps_are_an_error_before_any_kernel_runs():
    rows = torch.zeros(1, 2, dtype=torch.int32)
    with pytest.raises(ValueError, match="the kernel has 65536 taps; a GPU takes at most 65535"):
        gpu.match(rows, rows, [0], [65536], [1], list(range(65536)))
