"""Keys on a GPU are keys as defined, whichever way their kernels take, and nobody reads beyond."""

from itertools import product

import pytest
import torch

pytest.importorskip("triton")

from gossamer.ops.keys import reference
from gossamer.ops.keys import triton as gpu
from gossamer.ops.keys.gpu import reach

pytestmark = [pytest.mark.interpreter, pytest.mark.usefixtures("garbage")]

FAR = 2**31 - 1
HUGE = 2**63 - 1
BOXES = {
    1: ([-5], [40]),
    2: ([-3, 4], [9, 21]),
    3: ([-2, 0, -7], [5, 9, 1]),
    4: ([0, -1, 3, -2], [4, 3, 7, 3]),
}


def sites(ndim: int, number: int, batches: int = 2, seed: int = 0) -> torch.Tensor:
    """Up to `number` rows [N, 1+D] int32 inside BOXES[ndim], sorted, unique."""
    rng = torch.Generator().manual_seed(seed)
    columns = [torch.randint(0, batches, (number,), generator=rng)]
    for low, high in zip(*BOXES[ndim], strict=True):
        columns.append(torch.randint(low, high, (number,), generator=rng))
    return torch.stack(columns, dim=1).unique(dim=0).int()


def garbage_behind(rows: torch.Tensor, more: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`rows`, then `more` that do not exist, valid and invalid ones; how many do exist."""
    rng = torch.Generator().manual_seed(9)
    wild = torch.randint(-(2**31), 2**31, (more, rows.shape[1]), generator=rng).int()
    wild[::2] = rows[: len(wild[::2])] + 1
    return torch.cat([rows, wild]), torch.tensor([len(rows)])


def alike(made: torch.Tensor, defined: torch.Tensor) -> bool:
    return made.dtype == defined.dtype and torch.equal(made, defined)


ROWS = {
    "one": [[3, -4, 7]],
    "ascending": [[0, 1, 5], [0, 2, -9], [1, -FAR, 0]],
    "repeated": [[0, 1, 5], [0, 1, 5], [1, 0, 0]],
    "last column falls": [[0, 1, 5], [0, 1, 4]],
    "first column falls": [[1, 1, 5], [0, 2, 6]],
    "middle falls where the last rises": [[0, 2, 5], [0, 1, 6]],
    "extreme": [[0, -FAR - 1, FAR], [FAR, FAR, -FAR - 1]],
}


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize("name", [*ROWS, "none"])
def test_a_survey_is_the_one_defined(name, dtype):
    rows = torch.tensor(ROWS.get(name, []), dtype=dtype).view(-1, 3)
    assert alike(gpu.survey(rows), reference.survey(rows))


@pytest.mark.parametrize("wrong", [None, 0, 1, 1023, 1024, 2047, 2600, 2999])
def test_a_survey_sees_every_row_of_every_block(wrong, monkeypatch):
    monkeypatch.setattr("gossamer.ops.keys.gpu.survey.PROGRAMS", 2)
    rows = torch.stack([torch.zeros(3000), torch.arange(3000)], dim=1).int()
    if wrong is not None:
        rows[wrong, 1] = (-7, 5000)[wrong % 2]
    assert alike(gpu.survey(rows), reference.survey(rows))


@pytest.mark.parametrize("ndim", BOXES)
def test_keys_and_rows_are_those_defined(ndim):
    corners = BOXES[ndim]
    rows = sites(ndim, 300)[torch.randperm(20)]
    keys = reference.pack(rows, *corners)
    assert alike(gpu.pack(rows, *corners), keys)
    assert alike(gpu.pack(rows.long(), *corners), keys)
    assert alike(gpu.unpack(keys, *corners), rows)
    assert gpu.pack(rows[:0], *corners).shape == (0,)


@pytest.mark.parametrize("sizes", [(2**31 - 1, 2**31), (2**21, 2**21, 2**20), (3, 2**31, 2**29)])
def test_keys_of_63_bits_are_exact(sizes):
    lower = [-(n // 2) for n in sizes]
    upper = [low + n for low, n in zip(lower, sizes, strict=True)]
    ends = zip(lower, [u - 1 for u in upper], strict=True)
    rows = torch.tensor(list(product((0, 1), *ends))).int()
    keys = gpu.pack(rows, lower, upper)
    assert alike(keys, reference.pack(rows, lower, upper))
    assert alike(gpu.unpack(keys, lower, upper), rows)


KEYS = {
    "none": [],
    "one": [5],
    "repeated": [3, 1, 3, 2, 1, 3, 0],
    "extreme": [HUGE, 2, HUGE, -HUGE - 1, HUGE - 1, 0, -1, 2],
    "blocks": torch.randint(0, 900, (2500,), generator=torch.Generator().manual_seed(0)).tolist(),
}


@pytest.mark.parametrize("name", KEYS)
def test_unique_and_find_are_those_defined(name):
    keys = torch.tensor(KEYS[name], dtype=torch.int64)
    made, defined = gpu.unique(keys), reference.unique(keys)
    assert all(map(alike, made, defined))
    wanted = torch.tensor([*KEYS[name], -9, 4, HUGE, 901, -1]).view(1, -1)
    assert alike(gpu.find(defined[0], wanted), reference.find(defined[0], wanted))


@pytest.mark.parametrize("number", [1, 2, 3, 4, 7, 8, 9, 64])
def test_find_reaches_every_row_of_any_number(number):
    keys = torch.arange(number) * 2
    wanted = torch.arange(-1, 2 * number + 1)
    assert alike(gpu.find(keys, wanted), reference.find(keys, wanted))


TAPS = {
    "box": lambda ndim: list(product((-1, 0, 1), repeat=ndim)),
    "cell": lambda ndim: list(product((0, 1), repeat=ndim)),
    "dilated": lambda ndim: list(product((-4, 0), repeat=ndim)),
    "cross": lambda ndim: [
        tuple(by * (a == b) for b in range(ndim)) for a in range(ndim) for by in (-1, 1)
    ],
    "listed": lambda ndim: [(0,) * ndim, (7,) + (0,) * (ndim - 1), (-3,) * ndim],
}
CASES = [
    (ndim, taps, stride)
    for i, (ndim, taps) in enumerate(product(BOXES, TAPS))
    for stride in ([1 + i % 3] * ndim, [2, 1, 3, 2][:ndim])
    if len(TAPS[taps](ndim)) < 50
]


@pytest.mark.parametrize("upward", [False, True])
@pytest.mark.parametrize(("ndim", "taps", "stride"), CASES)
def test_sites_reached_are_those_defined_either_way(ndim, taps, stride, upward):
    offsets = [v for tap in TAPS[taps](ndim) for v in tap]
    rows = sites(ndim, 40)
    names = "dilate" if upward else "coarsen"
    defined = getattr(reference, names)(rows, *BOXES[ndim], stride, offsets)
    for batches in (0, 2):  # sorted keys, a bitmap
        made = getattr(gpu, names)(rows, *BOXES[ndim], stride, offsets, batches)
        assert alike(made, defined)


@pytest.mark.parametrize("name", ["coarsen", "dilate"])
@pytest.mark.parametrize("way", ["bitmap", "narrow keys", "wide keys"])
@pytest.mark.parametrize("capacity", [0, 7, 500])
def test_rows_beyond_the_count_are_never_read_and_those_beyond_the_sites_are_zero(
    name, way, capacity, monkeypatch
):
    if way != "bitmap":
        monkeypatch.setattr(reach, "MOST_CELLS", 0)
    stride, offsets = [2, 1, 2], [v for tap in TAPS["box"](3) for v in tap]
    rows, count = garbage_behind(sites(3, 60), 50)
    rest = (*BOXES[3], stride, offsets, 0 if way == "wide keys" else 2, capacity)
    made = getattr(gpu, name + "_within")(rows, count, *rest)
    defined = getattr(reference, name + "_within")(rows, count, *rest)
    assert made[1] > 60
    assert all(map(alike, made, defined))


@pytest.mark.parametrize("name", ["coarsen_within", "dilate_within"])
@pytest.mark.parametrize("batches", [0, 1])
@pytest.mark.parametrize("count", [None, 0])
def test_no_sites_lead_nowhere(name, batches, count):
    rows = sites(2, 30)[: 0 if count is None else 5]
    count = None if count is None else torch.tensor([count])
    out, found = getattr(gpu, name)(rows, count, *BOXES[2], [1, 1], [0, 0, 1, 1], batches, 4)
    assert found.tolist() == [0]
    assert not out.any()


@pytest.mark.parametrize("batches", [0, 1, 3])
def test_far_apart_sites_take_the_way_that_fits(batches):
    lower, upper = [-(2**30)] * 2, [2**30] * 2
    rows = torch.tensor([[0, -(2**30), 5], [0, 2**30 - 1, -(2**30)], [0, 2**30 - 1, 2**30 - 1]])
    offsets = [v for tap in TAPS["box"](2) for v in tap]
    made = gpu.coarsen(rows.int(), lower, upper, [1, 1], offsets, batches)
    assert alike(made, reference.coarsen(rows.int(), lower, upper, [1, 1], offsets))


@pytest.mark.parametrize("batches", [0, 1])
def test_what_leaves_32_bits_comes_from_no_other_side(batches):
    # Twice the last one is the smallest number of 32 bits, to those who have no more.
    rows = torch.tensor([[0, -FAR - 1], [0, FAR], [0, FAR // 2 + 1]]).int()
    made = gpu.dilate(rows, [-FAR - 1], [-FAR + 5], [2], [-1, 0, 1], batches)
    assert alike(made, reference.dilate(rows, [-FAR - 1], [-FAR + 5], [2], [-1, 0, 1]))
    made = gpu.coarsen(rows, [-FAR - 1], [-FAR + 5], [1], [-1, 1], batches)
    assert alike(made, reference.coarsen(rows, [-FAR - 1], [-FAR + 5], [1], [-1, 1]))


def test_crowded_words_and_many_blocks_of_them_keep_their_order():
    rows = torch.cat([torch.arange(70), torch.arange(40_000, 40_030), torch.tensor([99_999])])
    rows = torch.stack([torch.zeros_like(rows), rows], dim=1).int()
    for batches in (0, 1):
        assert alike(gpu.dilate(rows, [0], [100_000], [1], [0], batches), rows)
