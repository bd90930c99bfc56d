"""The three derivatives of one trilinear form: what each is, and that they are each other's."""

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import gossamer.ops.conv.numba as numba_conv
from gossamer.geometry import Geometry
from gossamer.ops.conv import conv, conv_fused, conv_weight_grad
from gossamer.ops.dispatch import use_backend
from gossamer.ops.rulebooks import TILE
from gossamer.rulebook import Rulebook
from tests.scenes import scene

KINDS = {
    "submanifold": {"kernel_size": 3},
    "regular": {"kernel_size": 3, "stride": 2, "padding": 1},
    "transposed": {"kernel_size": 2, "stride": 2},
    "generative": {"kernel_size": 3, "stride": 2},
}
# (C_in, C_out, groups): less than a vector, several blocks of vectors and a rest, depthwise.
WIDTHS = [(1, 1, 1), (3, 5, 1), (33, 117, 1), (20, 24, 4), (6, 12, 6), (19, 19, 19), (64, 130, 2)]


def rulebook_of(kind: str, ndim: int = 2, **options) -> Rulebook:
    geometry = Geometry.of(kind, ndim, **KINDS[kind])
    return scene(ndim, **options).sites.rulebook(geometry)


def both(rulebook: Rulebook) -> tuple[list[Tensor], list[Tensor]]:
    return rulebook.lists(listed=True), rulebook.T.lists(listed=True)


def by_definition(x: Tensor, weight: Tensor, rulebook: Rulebook, groups: int) -> Tensor:
    """The sum over pairs, in float64."""
    tap, source, target = rulebook.triples().unbind(1)
    rows = x[source].double().unflatten(1, (groups, -1))
    blocks = weight[tap].double().unflatten(2, (groups, -1))
    products = torch.einsum("pgi,pigo->pgo", rows, blocks).flatten(1)
    y = torch.zeros(rulebook.outputs, weight.shape[2], dtype=torch.float64)
    return y.index_add(0, target, products)


def gradient_by_definition(x: Tensor, grad: Tensor, rulebook: Rulebook, groups: int) -> Tensor:
    """The sum over each tap's pairs of outer products, in float64."""
    tap, source, target = rulebook.triples().unbind(1)
    rows = x[source].double().unflatten(1, (groups, -1))
    columns = grad[target].double().unflatten(1, (groups, -1))
    outer = torch.einsum("pgi,pgo->pigo", rows, columns).flatten(2)
    return outer.new_zeros(rulebook.taps, *outer.shape[1:]).index_add(0, tap, outer)


