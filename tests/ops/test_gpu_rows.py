"""Laws of rows moved, summed up and scaled on a GPU, in Triton's interpreter."""

import pytest
import torch
from torch import Tensor

from gossamer.ops.dispatch import use_backend
from gossamer.ops.rows import (
    affine,
    column_dots,
    from_grid,
    gated_dots,
    inverse,
    moments,
    normalise_grad,
    onto_grid,
    permute,
)

pytestmark = [pytest.mark.interpreter, pytest.mark.usefixtures("garbage", "on_triton")]

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
# The last have more than one tile a chunk, more than one chunk, and more than one block of columns.
SHAPES = [(0, 3), (1, 1), (7, 33), (130, 17), (300, 32), (270, 130)]


@pytest.fixture
def on_triton():
    with use_backend("triton"):
        yield


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    dice = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=dice, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_rows_go_to_their_places_and_back(shape, dtype):
    x, to = normal(*shape, dtype=dtype), torch.randperm(shape[0])
    y = permute(x, to)
    assert torch.equal(y[to], x)
    assert torch.equal(permute(y, inverse(to)), x)
    assert torch.equal(permute(x.T.contiguous().T, to), y)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_grid_has_each_row_at_its_cell_and_zero_elsewhere(shape, samples, dtype):
    count, channels = shape
    cells = count + 2
    x, cell = normal(*shape, dtype=dtype), torch.randperm(samples * cells)[:count]
    expected = torch.zeros(samples * cells, channels, dtype=dtype)
    expected[cell] = x
    grid = onto_grid(x, cell, samples, cells)
    assert torch.equal(grid, expected.view(samples, cells, channels).mT)
    assert torch.equal(from_grid(grid, cell), x)


def test_a_nan_is_moved_with_all_its_bits():
    bits = torch.tensor([[0x7F800001, 0x7FC12345 - 2**32]], dtype=torch.int64).int()
    x, to = bits.view(torch.float32), torch.zeros(1, dtype=torch.int64)
    assert torch.equal(permute(x, to).view(torch.int32), bits)
    assert torch.equal(from_grid(onto_grid(x, to, 1, 2), to).view(torch.int32), bits)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_moments_and_dots_are_sums_over_rows(shape, dtype):
    a, b = (normal(*shape, seed=s, dtype=dtype) for s in (0, 1))
    wide = torch.promote_types(dtype, torch.float32)
    exact, other, count = a.double(), b.double(), max(1, shape[0])
    within = 4 * count * torch.finfo(wide).eps
    total, dot = column_dots(a, b)
    mean, variance = moments(a)
    assert {t.dtype for t in (total, dot, mean, variance)} == {wide}
    assert ((total - exact.sum(0)).abs() <= within * exact.abs().sum(0)).all()
    assert ((dot - (exact * other).sum(0)).abs() <= within * (exact * other).abs().sum(0)).all()
    assert ((mean - exact.sum(0) / count).abs() <= within * exact.abs().sum(0) / count).all()
    spread = (exact - exact.sum(0) / count).square().sum(0) / count
    assert ((variance - spread).abs() <= within * spread + torch.finfo(wide).tiny).all()


@pytest.mark.parametrize("mean", [1e3, -3e5])
def test_a_variance_far_from_zero_is_no_worse_than_that_of_two_passes(mean):
    x = (normal(300, 5) + mean).float()
    exact = x.double().var(0, unbiased=False)
    ours, theirs = moments(x)[1], (x - x.mean(0)).square().mean(0)
    assert (ours - exact).abs().max() <= (theirs - exact).abs().max()


def test_a_first_row_far_from_the_others_costs_few_digits():
    x = normal(300, 3).float()
    x[0] = 1e4
    exact = x.double().var(0, unbiased=False)
    assert ((moments(x)[1] - exact).abs() <= 1e-5 * exact).all()


def test_a_column_of_one_number_has_no_variance():
    mean, variance = moments(torch.full((300, 3), 1e4 + 0.3))
    assert (mean == torch.tensor(1e4 + 0.3)).all() and (variance == 0).all()


