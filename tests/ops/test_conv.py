"""The three derivatives of one trilinear form: what each is, and that they are each other's."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gossamer.geometry import Geometry
from gossamer.ops.conv import conv, conv_fused, conv_weight_grad
from gossamer.ops.dispatch import use_backend
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
    return list(rulebook.pairs), list(rulebook.T.pairs)


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
        list(rulebook.pairs),
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
