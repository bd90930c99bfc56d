"""Features through a rulebook, on a caller's rows in any order and with repeats."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gossamer.compat.layers.passing import mapped, pooled, through
from gossamer.compat.layers.taps import box
from gossamer.compat.rows.sites import Link, Sites
from gossamer.compat.rows.values import Values
from gossamer.geometry import Geometry


def scene(seed: int, repeats: bool):
    """Rows in no order on a plane, some at one site where they may repeat, and their features."""
    g = torch.Generator().manual_seed(seed)
    rows = torch.randint(0, 5, (20, 3), generator=g, dtype=torch.int32)
    rows[:, 0] %= 2
    rows = rows if repeats else torch.unique(rows, dim=0)
    rows = rows[torch.randperm(len(rows), generator=g)]
    return rows, torch.randn(len(rows), 3, dtype=torch.float64, generator=g), g


def linked(rows, geometry):
    sites = Sites.of(rows, None, 2)
    target = sites.led_to(geometry)
    rulebook = sites.coords.rulebook(geometry)
    return Link(sites.rows, target.rows, rulebook, geometry.kind == "submanifold"), target


def pairs(rows, out, geometry):
    """Every (tap, input row, output row) where fine = coarse * stride + offset, one by one."""
    for o, (batch, *coarse) in enumerate(out.tolist()):
        for k, offset in enumerate(geometry.offsets):
            wanted = [
                batch,
                *(c * s + v for c, s, v in zip(coarse, geometry.stride, offset, strict=True)),
            ]
            yield from ((k, i, o) for i, row in enumerate(rows.tolist()) if row == wanted)


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 10**6), st.booleans(), st.booleans(), st.sampled_from([(2, 2), (3, 3), (3, 2)])
)
def test_a_regular_kernel_counts_every_row(seed, repeats, first_fastest, size):
    rows, features, g = scene(seed, repeats)
    geometry = Geometry.of("regular", 2, box((0, 0), size, first_fastest=first_fastest), stride=2)
    link, target = linked(rows, geometry)
    weight = torch.randn(len(geometry.taps), 3, 2, dtype=torch.float64, generator=g)
    bias = torch.randn(2, dtype=torch.float64, generator=g)
    expected = bias.repeat(len(target.rows), 1)
    for k, i, o in pairs(rows, target.indices(), geometry):
        expected[o] += features[i] @ weight[k]
    torch.testing.assert_close(through(Values(features), link, weight, bias).on_rows, expected)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.booleans())
def test_a_submanifold_kernel_sees_itself_and_the_first_row_of_each_neighbour(seed, repeats):
    rows, features, g = scene(seed, repeats)
    geometry = Geometry.of("submanifold", 2, 3)
    link, _ = linked(rows, geometry)
    weight = torch.randn(9, 3, 2, dtype=torch.float64, generator=g)
    first = [rows.tolist().index(row) for row in rows.tolist()]
    expected = features @ weight[4]
    for k, i, o in pairs(rows, rows, geometry):
        if k != 4 and first[i] == i:
            expected[o] += features[i] @ weight[k]
    torch.testing.assert_close(through(Values(features), link, weight).on_rows, expected)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.booleans(), st.sampled_from(["sum", "mean", "max"]))
def test_a_pooling_counts_every_row(seed, repeats, how):
    rows, features, _ = scene(seed, repeats)
    geometry = Geometry.of("regular", 2, 3, stride=2, downsample="minkowski")
    link, target = linked(rows, geometry)
    seen: dict[int, list] = {}
    for _, i, o in pairs(rows, target.indices(), geometry):
        seen.setdefault(o, []).append(features[i])
    reduce = {"sum": lambda x: x.sum(0), "mean": lambda x: x.mean(0), "max": lambda x: x.amax(0)}
    expected = torch.stack(
        [
            reduce[how](torch.stack(seen[o])) if o in seen else features.new_zeros(3)
            for o in range(len(target.rows))
        ]
    )
    torch.testing.assert_close(pooled(Values(features), link, how).on_rows, expected)


def test_a_module_of_torchs_sees_rows_as_they_lie_and_any_other_the_callers():
    rows, features, _ = scene(0, False)
    link, _ = linked(rows, Geometry.of("submanifold", 2, 1))
    values = through(Values(features), link, torch.eye(3, dtype=torch.float64).unsqueeze(0))
    assert values.rows is not None
    assert mapped(values, nn.ReLU()).rows is values.rows
    torch.testing.assert_close(mapped(values, nn.ReLU()).on_rows, features.relu())
    torch.testing.assert_close(mapped(values, lambda f: f.cumsum(0)).on_rows, features.cumsum(0))
    same = mapped(values, nn.Identity())
    torch.testing.assert_close(same.on_rows, features)


@pytest.mark.parametrize("first_fastest", [False, True])
def test_a_box_is_counted_from_its_corner(first_fastest):
    taps = box((-1, 0), (2, 3), first_fastest=first_fastest)
    assert len(set(taps)) == 6 and taps[0] == (-1, 0) and taps[-1] == (0, 2)
    assert taps[1] == ((0, 0) if first_fastest else (-1, 1))


def test_a_mean_of_float16_may_have_a_sum_beyond_it():
    rows = torch.tensor([[0, a, b] for a in (0, 1) for b in (0, 1)], dtype=torch.int32)
    link, _ = linked(rows, Geometry.of("regular", 2, 2, stride=2))
    values = Values(torch.full((4, 1), 30_000.0, dtype=torch.float16))
    assert pooled(values, link, "mean").on_rows.tolist() == [[30_000.0]]