@pytest.mark.parametrize("place", [0, 11])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_moments_of_what_is_not_finite_are_not_either(place):
    x = normal(40, 3).float()
    x[place, 0], x[12, 1] = torch.inf, torch.nan
    mean, variance = moments(x)
    assert mean[0] == torch.inf and mean[1].isnan() and mean[2].isfinite()
    assert variance.isnan().tolist() == [True, True, False]


def test_sums_have_the_same_bits_every_time():
    x = normal(300, 32).float()
    for sums in (moments, lambda x: column_dots(x, x)):
        assert all(torch.equal(a, b) for a, b in zip(sums(x), sums(x), strict=True))


@pytest.mark.parametrize("channels", [0, 1, 3, 16, 33, 64, 96, 100, 256])
@pytest.mark.parametrize("rows", [0, 1, 300, 100_000, 40_000_000])
def test_chunks_hold_all_rows_once_and_are_few(rows, channels):
    from gossamer.ops.rows.gpu.columns import PROGRAMS, Chunks

    for dtype in DTYPES:
        chunks = Chunks.of(torch.empty(rows, channels, dtype=dtype, device="meta"))
        size = chunks.rows * chunks.tiles
        assert (chunks.count - 1) * size < max(1, rows) <= max(1, chunks.count) * size
        assert chunks.count * -(-channels // chunks.columns) <= PROGRAMS


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("slope", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_an_affine_map_is_a_product_two_sums_and_an_activation(shape, added, slope, dtype):
    x, more = (normal(*shape, seed=s, dtype=dtype) for s in (0, 1))
    scale, shift = (normal(shape[1], seed=s) for s in (2, 3))
    y = affine(x, scale, shift, more if added else None, slope)
    expected = x.double() * scale + shift + (more if added else 0)
    expected = torch.nn.functional.leaky_relu(expected, slope)
    assert y.dtype == dtype
    # Terms of size 4 at most, each rounded, and the result.
    torch.testing.assert_close(y.double(), expected, rtol=0, atol=64 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("slope", [0.0, 1.0])
def test_an_affine_map_keeps_a_nan_and_makes_none_of_an_infinity(slope):
    x = torch.tensor([[torch.nan, torch.inf, -torch.inf]])
    y = affine(x, torch.ones(3), torch.zeros(3), None, slope)[0]
    assert y[0].isnan() and y[1] == torch.inf
    assert y[2] == (0 if slope == 0 else -torch.inf)


@pytest.mark.parametrize("slope", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_passes_of_batch_norm_backwards_are_what_autograd_makes_of_affine(shape, added, slope):
    count, channels = shape
    x, more, grad = (normal(*shape, seed=s).requires_grad_(s < 2) for s in range(3))
    mean, scale, shift, a, b, c = (normal(channels, seed=3 + s) for s in range(6))
    y = x * scale + shift + (more if added else 0)
    torch.nn.functional.leaky_relu(y, slope).backward(grad)
    expected = x.grad / scale
    other = more.detach() if added else None
    total, dot, gated = gated_dots(grad, x.detach(), mean, scale, shift, other, slope)
    within = {"rtol": 0, "atol": 64 * max(1, count) * torch.finfo(torch.float64).eps}
    torch.testing.assert_close(total, expected.sum(0), **within)
    torch.testing.assert_close(dot, (expected * (x.detach() - mean)).sum(0), **within)
    assert gated.shape == (count if added else 0, channels)
    if added:
        assert torch.equal(gated, more.grad)
        return
    z = normalise_grad(grad, x.detach(), mean, scale, shift, [a, b, c], slope)
    torch.testing.assert_close(z, expected * a + (x.detach() - mean) * b + c)


def test_a_gradient_is_kept_where_the_result_is_positive_and_not_where_it_is_zero_or_nan():
    x = torch.tensor([[0.0, torch.nan, 1e-30, -1e-30]])
    one, zero = torch.ones(4), torch.zeros(4)
    grad = torch.full((1, 4), 3.0)
    total, _, gated = gated_dots(grad, x, zero, one, zero, torch.zeros(1, 4), 0.5)
    assert total.tolist() == gated[0].tolist() == [1.5, 1.5, 3.0, 1.5]
    assert normalise_grad(
        grad, x.nan_to_num(), zero, one, zero, [one, zero, zero], 0.0
    ).tolist() == [[0.0, 0.0, 3.0, 0.0]]
