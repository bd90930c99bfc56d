"""The product on a GPU, in Triton's interpreter, against a loop over the table in float64."""

import random
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from gossamer.errors import NoBackendError
from gossamer.ops import plans
from gossamer.ops.conv import NOTHING, Epilogue, conv, conv_fused
from gossamer.ops.dispatch import Problem, use_backend
from gossamer.ops.plans import Choice, Tile
from gossamer.ops.rulebooks import PAIRS, TABLE

pytestmark = pytest.mark.interpreter

SMALL = Tile(32, 16, 16, 4, 2)
FEW = 40
FENCE = 4096


@dataclass(frozen=True)
class Case:
    """A product and how it is computed.

    Args:
        taps: K.
        orders: G, which divides K.
        rows, inputs: M and N.
        count: rows that exist.
        density: share of (row, tap) that has an input.
        naming: of taps, 0 natural, 1 mirrored, 2 listed.
        c_in, c_out: channels of a group.
    """

    taps: int = 27
    orders: int = 1
    rows: int = FEW
    inputs: int = 50
    count: int | None = None
    density: float = 0.3
    naming: int = 0
    c_in: int = 8
    c_out: int = 8
    groups: int = 1
    dtype: torch.dtype = torch.float32
    limit: int = 0
    tile: Tile = SMALL
    precision: str = "ieee"
    sort: bool = True
    seed: int = 0


def signed(word: int) -> int:
    return word - (1 << 32) if word >> 31 else word


