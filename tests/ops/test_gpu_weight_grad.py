"""Laws of the weight gradient of tables, in Triton's interpreter, against sums in float64."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gossamer.ops.plans import Tile, use
from tests.ops.tables import POISON, random_sources, table, tap

pytestmark = [pytest.mark.interpreter, pytest.mark.usefixtures("garbage")]

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def weight_grad(*arguments):
    # Triton decides at its first import whether it is interpreted.
    from gossamer.ops.conv.gpu.weight_grad import weight_grad

    return weight_grad(*arguments)


def by_hand(x: Tensor, grad: Tensor, sources: Tensor, taps, groups: int) -> tuple[Tensor, Tensor]:
    """The gradient in float64, and the sum of the magnitudes of what it is the sum of."""
    split = [t.double().unflatten(1, (groups, t.shape[1] // groups)) for t in (x, grad)]
    high, wide = split[0].shape[2], split[1].shape[2]
    found = torch.zeros(2, len(sources), high, groups, wide, dtype=torch.float64)
    for line, of_rows in enumerate(sources.tolist()):
        for row, source in enumerate(of_rows):
            if source >= 0:
                product = torch.einsum("gi,go->igo", split[0][source], split[1][row])
                found[:, tap(taps, line)] += torch.stack([product, product.abs()])
    return found[0].flatten(2), found[1].flatten(2)


def check(x: Tensor, grad: Tensor, sources: Tensor, taps=None, groups: int = 1) -> Tensor:
    """Compute the gradient, hold it against the one by hand, and return it."""
    found = weight_grad(x, grad, table(sources, taps=taps), groups)
    wanted, magnitude = by_hand(x, grad, sources, taps, groups)
    assert found.shape == wanted.shape and found.dtype == x.dtype and found.is_contiguous()
    # A sum in float32 has a rounding a pair; then one of the dtype, which may be down.
    summing = (sources >= 0).sum(1).max().item() if sources.numel() else 0
    allowed = torch.finfo(x.dtype).eps * wanted.abs() + summing * 2**-23 * magnitude
    assert ((found.double() - wanted).abs() <= allowed).all()
    return found


def features(rows: int, channels: int, dtype=torch.float32, seed: int = 1) -> Tensor:
    dice = torch.Generator().manual_seed(seed)
    return torch.randn(rows, channels, generator=dice).to(dtype)


def divided(parts: int, tile: Tile | None = None):
    """Inside the block, pairs fall into so many parts."""
    return use(lambda demand, choice: replace(choice, parts=parts, tile=tile or choice.tile))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lines", [1, 9, 27, 33, 125])
def test_is_the_sum_over_pairs_of_outer_products(lines, dtype):
    sources = random_sources(lines, 40, 30, 0.4)
    x, grad = features(30, 8, dtype), features(40, 16, dtype, 2)
    assert check(x, grad, sources).abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(
    ("c_in", "c_out", "groups"),
    [
        *[(1, 1, 1), (1, 20, 1), (7, 2, 1), (17, 33, 1), (33, 16, 1), (24, 8, 1)],
        *[(6, 4, 2), (9, 3, 3), (16, 48, 2), (40, 72, 2), (4, 5, 1)],
    ],
)
def test_any_channels_and_groups(c_in, c_out, groups, dtype):
    sources = random_sources(5, 20, 25, 0.5)
    check(features(25, c_in, dtype), features(20, c_out, dtype, 2), sources, groups=groups)


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 64, 200])
@pytest.mark.parametrize("density", [0.02, 0.5])
def test_any_number_of_parts_also_more_than_there_are_pairs(parts, density):
    sources = random_sources(9, 60, 60, density, seed=3)
    sources[2] = sources[6] = sources[7] = -1
    with divided(parts):
        found = check(features(60, 4), features(60, 5, seed=2), sources)
    assert not found[[2, 6, 7]].any() and found[0].any()


def test_a_long_line_among_short_ones():
    sources = random_sources(9, 150, 150, 0.01, seed=4)
    sources[4] = torch.arange(150)
    for parts in (5, 70):
        with divided(parts):
            check(features(150, 3), features(150, 3, seed=2), sources)


@pytest.mark.parametrize("tile", [Tile(16, 16, 32, 4, 2), Tile(32, 32, 16, 4, 2)])
def test_any_tile(tile):
    sources = random_sources(4, 50, 40, 0.9)
    with divided(3, tile):
        check(features(40, 40), features(50, 72, seed=2), sources)
        check(features(40, 80), features(50, 40, seed=2), sources, groups=2)


@pytest.mark.parametrize("taps", [None, [8], [3, 1, 4, 0, 5, 8, 2, 6, 7]])
@pytest.mark.parametrize(("c_in", "groups"), [(4, 1), (3, 3)])
def test_every_line_comes_where_its_tap_is(taps, c_in, groups):
    check(features(30, c_in), features(30, 6, seed=2), random_sources(9, 30, 30, 0.3), taps, groups)


@pytest.mark.parametrize("taps", [None, [0]])
@pytest.mark.parametrize(("c_in", "groups"), [(5, 1), (3, 3)])
@pytest.mark.parametrize(("inputs", "rows"), [(0, 0), (0, 5), (5, 0), (1, 1), (5, 1), (1, 5)])
def test_few_rows_or_none(inputs, rows, c_in, groups, taps):
    sources = random_sources(1, rows, inputs, 1.0)
    found = check(features(inputs, c_in), features(rows, 6), sources, taps, groups)
    assert found.any() == (inputs > 0 and rows > 0)


@pytest.mark.parametrize(("c_in", "c_out"), [(0, 3), (3, 0)])
def test_no_channels(c_in, c_out):
    check(features(5, c_in), features(5, c_out), random_sources(3, 5, 5, 0.5))


@pytest.mark.parametrize(("c_in", "groups"), [(6, 1), (6, 6)])
def test_same_bits_whatever_lies_behind_the_pairs_and_in_rows_without_any(c_in, groups):
    sources = random_sources(9, 40, 40, 0.06, seed=5)
    x, grad = features(40, c_in), features(40, 12, seed=2)
    lists = table(sources)
    first = weight_grad(x, grad, lists, groups)
    unread, unwritten = torch.ones(2, 40, dtype=torch.bool)
    unread[sources[sources >= 0].long()] = False
    unwritten[(sources >= 0).any(0)] = False
    assert unread.any() and unwritten.any() and first.any()
    x[unread], grad[unwritten] = torch.nan, torch.inf
    assert torch.equal(first, weight_grad(x, grad, lists, groups))
    total = int(lists[7][-1])
    for column in (lists[5], lists[6]):
        assert (column[total:] == POISON).all() and len(column) > total
        column[total:] = 7
    assert torch.equal(first, weight_grad(x, grad, lists, groups))


def test_rows_that_are_not_contiguous():
    x = features(12, 30).mT
    grad = features(1, 6).expand(20, 6)
    assert not x.is_contiguous() and not grad.is_contiguous()
    sources = random_sources(3, 20, 30, 0.5)
    check(x, grad, sources)
    check(x[:, ::6], grad, sources, groups=2)


def test_a_table_without_pairs_says_what_it_lacks():
    lists = table(random_sources(3, 5, 5, 0.5))
    lists[5:] = [t.new_empty(0) for t in lists[5:]]
    for groups in (1, 4):
        with pytest.raises(RuntimeError, match="not given lists of pairs"):
            weight_grad(features(5, 4), features(5, 4), lists, groups)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("lines", "groups", "multiplier"), [(1, 2, 1), (27, 5, 1), (33, 4, 3), (9, 70, 1), (3, 64, 2)]
)
def test_depthwise_is_the_same_sum(lines, groups, multiplier, dtype):
    sources = random_sources(lines, 40, 30, 0.4)
    x, grad = features(30, groups, dtype), features(40, groups * multiplier, dtype, 2)
    assert check(x, grad, sources, groups=groups).abs().sum() > 0


def test_depthwise_takes_no_matrix_kernel(monkeypatch):
    from gossamer.ops.conv.gpu import weight_grad as module

    monkeypatch.setattr(module, "_launch_products", None)
    check(features(5, 3), features(5, 6), random_sources(3, 5, 5, 0.5), groups=3)
    with pytest.raises(TypeError):
        check(features(5, 3), features(5, 6), random_sources(3, 5, 5, 0.5), groups=1)


@pytest.mark.parametrize("parts", [1, 3, 100])
def test_depthwise_with_any_number_of_parts(parts):
    sources = random_sources(9, 60, 60, 0.2, seed=3)
    sources[2] = sources[8] = -1
    with divided(parts):
        check(features(60, 20), features(60, 40, seed=2), sources, groups=20)