def unit_roundings(dtype: torch.dtype, terms: int) -> float:
    """How far a sum of `terms` products may be off, in units of the sum of their magnitudes."""
    inner = torch.float64 if dtype == torch.float64 else torch.float32
    # Twice, because the definition in float64 rounds too.
    sums = 2 * terms * torch.finfo(inner).eps
    return sums + (torch.finfo(dtype).eps if dtype != inner else 0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("width", WIDTHS, ids=str)
@pytest.mark.parametrize("kind", ["submanifold", "regular"])
def test_conv_is_the_sum_over_pairs(backend, kind, width, dtype):
    c_in, c_out, groups = width
    rulebook = rulebook_of(kind)
    torch.manual_seed(0)
    x = torch.randn(rulebook.inputs, c_in).to(dtype)
    weight = torch.randn(rulebook.taps, c_in // groups, c_out).to(dtype)
    y = conv(x, weight, *both(rulebook), rulebook.outputs, groups)
    exact = by_definition(x, weight, rulebook, groups)
    magnitude = by_definition(x.abs(), weight.abs(), rulebook, groups)
    terms = rulebook.taps * c_in // groups
    assert y.dtype == dtype
    assert ((y - exact).abs() <= unit_roundings(dtype, terms) * magnitude).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("width", WIDTHS, ids=str)
@pytest.mark.parametrize("kind", ["submanifold", "transposed"])
def test_the_weight_gradient_is_the_sum_of_outer_products(backend, kind, width, dtype):
    c_in, c_out, groups = width
    rulebook = rulebook_of(kind)
    torch.manual_seed(0)
    x = torch.randn(rulebook.inputs, c_in).to(dtype)
    grad = torch.randn(rulebook.outputs, c_out).to(dtype)
    got = conv_weight_grad(x, grad, *both(rulebook), groups)
    exact = gradient_by_definition(x, grad, rulebook, groups)
    magnitude = gradient_by_definition(x.abs(), grad.abs(), rulebook, groups)
    terms = int(rulebook.pairs_per_tap().max())
    assert got.dtype == dtype
    assert ((got - exact).abs() <= unit_roundings(dtype, terms) * magnitude).all()


# 33 tiles are two slabs of a weight gradient, and these widths several pieces of work.
@pytest.mark.parametrize("width", [(20, 24, 1), (48, 48, 48)], ids=str)
@pytest.mark.parametrize("kind", ["submanifold", "regular"])
def test_many_tiles_and_threads_agree_with_the_definition(kind, width):
    c_in, c_out, groups = width
    rulebook = rulebook_of(kind, sites=17_000, side=160, batch=1)
    torch.manual_seed(0)
    x = torch.randn(rulebook.inputs, c_in, dtype=torch.float64)
    weight = torch.randn(rulebook.taps, c_in // groups, c_out, dtype=torch.float64)
    grad = torch.randn(rulebook.outputs, c_out, dtype=torch.float64)
    results = []
    for name in ("numba", "reference"):
        with use_backend(name):
            y = conv(x, weight, *both(rulebook), rulebook.outputs, groups)
            results.append((y, conv_weight_grad(x, grad, *both(rulebook), groups)))
    eps = torch.finfo(torch.float64).eps
    terms = [rulebook.taps * c_in // groups, int(rulebook.pairs_per_tap().max())]
    for ours, definition, count in zip(*results, terms, strict=True):
        # Products are normal, so no sum of magnitudes is larger than a few times `count`.
        torch.testing.assert_close(ours, definition, rtol=0, atol=4 * count * count * eps)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_conv_has_true_gradients_of_first_and_second_order(backend, kind, groups):
    rulebook = rulebook_of(kind, sites=7, side=4)
    x = torch.randn(rulebook.inputs, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(rulebook.taps, 4 // groups, 4, dtype=torch.float64, requires_grad=True)

    def run(x: Tensor, weight: Tensor) -> Tensor:
        return conv(x, weight, *both(rulebook), rulebook.outputs, groups)

    assert torch.autograd.gradcheck(run, (x, weight), fast_mode=True)
    assert torch.autograd.gradgradcheck(run, (x, weight), fast_mode=True)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_the_weight_gradient_has_true_gradients_too(backend, kind, groups):
    rulebook = rulebook_of(kind, sites=7, side=4)
    x = torch.randn(rulebook.inputs, 4, dtype=torch.float64, requires_grad=True)
    grad = torch.randn(rulebook.outputs, 2, dtype=torch.float64, requires_grad=True)

    def run(x: Tensor, grad: Tensor) -> Tensor:
        return conv_weight_grad(x, grad, *both(rulebook), groups)

    assert torch.autograd.gradcheck(run, (x, grad), fast_mode=True)
    assert torch.autograd.gradgradcheck(run, (x, grad), fast_mode=True)


@pytest.mark.parametrize("kind", KINDS)
def test_the_transposed_rulebook_is_the_adjoint(backend, kind):
    rulebook = rulebook_of(kind, ndim=3)
    torch.manual_seed(0)
    x = torch.randn(rulebook.inputs, 6, dtype=torch.float64)
    y = torch.randn(rulebook.outputs, 9, dtype=torch.float64)
    weight = torch.randn(rulebook.taps, 6, 9, dtype=torch.float64)
    forward = rulebook.convolve(x, weight)
    backward = rulebook.T.convolve(y, weight.mT)
    torch.testing.assert_close((forward * y).sum(), (x * backward).sum())  # <Ax, y> = <x, A'y>


def test_memory_order_and_stride_of_the_arguments_do_not_matter(backend):
    rulebook = rulebook_of("submanifold")
    wide = torch.randn(rulebook.inputs, 10)
    weight = torch.randn(5, 9, 3).permute(1, 2, 0)  # [9, 3, 5]
    x = wide[:, 1:7:2]
    contiguous = rulebook.convolve(x.contiguous(), weight.contiguous())
    assert torch.equal(rulebook.convolve(x, weight), contiguous)


def test_the_gradient_of_a_sum_arrives_as_one_repeated_number(backend):
    rulebook = rulebook_of("submanifold")
    x = torch.randn(rulebook.inputs, 3, requires_grad=True)
    weight = torch.randn(9, 3, 5, requires_grad=True)
    grads = []
    for total in (rulebook.convolve(x, weight).sum(), (rulebook.convolve(x, weight) * 1.0).sum()):
        grads.append(torch.autograd.grad(total, (x, weight)))
    assert torch.equal(grads[0][0], grads[1][0])
    assert torch.equal(grads[0][1], grads[1][1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_summed_in_float32(backend, dtype):
    # 600 ones: bfloat16 would stop counting at 256, and float16 rounds every step past 2048.
    rulebook = Rulebook.sending(torch.arange(4096), torch.zeros(4096, dtype=torch.long), 1, 4096)
    ones = torch.ones(4096, 1, dtype=dtype)
    assert rulebook.convolve(ones, torch.ones(1, 1, 1, dtype=dtype)).item() == 4096
    assert rulebook.reduce(ones, "sum").item() == 4096
    weight_grad = conv_weight_grad(ones, torch.ones(1, 1, dtype=dtype), *both(rulebook), 1)
    assert weight_grad.item() == 4096


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("activation", ["none", "relu", "leaky_relu"])
@pytest.mark.parametrize("parts", [(1, 1, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0)], ids=str)
def test_the_fused_form_is_conv_then_scale_then_shift_then_residual_then_activation(
    backend, parts, activation, dtype
):
    rulebook = rulebook_of("regular", sites=900, side=40)
    torch.manual_seed(0)
    x = torch.randn(rulebook.inputs, 3).to(dtype)
    weight = torch.randn(rulebook.taps, 3, 21).to(dtype)
    shapes = [(21,), (21,), (rulebook.outputs, 21)]
    scale, shift, residual = (
        torch.randn(s).to(dtype) if p else None for s, p in zip(shapes, parts, strict=True)
    )
    y = conv_fused(
        x,
        weight,
        rulebook.lists(listed=True),
        rulebook.outputs,
        1,
        scale,
        shift,
        residual,
        activation,
        0.25,
    )

    def exact(part: Callable[[Tensor], Tensor]) -> Tensor:
        total = by_definition(part(x), part(weight), rulebook, 1)
        total = total if scale is None else total * part(scale.double())
        return sum((part(t.double()) for t in (shift, residual) if t is not None), total)

    expected = exact(lambda t: t)
    slope = {"none": 1.0, "relu": 0.0, "leaky_relu": 0.25}[activation]
    expected = expected.where(expected > 0, expected * slope)
    magnitude = exact(torch.abs)
    assert y.dtype == dtype
    assert ((y - expected).abs() <= unit_roundings(dtype, 27 + 3) * magnitude).all()


def test_widths_that_do_not_fit_are_an_error_and_never_read_past_the_end(backend):
    rulebook = rulebook_of("submanifold")
    x = torch.zeros(rulebook.inputs, 4)
    for weight, groups in (((9, 5, 2), 1), ((9, 3, 2), 1), ((9, 4, 2), 2), ((9, 2, 3), 2)):
        with pytest.raises(ValueError, match="x has 4 channels and weight is"):
            rulebook.convolve(x, torch.zeros(weight), groups)
    with pytest.raises(ValueError, match="features has 3 rows; this rulebook reads"):
        rulebook.convolve(x[:3], torch.zeros(9, 4, 2))
    with pytest.raises(ValueError, match="features has 3 rows; this rulebook reads"):
        rulebook.reduce(x[:3], "max")


# From here on the Numba backend, on lists that no scene would make. The numbers are whole and so
# small that every sum is exact in any order: a product that is missing or doubled is an inequality.
LENGTHS = (*range(14), *range(15, 18), *range(23, 28), *range(39, 50), 64, 255, 511, 512)
# A sum of 2**11 products of these is exact, and in float64 it would not be in float32.
LARGEST = {torch.float32: 1 << 6, torch.float64: 1 << 20}


def whole(*shape: int, most: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    """Whole numbers up to `most` and down to -`most`, but not 0."""
    rng = torch.Generator().manual_seed(seed)
    signs = torch.randint(2, shape, generator=rng) * 2 - 1
    return (signs * torch.randint(1, most + 1, shape, generator=rng)).to(dtype)


def lists_of(lengths: list[list[int]], inputs: int, outputs: int, seed: int = 0) -> list[Tensor]:
    """For every tile and slot so many pairs, or as the tile has rows; what they read is random."""
    rng = torch.Generator().manual_seed(seed)
    targets = []
    for tile, slots in enumerate(lengths):
        rows = min(TILE, outputs - tile * TILE)
        drawn = [torch.randperm(rows, generator=rng)[:length] for length in slots]
        targets += [tile * TILE + part.sort().values for part in drawn]
    starts = torch.tensor([0, *map(len, targets)]).cumsum(0)
    sources = torch.randint(inputs, (int(starts[-1]),), generator=rng)
    taps = torch.randperm(len(lengths[0]), generator=rng)
    return [sources.int(), torch.cat(targets).int(), starts, taps]


def slots_of(lists: list[Tensor]) -> Iterator[tuple]:
    """The tap, input rows and output rows of every slot of every tile."""
    inputs, outputs, starts, taps = (part.numpy() for part in lists)
    for i, (begin, end) in enumerate(pairwise(starts)):
        yield taps[i % len(taps)], inputs[begin:end], outputs[begin:end]


def convolved(x: Tensor, weight: Tensor, lists: list[Tensor], rows: int, groups: int) -> Tensor:
    """y[output] += x[input] @ weight[tap] in NumPy and float64."""
    y = np.zeros((rows, weight.shape[2]))
    parts = np.split(x.double().numpy(), groups, 1)
    weights = np.split(weight.double().numpy(), groups, 2)
    for tap, source, target in slots_of(lists):
        products = [a[source] @ w[tap] for a, w in zip(parts, weights, strict=True)]
        y[target] += np.concatenate(products, 1)  # no output comes twice in a slot
    return torch.from_numpy(y)


def weight_gradient(x: Tensor, grad: Tensor, lists: list[Tensor], groups: int) -> Tensor:
    """w[tap] += x[input] outer grad[output] in NumPy and float64."""
    w = np.zeros((len(lists[3]), x.shape[1] // groups, grad.shape[1]))
    parts, others = (np.split(t.double().numpy(), groups, 1) for t in (x, grad))
    for tap, source, target in slots_of(lists):
        outer = [a[source].T @ g[target] for a, g in zip(parts, others, strict=True)]
        w[tap] += np.concatenate(outer, 1)
    return torch.from_numpy(w)


def problem_of(width: tuple[int, int, int], lengths, inputs: int, outputs: int, dtype, seed: int):
    """x, weight, gradient of the output, pairs, rows of the output, groups."""
    c_in, c_out, groups = width
    shapes = (inputs, c_in), (len(lengths[0]), c_in // groups, c_out), (outputs, c_out)
    numbers = [whole(*s, most=LARGEST[dtype], dtype=dtype, seed=seed) for s in shapes]
    return *numbers, lists_of(lengths, inputs, outputs, seed), outputs, groups


@st.composite
def problems(draw):
    groups = draw(st.sampled_from([1, 1, 2, 5, 33]))
    channels = (
        st.just(groups) if groups == 33 else st.integers(1, 140 // groups).map(groups.__mul__)
    )
    tiles, slots = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    row = st.lists(st.sampled_from(LENGTHS), min_size=slots, max_size=slots)
    return problem_of(
        (draw(channels), draw(channels), groups),
        draw(st.lists(row, min_size=tiles, max_size=tiles)),
        draw(st.integers(1, 600)),
        (tiles - 1) * TILE + draw(st.sampled_from([1, 100, 511, 512])),
        draw(st.sampled_from(sorted(LARGEST, key=str))),
        draw(st.integers(0, 99)),
    )


def assert_exact(problem) -> None:
    x, weight, grad, lists, rows, groups = problem
    with use_backend("numba"):
        y = conv(x, weight, lists, [], rows, groups)
        w = conv_weight_grad(x, grad, lists, [], groups)
    assert y.dtype == w.dtype == x.dtype
    assert torch.equal(y.double(), convolved(x, weight, lists, rows, groups))
    assert torch.equal(w.double(), weight_gradient(x, grad, lists, groups))


@settings(max_examples=200)
@given(problems())
def test_pair_lists_of_any_length_are_convolved_exactly(garbage, problem):
    assert_exact(problem)


@pytest.mark.parametrize("dtype", LARGEST, ids=str)
def test_any_number_of_channels_in_pair_lists_is_convolved_exactly(garbage, dtype):
    dense = [(0, 40, 1), *((53 * c % 140 + 1, c, 1) for c in range(1, 141))]
    for width in (*dense, *((c, c, c) for c in range(5, 141, 9))):
        assert_exact(problem_of(width, [[13, 26]], 40, 30, dtype, width[1]))


@settings(max_examples=80)
@given(problems(), st.tuples(*[st.booleans()] * 3))
def test_pair_lists_of_any_length_are_fused_exactly(garbage, problem, parts):
    x, weight, grad, lists, rows, groups = problem
    x, weight = x.clamp(-(1 << 4), 1 << 4), weight.clamp(-(1 << 4), 1 << 4)
    shapes = (grad.shape[1],), (grad.shape[1],), grad.shape
    scale, shift, residual = (
        whole(*shape, most=1 << 3, dtype=x.dtype) if there else None
        for shape, there in zip(shapes, parts, strict=True)
    )
    epilogue = scale, shift, residual, "leaky_relu", 0.25
    with use_backend("numba"):
        y = conv_fused(x, weight, lists, rows, groups, *epilogue)
    exact = convolved(x, weight, lists, rows, groups)
    exact = exact if scale is None else exact * scale
    exact = sum((part for part in (shift, residual) if part is not None), exact)
    assert torch.equal(y.double(), exact.where(exact > 0, exact * 0.25))


@pytest.mark.parametrize("width", [(70, 40, 1), (68, 84, 2), (340, 340, 340)], ids=str)
def test_pieces_give_the_same_bits_on_any_number_of_threads(width, monkeypatch):
    c_in, c_out, groups = width
    torch.manual_seed(0)
    lists = lists_of([[300, 512, 123, 512]] * 34, 999, 34 * TILE)
    x, weight = torch.randn(999, c_in), torch.randn(4, c_in // groups, c_out)
    grad = torch.randn(34 * TILE, c_out)
    work, before, results = [], torch.get_num_threads(), []
    run = numba_conv.for_each
    monkeypatch.setattr(numba_conv, "for_each", lambda n, piece: (work.append(n), run(n, piece)))
    last = weight[0, 0], weight[1, 0], grad, "relu", 0.0
    for threads in (1, 2, 3, 5):
        torch.set_num_threads(threads)
        y = conv(x, weight, lists, [], len(grad), groups)
        fused = conv_fused(x, weight, lists, len(grad), groups, *last)
        results.append([y, fused, conv_weight_grad(x, grad, lists, [], groups)])
    torch.set_num_threads(before)
    assert work[:3] * 4 == work
    assert min(work[:2]) >= 3
    assert work[2] >= 2
    for ours in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(ours, results[0], strict=True))
