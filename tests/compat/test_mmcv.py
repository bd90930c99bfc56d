"""mmcv's compiled functions over gossamer, against loops over coordinates."""

import sys
from itertools import product
from math import prod
from types import ModuleType

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gossamer.compat import mmcv

KINDS = ("regular", "submanifold", "transposed")


def some_rows(ndim: int, count: int, repeat: bool = False, seed: int = 0) -> Tensor:
    """[at most count, 1+D] int32 in a grid of 5 an axis and 2 samples, in no order."""
    dice = torch.Generator().manual_seed(seed)
    cells = torch.randint(0, 2 * 5**ndim, (count,), generator=dice)
    if not repeat:
        cells = cells.unique()[torch.randperm(len(cells.unique()), generator=dice)]
    return torch.stack(torch.unravel_index(cells, (2,) + (5,) * ndim), dim=1).int()


def by_loops(rows, out_shape, kind, size, stride, padding, dilation):
    """The rows written, sorted, and every (tap, row read, row written)."""
    places = [tuple(row) for row in rows.tolist()]
    first = {place: row for row, place in reversed(list(enumerate(places)))}
    reached = []
    for tap, offsets in enumerate(product(*map(range, size))):
        for row, (batch, *place) in enumerate(places):
            if kind == "submanifold":
                axes = zip(place, offsets, dilation, size, strict=True)
                seen = [c + t * d - k // 2 for c, t, d, k in axes]
                # The middle tap reads the row itself, wherever a dilated kernel has it.
                own = tap == prod(size) // 2 or seen == place
                source = row if own else first.get((batch, *seen))
                reached += [] if source is None else [(tap, source, row)]
                continue
            axes = zip(place, offsets, stride, padding, dilation, strict=True)
            if kind == "transposed":
                to = [c * s - p + t * d for c, t, s, p, d in axes]
            else:
                wide = [(c + p - t * d, s) for c, t, s, p, d in axes]
                if any(w % s for w, s in wide):
                    continue
                to = [w // s for w, s in wide]
            if all(0 <= c < n for c, n in zip(to, out_shape, strict=True)):
                reached.append((tap, row, (batch, *to)))
    if kind == "submanifold":
        return places, set(reached)
    outs = sorted({to for _, _, to in reached})
    return outs, {(tap, row, outs.index(to)) for tap, row, to in reached}


def triples(pairs: Tensor, counts: Tensor) -> list[tuple[int, int, int]]:
    lists = zip(pairs.tolist(), counts.tolist(), strict=True)
    return [
        (tap, source, target)
        for tap, ((sources, targets), count) in enumerate(lists)
        for source, target in zip(sources[:count], targets[:count], strict=True)
    ]


def built(rows, kind, size, stride=1, padding=0, dilation=1):
    ndim = rows.shape[1] - 1
    flags = {"subm": kind == "submanifold", "transpose": kind == "transposed"}
    kernel = (size, stride, padding, dilation, 0)
    return mmcv.get_indice_pairs(rows, 2, [5] * ndim, *kernel, **flags)


@given(
    kind=st.sampled_from(KINDS),
    ndim=st.integers(1, 4),
    count=st.sampled_from([0, 1, 20]),
    repeat=st.booleans(),
    data=st.data(),
)
def test_lists_are_those_of_loops(kind, ndim, count, repeat, data):
    draw = lambda low, high: data.draw(st.tuples(*[st.integers(low, high)] * ndim))  # noqa: E731
    size, stride, padding, dilation = draw(1, 3), draw(1, 2), draw(0, 1), draw(1, 2)
    ones = (1,) * ndim
    # mmcv has stride or dilation, not both.
    dilation = tuple(1 if s > 1 else d for s, d in zip(stride, dilation, strict=True))
    dilation = ones if kind == "transposed" else dilation
    rows = some_rows(ndim, count, repeat)
    axes = list(zip(size, stride, padding, dilation, strict=True))
    if kind == "transposed":
        shape = [4 * s - 2 * p + k for k, s, p, _ in axes]
    else:
        shape = [(5 + 2 * p - d * (k - 1) - 1) // s + 1 for k, s, p, d in axes]
    outs, wanted = by_loops(rows, shape, kind, size, stride, padding, dilation)
    outids, pairs, counts = built(rows, kind, size, stride, padding, dilation)
    assert outids.dtype == pairs.dtype == counts.dtype == torch.int32
    assert outids.tolist() == [list(out) for out in outs]
    assert pairs.shape == (len(counts), 2, len(rows))
    found = triples(pairs, counts)
    assert set(found) == wanted and len(found) == len(wanted)
    filled = torch.arange(pairs.shape[2]) < counts[:, None]
    assert (pairs >= 0).equal(filled[:, None].expand_as(pairs))


def sum_of_loops(features, filters, found, outputs) -> Tensor:
    weight = filters.reshape(-1, *filters.shape[-2:])
    y = features.new_zeros(outputs, weight.shape[2])
    for tap, source, target in found:
        y[target] += features[source] @ weight[tap]
    return y


@pytest.mark.parametrize("remembered", [True, False])
@pytest.mark.parametrize("repeat", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_convolution_sums_what_the_lists_say_and_back(kind, repeat, remembered):
    rows = some_rows(3, 30, repeat)
    outids, pairs, counts = built(rows, kind, 3, 1 if kind == "submanifold" else 2)
    pairs = pairs if remembered else pairs.clone()
    found = triples(pairs, counts)
    x = torch.randn(len(rows), 4, dtype=torch.float64)
    filters = torch.randn(3, 3, 3, 4, 5, dtype=torch.float64)
    y = mmcv.indice_conv(x, filters, pairs, counts, len(outids))
    torch.testing.assert_close(y, sum_of_loops(x, filters, found, len(outids)))
    turned = [(tap, target, source) for tap, source, target in found]
    again = torch.randn(3, 3, 3, 5, 4, dtype=torch.float64)
    z = mmcv.indice_inverse_conv(y, again, pairs, counts, len(rows))
    torch.testing.assert_close(z, sum_of_loops(y, again, turned, len(rows)))


def test_of_filters_that_have_more_taps_than_the_rulebook_the_first_count():
    """The rule of a shared indice_key: the first rulebook, and its number of taps."""
    rows = some_rows(3, 40)
    outids, pairs, counts = built(rows, "submanifold", (1, 3, 3))
    x, filters = torch.randn(len(rows), 4), torch.randn(3, 3, 3, 4, 5, requires_grad=True)
    y = mmcv.indice_conv(x, filters, pairs, counts, len(outids))
    first = filters.detach().view(27, 4, 5)[:9]
    torch.testing.assert_close(y, sum_of_loops(x, first, triples(pairs, counts), len(outids)))
    y.sum().backward()
    taps = filters.grad.view(27, 4, 5).any(2).any(1)
    assert taps[:9].all() and not taps[9:].any()


def test_filters_with_fewer_taps_than_the_rulebook_are_refused():
    rows = some_rows(3, 10)
    outids, pairs, counts = built(rows, "submanifold", 3)
    with pytest.raises(ValueError, match=r"9 taps and the rulebook 27.*another key"):
        mmcv.indice_conv(
            torch.ones(len(rows), 2), torch.ones(1, 3, 3, 2, 2), pairs, counts, len(outids)
        )


@pytest.mark.parametrize("remembered", [True, False])
def test_a_rulebook_of_other_sites_is_refused(remembered):
    rows = some_rows(3, 10)
    outids, pairs, counts = built(rows, "submanifold", 3)
    mmcv.indice_conv(torch.ones(len(rows), 2), torch.ones(27, 2, 2), pairs, counts, len(outids))
    pairs = pairs if remembered else pairs.clone()
    with pytest.raises(ValueError):
        mmcv.indice_conv(torch.ones(3, 2), torch.ones(27, 2, 2), pairs, counts, 3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [0, 1, 12])
def test_gradients_are_slopes_and_the_backward_functions_return_them(kind, count):
    rows = some_rows(2, count)
    outids, pairs, counts = built(rows, kind, 3, 1 if kind == "submanifold" else 2)
    x = torch.randn(len(rows), 2, dtype=torch.float64, requires_grad=True)
    filters = torch.randn(3, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    conv = lambda x, w: mmcv.indice_conv(x, w, pairs, counts, len(outids))  # noqa: E731
    assert torch.autograd.gradcheck(conv, (x, filters))
    assert torch.autograd.gradgradcheck(conv, (x, filters))
    y = conv(x, filters)
    grad = torch.randn_like(y)
    wanted = torch.autograd.grad(y, (x, filters), grad)
    found = mmcv.indice_conv_backward(x, filters, grad, pairs, counts)
    assert all(map(torch.equal, found, wanted))
    pooled = mmcv.indice_maxpool(x, pairs, counts, len(outids))
    grad = torch.randn_like(pooled)
    wanted = torch.autograd.grad(pooled, x, grad)[0]
    assert mmcv.indice_maxpool_backward(x, pooled, grad, pairs, counts).equal(wanted)


@pytest.mark.parametrize("repeat", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_maximum_is_the_largest_that_the_lists_say_also_below_zero(kind, repeat):
    rows = some_rows(3, 30, repeat)
    outids, pairs, counts = built(rows, kind, 3, 1 if kind == "submanifold" else 2)
    x = torch.randn(len(rows), 4) - 5
    wanted = torch.full((len(outids), 4), -torch.inf)
    for _, source, target in triples(pairs, counts):
        wanted[target] = wanted[target].maximum(x[source])
    assert mmcv.indice_maxpool(x, pairs, counts, len(outids)).equal(wanted)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_fused_convolution_adds_its_bias(dtype):
    rows = some_rows(3, 20)
    outids, pairs, counts = built(rows, "regular", 2, 2)
    x, filters = torch.randn(len(rows), 4).to(dtype), torch.randn(2, 2, 2, 4, 5).to(dtype)
    bias = torch.randn(5).to(dtype)
    rest = (pairs, counts, len(outids), False)
    y = mmcv.fused_indice_conv(x, filters, bias, *rest, False)
    assert y.dtype == dtype
    assert y.equal(mmcv.indice_conv(x, filters, *rest) + bias)


def test_a_row_outside_the_grid_makes_the_grid_larger_and_is_told():
    rows = some_rows(3, 20)
    with pytest.warns(UserWarning, match=r"outside spatial_shape \[2, 5, 5\].*clip"):
        found = mmcv.get_indice_pairs(rows, 2, [2, 5, 5], 3, 2, 1)
    wanted = mmcv.get_indice_pairs(rows, 2, [int(rows[:, 1].max()) + 1, 5, 5], 3, 2, 1)
    assert all(map(torch.equal, found, wanted))


@pytest.mark.parametrize(
    ("column", "value", "message"), [(1, -1, "inside the grid from 0 on"), (0, 2, "batch")]
)
def test_a_row_that_no_grid_holds_is_refused(column, value, message):
    rows = some_rows(3, 5)
    rows[2, column] = value
    with pytest.raises(ValueError, match=message):
        built(rows, "regular", 3)


def test_without_mmcv_ops_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mmcv.ops", None)
    with pytest.raises(ImportError, match="pip install mmcv"):
        mmcv.install()


def test_every_module_of_mmcv_gets_the_functions_that_it_has(monkeypatch):
    names = {
        "sparse_functional": ["indice_conv", "indice_subm_conv", "indice_inverse_conv"],
        "sparse_ops": ["get_indice_pairs", "indice_conv", "fused_indice_conv", "other"],
        "sparse_pool": ["get_indice_pairs", "indice_maxpool"],
    }
    ops = ModuleType("mmcv.ops")
    for module, functions in names.items():
        there = ModuleType(f"mmcv.ops.{module}")
        vars(there).update(dict.fromkeys(functions))
        setattr(ops, module, there)
        monkeypatch.setitem(sys.modules, there.__name__, there)
    monkeypatch.setitem(sys.modules, "mmcv", ModuleType("mmcv"))
    monkeypatch.setitem(sys.modules, "mmcv.ops", ops)
    mmcv.install()
    for module, functions in names.items():
        for name in functions:
            assert getattr(getattr(ops, module), name) is mmcv.REPLACED.get(name)
        assert not hasattr(getattr(ops, module), "indice_conv_backward")


def test_lists_that_were_written_into_are_read_again():
    rows = some_rows(3, 20)
    outids, pairs, counts = built(rows, "regular", 2, 2)
    x, filters = torch.randn(len(rows), 4), torch.randn(2, 2, 2, 4, 5)
    mmcv.indice_conv(x, filters, pairs, counts, len(outids))
    counts[1:] = 0
    only_first = mmcv.indice_conv(x, filters, pairs, counts, len(outids))
    n = int(counts[0])
    wanted = torch.zeros(len(outids), 5)
    wanted[pairs[0, 1, :n].long()] = x[pairs[0, 0, :n].long()] @ filters[0, 0, 0]
    torch.testing.assert_close(only_first, wanted)