def group_of(order: int, groups: int) -> int:
    return (order + groups // 2 + 1) % groups


def arrange(raw: list[list[int]], case: Case) -> list[Tensor]:
    """The table of raw[k][m], in plain Python; sorted by mask in any way, descending."""
    lines, count = case.taps // case.orders, case.rows if case.count is None else case.count
    slots = -(-case.rows // 256) * 256
    words = -(-lines // 32)
    sources = torch.full((case.taps, slots), -1, dtype=torch.int32)
    rows = torch.full((case.orders, slots), -1, dtype=torch.int32)
    masks = torch.zeros(case.orders, words, slots // 32, dtype=torch.int32)
    places = torch.full((case.orders, case.rows), -1, dtype=torch.int32)
    for order in range(case.orders):
        first = group_of(order, case.orders) * lines
        mask_of = [
            sum((raw[first + j][m] >= 0) << j for j in range(lines)) for m in range(case.rows)
        ]
        last = order == case.orders - 1
        chosen = [m for m in range(count) if mask_of[m] or last]
        if case.sort:
            chosen.sort(key=lambda m: -mask_of[m])
        for slot, m in enumerate(chosen):
            rows[order, slot], places[order, m] = m, slot
            for word in range(words):
                bits = mask_of[m] >> 32 * word & 0xFFFFFFFF
                old = int(masks[order, word, slot // 32]) & 0xFFFFFFFF
                masks[order, word, slot // 32] = signed(old | bits)
            for j in range(lines):
                sources[first + j, slot] = raw[first + j][m]
    return [sources, rows, masks, places]


def taps_of_lines(case: Case, dice: random.Random) -> tuple[Tensor, list[int]]:
    """The table's `taps`, and the tap of each line."""
    k = case.taps
    if case.naming == 0:
        return torch.zeros(0, dtype=torch.int64), list(range(k))
    if case.naming == 1:
        return torch.tensor([k - 1]), [k - 1 - j for j in range(k)]
    order = list(range(k))
    dice.shuffle(order)
    return torch.tensor(order), order


@dataclass(frozen=True, eq=False)
class Problem64:
    """The tensors of a case, and its answer.

    Args:
        sums: [M, C_out] float64.
        scale: [M, C_out] float64, the sums of the products' sizes.
    """

    x: Tensor
    weight: Tensor
    lists: list[Tensor]
    sums: Tensor
    scale: Tensor


def problem(case: Case) -> Problem64:
    dice, generator = random.Random(case.seed), torch.Generator().manual_seed(case.seed)

    def source() -> int:
        found = case.inputs and dice.random() < case.density
        return dice.randrange(case.inputs) if found else -1

    raw = [[source() for _ in range(case.rows)] for _ in range(case.taps)]
    taps, tap_of = taps_of_lines(case, dice)
    x = torch.randn(case.inputs, case.groups * case.c_in, generator=generator).to(case.dtype)
    weight = torch.randn(case.taps, case.c_in, case.groups * case.c_out, generator=generator)
    weight = weight.to(case.dtype)
    sums = torch.zeros(case.rows, case.groups, case.c_out, dtype=torch.float64)
    scale = torch.zeros_like(sums)
    for k in range(case.taps):
        w = weight[tap_of[k]].double().unflatten(1, (case.groups, -1))
        for m in range(case.rows if case.count is None else case.count):
            if raw[k][m] >= 0:
                row = x[raw[k][m]].double().unflatten(0, (case.groups, -1))
                sums[m] += torch.einsum("gi,igo->go", row, w)
                scale[m] += torch.einsum("gi,igo->go", row.abs(), w.abs())
    lists = [*arrange(raw, case), taps, *(torch.zeros(0, dtype=torch.int32) for _ in range(3))]
    return Problem64(x, weight, lists, sums.flatten(1), scale.flatten(1))


def garbage_like(inside: Tensor) -> Tensor:
    """What `inside` would be a part of, between numbers that spoil what reads them."""
    dtype = inside.dtype
    number = torch.nan if dtype.is_floating_point else torch.iinfo(dtype).min // 2
    return torch.full((inside.numel() + 2 * FENCE,), number, dtype=dtype)


def fenced(inside: Tensor) -> Tensor:
    place = garbage_like(inside).as_strided(inside.shape, inside.stride(), FENCE)
    return known(place.copy_(inside))


KNOWN: list[Tensor] = []
"""What kernels may read and write."""


def known(tensor: Tensor) -> Tensor:
    KNOWN.append(tensor)
    return tensor


def assert_inside(addresses: np.ndarray) -> None:
    """Every address is that of an element of a known tensor."""
    edges = sorted((t.data_ptr(), t.numel() * t.element_size()) for t in KNOWN if t.numel())
    starts, sizes = np.array(edges, dtype=np.uint64).T
    at = np.searchsorted(starts, addresses, side="right") - 1
    assert (at >= 0).all() and (addresses - starts[at] < sizes[at]).all()


@pytest.fixture
def fences(monkeypatch):
    """Kernels touch nothing but tensors they were given; what is allocated is garbage."""
    from triton.runtime.interpreter import _interpreter as machine

    allocate, copy = torch.Tensor.new_empty, torch.Tensor.contiguous
    load, store = machine.load, machine.store

    def new_empty(self, *shape, **options):
        inside = allocate(self, *shape, **options)
        return fenced(inside.fill_(torch.nan)) if inside.numel() else inside

    def watched_load(pointers, mask, *rest):
        assert_inside(pointers[mask])
        return load(pointers, mask, *rest)

    def watched_store(pointers, value, mask):
        assert_inside(pointers[mask])
        return store(pointers, value, mask)

    monkeypatch.setattr(torch.Tensor, "new_empty", new_empty)
    monkeypatch.setattr(torch.Tensor, "contiguous", lambda self: known(copy(self)))
    monkeypatch.setattr(machine, "load", watched_load)
    monkeypatch.setattr(machine, "store", watched_store)
    yield
    KNOWN.clear()


def run(case: Case, made: Problem64, epilogue: Epilogue = NOTHING) -> Tensor:
    from gossamer.ops.conv.gpu.product import product

    choice = Choice("sorted", case.tile, case.limit, 0, case.precision)
    x, weight, *lists = (fenced(t) for t in (made.x, made.weight, *made.lists))
    parts = {name: getattr(epilogue, name) for name in ("scale", "shift", "residual")}
    parts = {name: t if t is None else fenced(t) for name, t in parts.items()}
    epilogue = replace(epilogue, **parts)
    return product(x, weight, lists, case.rows, case.groups, epilogue, choice)


def agree(y: Tensor, wanted: Tensor, scale: Tensor, case: Case) -> None:
    """Within the rounding of float32 sums, and of one number of the dtype."""
    terms = case.taps * case.c_in + 8
    bound = scale * terms * torch.finfo(torch.float32).eps
    bound += (wanted.abs() + bound) * torch.finfo(case.dtype).eps + 1e-30
    count = case.rows if case.count is None else case.count
    assert y.dtype == case.dtype and y.shape == wanted.shape
    assert ((y.double() - wanted).abs()[:count] <= bound[:count]).all()


CASES = {
    "one tap": Case(taps=1, density=0.6),
    "nine": Case(taps=9, c_in=16, c_out=16),
    "twenty-seven": Case(),
    "two words": Case(taps=33, density=0.2),
    "exactly a word": Case(taps=32, density=0.2, seed=1),
    "four words": Case(taps=125, density=0.03, c_in=3, c_out=5),
    "three orders": Case(orders=3, density=0.15),
    "three orders, every slot taken": Case(taps=3, orders=3, rows=256, density=1.0, c_out=9),
    "three orders of two words": Case(taps=105, orders=3, density=0.03, c_in=4, c_out=4),
    "five orders": Case(taps=125, orders=5, density=0.02, c_in=4, c_out=20),
    "full": Case(taps=9, density=1.0),
    "empty": Case(taps=9, density=0.0),
    "empty in three orders": Case(taps=9, orders=3, density=0.0),
    "unsorted": Case(taps=9, sort=False),
    "one channel": Case(taps=9, c_in=1, c_out=1),
    "odd channels": Case(taps=9, c_in=33, c_out=31),
    "more than a tile": Case(taps=9, c_in=20, c_out=33),
    "mirrored": Case(naming=1),
    "mirrored in three orders": Case(naming=1, orders=3),
    "listed": Case(taps=9, naming=2),
    "listed in two words": Case(taps=40, naming=2, density=0.1),
    "listed in three orders": Case(taps=9, naming=2, orders=3),
    "groups": Case(taps=9, groups=3, c_in=5, c_out=7),
    "groups in three orders": Case(taps=9, orders=3, groups=2, c_in=4, c_out=17),
    "no input": Case(taps=9, inputs=0),
    "no input in three orders": Case(taps=9, orders=3, inputs=0),
    "one input": Case(taps=9, inputs=1, density=0.5),
    "one row": Case(taps=9, rows=1),
    "two blocks of slots": Case(taps=3, rows=260, density=0.4),
    "half": Case(dtype=torch.float16),
    "bfloat16": Case(dtype=torch.bfloat16),
    "bfloat16 in three orders": Case(dtype=torch.bfloat16, orders=3),
    "limit 1": Case(taps=9, limit=1),
    "limit 3": Case(limit=3, density=0.1),
    "limit 3 in two words": Case(taps=40, limit=3, density=0.02, rows=70),
    "limit in groups": Case(taps=9, limit=4, groups=2, c_out=17, dtype=torch.float16),
    "limit just met": Case(taps=4, limit=2, rows=8, density=0.08, seed=3),
    "limit, every slot taken": Case(taps=3, limit=1, rows=256, density=1.0, c_out=9),
    "limit of all taps": Case(taps=9, limit=9),
    "a limit in three orders is none": Case(taps=9, orders=3, limit=2),
    "short tile": Case(taps=9, tile=Tile(16, 16, 16, 4, 2), limit=4),
    "tall tile": Case(tile=Tile(64, 16, 16, 4, 2), rows=100, density=0.1),
    "tall tile with a limit": Case(tile=Tile(64, 16, 16, 4, 2), rows=100, density=0.05, limit=3),
    "two slices": Case(taps=9, c_out=60, tile=Tile(32, 64, 16, 1, 2)),
    "four slices": Case(taps=9, c_out=64, tile=Tile(64, 64, 16, 1, 2)),
    "four slices in three orders": Case(taps=9, orders=3, c_out=60, tile=Tile(64, 64, 16, 1, 2)),
    "four slices with a limit": Case(taps=9, limit=2, c_out=60, tile=Tile(64, 64, 16, 1, 2)),
    "tf32 by another layout": Case(taps=9, precision="tf32"),
    "tf32x3": Case(taps=9, precision="tf32x3"),
}
"""Every way through the kernels."""


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_product_is_the_sum_over_the_lines_of_a_table(case, fences):
    made = problem(case)
    agree(run(case, made), made.sums, made.scale, case)


@pytest.mark.parametrize("limit", [0, 2])
@pytest.mark.parametrize("orders", [1, 3])
def test_rows_beyond_the_count_are_not_read(orders, limit, fences):
    case = Case(taps=9, orders=orders, count=23, limit=limit)
    made = problem(case)
    y = run(case, made)
    agree(y, made.sums, made.scale, case)
    assert y[case.count :].isnan().all()  # as they were allocated


def test_a_table_without_rows_gives_no_rows():
    for orders, limit in ((1, 0), (3, 0), (1, 2)):
        case = Case(taps=9, rows=0, orders=orders, limit=limit)
        assert run(case, problem(case)).shape == (0, 8)


EPILOGUES = [
    ("scale", "none"),
    ("shift residual", "leaky_relu"),
    ("scale shift residual", "relu"),
]
WAYS = [
    Case(taps=9, c_out=20),
    Case(taps=9, c_out=20, orders=3, dtype=torch.float16),
    Case(taps=9, c_out=20, limit=2, dtype=torch.bfloat16),
    Case(taps=9, c_out=40, groups=2, limit=2, tile=Tile(64, 64, 16, 1, 2)),
]


@pytest.mark.parametrize("case", WAYS, ids=["at once", "by orders", "by items", "by slices"])
@pytest.mark.parametrize(("given", "activation"), EPILOGUES, ids=str)
def test_the_last_steps_come_after_the_whole_sum(case, given, activation, fences):
    made = problem(case)
    width = case.groups * case.c_out
    shapes = {"scale": (width,), "shift": (width,), "residual": (case.rows, width)}
    parts = {name: torch.randn(shapes[name]).to(case.dtype) for name in given.split()}
    wanted, size = made.sums, made.scale
    if "scale" in parts:
        wanted, size = wanted * parts["scale"].double(), size * parts["scale"].double().abs()
    for name in ("shift", "residual"):
        if name in parts:
            wanted, size = wanted + parts[name].double(), size + parts[name].double().abs()
    slope = {"none": 1.0, "relu": 0.0, "leaky_relu": 0.25}[activation]
    wanted = torch.where(wanted < 0, wanted * slope, wanted)
    y = run(case, made, Epilogue(**parts, activation=activation, slope=0.25))
    agree(y, wanted, size, case)


def test_relu_keeps_infinity_and_nan():
    case = Case(taps=1, density=1.0)
    made = problem(case)
    residual = torch.zeros(case.rows, 8)
    residual[0], residual[1], residual[2] = -torch.inf, torch.inf, torch.nan
    y = run(case, made, Epilogue(residual=residual, activation="relu"))
    assert (y[0] == 0).all() and (y[1] == torch.inf).all() and y[2].isnan().all()


def test_the_input_gradient_s_weight_needs_no_copy():
    case = Case(taps=9, c_in=20, c_out=18)
    made = problem(case)
    turned = made.weight.mT.contiguous().mT
    assert not turned.is_contiguous()
    assert torch.equal(run(case, replace(made, weight=turned)), run(case, made))


def test_a_row_s_bits_do_not_depend_on_the_rows_beside_it():
    for orders in (1, 3):
        # One channel: what the interpreter multiplies with rounds by the place of a row.
        case = Case(taps=9, orders=orders, c_in=1)
        made = problem(case)
        assert torch.equal(run(case, made), run(case, problem(replace(case, sort=False))))
        assert torch.equal(run(case, made), run(replace(case, tile=Tile(64, 32, 16, 4, 2)), made))


def test_the_op_takes_a_table():
    case = Case(taps=9, c_in=5, c_out=6)
    made = problem(case)
    with use_backend("triton"):
        y = conv(made.x, made.weight, made.lists, [], case.rows, 1)
        shift = torch.ones(6)
        fused = conv_fused(
            made.x, made.weight, made.lists, case.rows, 1, None, shift, None, "none", 0.0
        )
    agree(y, made.sums, made.scale, case)
    agree(fused, made.sums + 1, made.scale + 1, case)


def test_the_choice_is_that_of_the_plan():
    case = Case(taps=9)
    made = problem(case)
    asked = []
    with use_backend("triton"), plans.use(lambda demand, it: asked.append(demand) or it):
        conv(made.x, made.weight, made.lists, [], case.rows, 1)
    assert asked == [plans.Demand("conv", plans.INTERPRETER, torch.float32, 8, 8, 9)]


def test_one_channel_a_group_is_depthwise():
    case = Case(taps=9, groups=6, c_in=1, c_out=1)
    made = problem(case)
    with use_backend("triton"):
        y = conv(made.x, made.weight, made.lists, [], case.rows, 6)
    agree(y, made.sums, made.scale, case)


def test_what_is_refused_is_said():
    from gossamer.ops.conv.triton import refuses

    assert refuses(Problem("conv", "cpu", torch.float32, TABLE)) == ""
    assert refuses(Problem("conv", "cpu", torch.float32, PAIRS)) == "takes a table, not pairs"
    assert "float64" in refuses(Problem("conv", "cpu", torch.float64, TABLE))
    made = problem(Case(taps=9))
    with use_backend("triton"), pytest.raises(NoBackendError, match="float64 kernel"):
        conv(made.x.double(), made.weight.double(), made.lists, [], FEW, 1)
