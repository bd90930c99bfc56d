"""Laws of depthwise convolution over tables, in Triton's interpreter, against float64."""

from itertools import product

import pytest
import torch
from torch import Tensor

from gossamer.ops.conv import NOTHING, Epilogue
from tests.ops.tables import random_sources, table, tap

pytestmark = [pytest.mark.interpreter, pytest.mark.usefixtures("garbage")]


def conv_depthwise(*arguments):
    # Triton decides at its first import whether it is interpreted.
    from gossamer.ops.conv.gpu.depthwise import conv_depthwise

    return conv_depthwise(*arguments)


def by_hand(x: Tensor, weight: Tensor, sources: Tensor, taps, epilogue: Epilogue = NOTHING):
    """The convolution in float64, and the sum of the magnitudes of what it is the sum of."""
    wide = x.double().repeat_interleave(weight.shape[2] // x.shape[1], 1)
    sums = torch.zeros(2, sources.shape[1], weight.shape[2], dtype=torch.float64)
    for line, of_rows in enumerate(sources.tolist()):
        for row, source in enumerate(of_rows):
            if source >= 0:
                weighed = wide[source] * weight[tap(taps, line), 0].double()
                sums[:, row] += torch.stack([weighed, weighed.abs()])
    y, magnitude = sums
    if epilogue.scale is not None:
        y, magnitude = y * epilogue.scale.double(), magnitude * epilogue.scale.double().abs()
    for added in (epilogue.shift, epilogue.residual):
        if added is not None:
            y, magnitude = y + added.double(), magnitude + added.double().abs()
    return torch.where(y < 0, y * epilogue.below_zero, y), magnitude


def check(x, weight, sources, orders=1, taps=None, epilogue=NOTHING) -> Tensor:
    """Compute the convolution, hold it against the one by hand, and return it."""
    lists = table(sources, orders, taps)
    rows, groups = sources.shape[1], x.shape[1]
    found = conv_depthwise(x, weight, lists, rows, groups, epilogue)
    wanted, magnitude = by_hand(x, weight, sources, taps, epilogue)
    assert found.shape == wanted.shape and found.dtype == x.dtype
    # A rounding a term and step in float32; then one of the dtype, which may be down.
    allowed = torch.finfo(x.dtype).eps * wanted.abs() + (len(sources) + 3) * 2**-23 * magnitude
    assert ((found.double() - wanted).abs() <= allowed).all()
    return found


def numbers(*shape: int, dtype=torch.float32, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("lines", "orders"),
    [(1, 1), (8, 2), (9, 1), (9, 3), (27, 3), (33, 1), (66, 1), (80, 2), (105, 3), (125, 5)],
)
def test_every_row_sums_its_weighed_sources(lines, orders, dtype):
    sources = random_sources(lines, 40, 30, 0.3)
    x, weight = numbers(30, 5, dtype=dtype), numbers(lines, 1, 5, dtype=dtype, seed=2)
    assert check(x, weight, sources, orders).any()


@pytest.mark.parametrize("orders", [1, 3])
@pytest.mark.parametrize(
    ("groups", "multiplier"), [(2, 1), (2, 3), (16, 1), (16, 2), (33, 1), (70, 1), (40, 3)]
)
def test_any_channels(groups, multiplier, orders):
    width = groups * multiplier
    sources = random_sources(3, 300, 300, 0.4)
    check(numbers(300, groups), numbers(3, 1, width, seed=2), sources, orders)


@pytest.mark.parametrize("orders", [1, 3])
@pytest.mark.parametrize("density", [0.0, 0.005, 1.0])
def test_few_sources_or_all(density, orders):
    sources = random_sources(27, 270, 270, density)
    found = check(numbers(270, 3), numbers(27, 1, 3, seed=2), sources, orders)
    assert found.any() == (density > 0)


@pytest.mark.parametrize("orders", [1, 3])
@pytest.mark.parametrize("taps", [None, [8], [3, 1, 4, 0, 5, 8, 2, 6, 7]])
def test_every_line_has_the_weight_of_its_tap(taps, orders):
    sources = random_sources(9, 40, 40, 0.3)
    check(numbers(40, 3), numbers(9, 1, 3, seed=2), sources, orders, taps)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(("scale", "shift", "residual"), list(product([False, True], repeat=3)))
@pytest.mark.parametrize("activation", ["none", "relu", "leaky_relu"])
def test_the_last_steps(scale, shift, residual, activation, dtype):
    some = [numbers(6, dtype=dtype, seed=3), numbers(6, dtype=dtype, seed=4)]
    some.append(numbers(20, 6, dtype=dtype, seed=5))
    given = [t if here else None for t, here in zip(some, (scale, shift, residual), strict=True)]
    epilogue = Epilogue(given[0], given[1], given[2], activation, 0.25)
    x, weight = numbers(20, 3, dtype=dtype), numbers(9, 1, 6, dtype=dtype, seed=2)
    check(x, weight, random_sources(9, 20, 20, 0.3), 3, None, epilogue)


@pytest.mark.parametrize("orders", [1, 3])
@pytest.mark.parametrize(("inputs", "rows"), [(0, 0), (0, 5), (5, 0), (1, 1), (1, 5), (5, 256)])
def test_few_rows_or_none(inputs, rows, orders):
    sources = random_sources(3, rows, inputs, 1.0)
    check(numbers(inputs, 4), numbers(3, 1, 8, seed=2), sources, orders)


@pytest.mark.parametrize("orders", [1, 3])
def test_same_bits_wherever_a_row_stands(orders):
    sources = random_sources(27, 270, 270, 0.1)
    x, weight = numbers(270, 5), numbers(27, 1, 5, seed=2)
    found = [
        conv_depthwise(x, weight, table(sources, orders, seed=seed), 270, 5, NOTHING)
        for seed in (0, 0, 1)
    ]
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


@pytest.mark.parametrize("orders", [1, 3])
def test_a_row_sees_only_its_own_sources(orders):
    sources = random_sources(9, 40, 40, 0.05, seed=5)
    x, weight = numbers(40, 5), numbers(9, 1, 5, seed=2)
    lists = table(sources, orders)
    first = conv_depthwise(x, weight, lists, 40, 5, NOTHING)
    unread = torch.ones(40, dtype=torch.bool)
    unread[sources[sources >= 0].long()] = False
    x[unread], weight[4] = torch.nan, torch.inf
    second = conv_depthwise(x, weight, lists, 40, 5, NOTHING)
    without = sources[4] < 0
    assert unread.any() and without.any() and not without.all()
    assert torch.equal(first[without], second[without])
    assert not second[~without].isfinite().any()


@pytest.mark.parametrize("orders", [1, 3])
def test_rows_beyond_a_count_are_not_looked_at(orders):
    sources = random_sources(9, 300, 300, 0.3)
    x, weight = numbers(300, 5), numbers(9, 1, 5, seed=2)
    residual = numbers(300, 5, seed=3)
    lists = table(sources, orders, count=200)
    found = conv_depthwise(x, weight, lists, 300, 5, Epilogue(residual=residual))
    wanted, _ = by_hand(x, weight, sources, None, Epilogue(residual=residual))
    assert torch.allclose(found[:200].double(), wanted[:200], atol=1e-5)
    assert found[200:].isnan().all()


def test_arrays_that_are_not_contiguous():
    x, weight = numbers(6, 30).mT, numbers(6, 1, 9, seed=2).permute(2, 1, 0)
    residual = numbers(1, 6, seed=3).expand(20, 6)
    assert not (x.is_contiguous() or weight.is_contiguous() or residual.is_contiguous())
    check(x, weight, random_sources(9, 20, 30, 0.3), 3, None, Epilogue(residual=residual))
