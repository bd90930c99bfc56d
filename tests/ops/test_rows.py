"""Rows moved, summed up and scaled: against torch's indexing and its automatic gradients."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossamer.ops.dispatch import use_backend
from gossamer.ops.rows import (
    affine,
    column_dots,
    fold,
    from_grid,
    gated_dots,
    inverse,
    moments,
    normalise_grad,
    onto_grid,
    permute,
)

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
EPS = torch.finfo(torch.float64).eps
SHAPES = [(0, 3), (1, 1), (7, 5), (300, 16), (5000, 33)]


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(
        *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    ).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_permutation_brings_every_row_to_its_place_and_its_inverse_brings_it_back(
    backend, shape, dtype
):
    x, to = normal(*shape, dtype=dtype), torch.randperm(shape[0])
    y = permute(x, to)
    assert torch.equal(y[to], x)
    assert torch.equal(permute(y, inverse(to)), x)
    assert torch.equal(permute(x.T.contiguous().T, to), y)  # whatever the layout of memory


@given(st.permutations(range(9)))
def test_an_inverse_undoes_a_permutation(places):
    to = torch.tensor(places)
    assert torch.equal(to[inverse(to)], torch.arange(9))
    assert torch.equal(inverse(inverse(to)), to)


def test_permutations_and_grids_have_true_gradients_of_first_and_second_order(backend):
    x, to = normal(6, 2).requires_grad_(), torch.randperm(6)
    grid, cell = normal(2, 3, 5).requires_grad_(), torch.tensor([7, 0, 4, 9, 2, 5])
    for run, leaf in (
        (lambda x: permute(x.sin(), to), x),
        (lambda x: onto_grid(x.sin(), cell, 2, 5), x),
        (lambda g: from_grid(g.sin(), cell), grid),
    ):
        assert torch.autograd.gradcheck(run, (leaf,))
        assert torch.autograd.gradgradcheck(run, (leaf,))


def test_a_permutation_of_another_length_is_an_error(backend):
    with pytest.raises(ValueError, match="x has 3 rows and the permutation 4"):
        permute(torch.zeros(3, 2), torch.arange(4))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_grid_has_each_row_at_its_cell_and_zero_elsewhere(backend, shape, samples, dtype):
    count, channels = shape
    cells = count + 2
    x, cell = normal(*shape, dtype=dtype), torch.randperm(samples * cells)[:count]
    expected = torch.zeros(samples * cells, channels, dtype=dtype)
    expected[cell] = x
    grid = onto_grid(x, cell, samples, cells)
    assert torch.equal(grid, expected.view(samples, cells, channels).mT)
    assert torch.equal(from_grid(grid, cell), x)


def test_a_row_that_goes_nowhere_is_left_out_and_comes_back_as_zero(backend):
    x, cell = normal(5, 3), torch.tensor([4, -1, 0, -1, 9])
    grid = onto_grid(x, cell, 2, 5)
    assert torch.equal(grid, onto_grid(x[cell >= 0], cell[cell >= 0], 2, 5))
    assert torch.equal(from_grid(grid, cell), torch.where(cell[:, None] < 0, 0, x))


@pytest.mark.parametrize("mean", [0.0, 1e4])
@pytest.mark.parametrize("affine", [False, True])
def test_a_folded_norm_is_the_norm(backend, mean, affine):
    norm = torch.nn.BatchNorm1d(5, affine=affine).double().eval()
    norm.running_mean.copy_(normal(5) + mean)
    norm.running_var.copy_(normal(5, seed=1).square())
    if affine:
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
    own, known = (norm.weight, norm.bias), (norm.running_mean, norm.running_var)
    own = [None if t is None else t.detach() for t in own]
    x, before = normal(7, 5, seed=2) + mean, normal(5, seed=3)
    scale, shift = fold(*known, *own, None, norm.eps, torch.float64)
    torch.testing.assert_close(x * scale + shift, norm(x).detach(), rtol=1e-9, atol=1e-9)
    scale, shift = fold(*known, *own, before, norm.eps, torch.float64)
    torch.testing.assert_close(x * scale + shift, norm(x + before).detach(), rtol=1e-9, atol=1e-9)
    assert fold(*known, *own, before, norm.eps, torch.float16)[1].dtype == torch.float16


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("slope", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_an_affine_map_is_a_product_two_sums_and_an_activation(backend, shape, added, slope, dtype):
    x, more = (normal(*shape, seed=s, dtype=dtype) for s in (0, 1))
    scale, shift = (normal(shape[1], seed=s) for s in (2, 3))
    y = affine(x, scale, shift, more if added else None, slope)
    expected = x.double() * scale + shift + (more if added else 0)
    expected = torch.nn.functional.leaky_relu(expected, slope)
    assert y.dtype == dtype
    # Terms of size 4 at most, each rounded, and the result.
    torch.testing.assert_close(y.double(), expected, rtol=0, atol=64 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("slope", [0.0, 1.0])
def test_an_affine_map_keeps_a_nan_and_makes_none_of_an_infinity(backend, slope):
    x = torch.tensor([[torch.nan, torch.inf, -torch.inf]])
    y = affine(x, torch.ones(3), torch.zeros(3), None, slope)[0]
    assert y[0].isnan() and y[1] == torch.inf
    assert y[2] == (0 if slope == 0 else -torch.inf)


@pytest.mark.parametrize("slope", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_passes_of_batch_norm_backwards_are_what_autograd_makes_of_affine(
    backend, shape, added, slope
):
    count, channels = shape
    x, more, grad = (normal(*shape, seed=s).requires_grad_(s < 2) for s in range(3))
    mean, scale, shift, a, b, c = (normal(channels, seed=3 + s) for s in range(6))
    y = x * scale + shift + (more if added else 0)
    torch.nn.functional.leaky_relu(y, slope).backward(grad)
    expected = x.grad / scale
    other = more.detach() if added else None
    total, dot, gated = gated_dots(grad, x.detach(), mean, scale, shift, other, slope)
    within = {"rtol": 0, "atol": 64 * max(1, count) * EPS}
    torch.testing.assert_close(total, expected.sum(0), **within)
    torch.testing.assert_close(dot, (expected * (x.detach() - mean)).sum(0), **within)
    assert gated.shape == (count if added else 0, channels)
    if added:
        assert torch.equal(gated, more.grad)
        return
    z = normalise_grad(grad, x.detach(), mean, scale, shift, [a, b, c], slope)
    torch.testing.assert_close(z, expected * a + (x.detach() - mean) * b + c)


@pytest.mark.parametrize("shape", SHAPES)
def test_moments_and_dots_are_sums_over_rows(backend, shape):
    a, b = (normal(*shape, seed=s) for s in (0, 1))
    within = {"rtol": 0, "atol": 8 * max(1, shape[0]) * EPS}
    for got, expected in zip(column_dots(a, b), (a.sum(0), (a * b).sum(0)), strict=True):
        torch.testing.assert_close(got, expected, **within)
    mean, variance = moments(a)
    if not shape[0]:
        assert not mean.any() and not variance.any()
        return
    torch.testing.assert_close(mean, a.mean(0), **within)
    torch.testing.assert_close(variance, a.var(0, unbiased=False), **within)


def test_vectors_of_another_length_are_an_error(backend):
    x, short, right = torch.zeros(3, 4), torch.zeros(3), torch.zeros(4)
    for act in (
        lambda: affine(x, right, short, None, 0.0),
        lambda: gated_dots(x, x, right, short, right, None, 0.0),
        lambda: normalise_grad(x, x, right, right, right, [right, right, short], 0.0),
    ):
        with pytest.raises(ValueError, match="wanted 4, one a channel"):
            act()


def test_rows_of_another_shape_are_an_error(backend):
    x, vector = torch.zeros(3, 4), torch.zeros(4)
    for other in (torch.zeros(2, 4), torch.zeros(3, 5)):
        with pytest.raises(ValueError, match=r"wanted \[3, 4\]"):
            affine(x, vector, vector, other, 0.0)
        with pytest.raises(ValueError, match=r"wanted \[3, 4\]"):
            gated_dots(x, x, vector, vector, vector, other, 0.0)


def test_backends_agree_on_many_pieces_of_work():
    x, to = normal(40_000, 24, dtype=torch.float32), torch.randperm(40_000)
    with use_backend("reference"):
        expected = permute(x, to), onto_grid(x, to, 1, 40_000)
    with use_backend("numba"):
        assert torch.equal(permute(x, to), expected[0])
        assert torch.equal(onto_grid(x, to, 1, 40_000), expected[1])
