"""Weighted sums of rows, their adjoint, and the weights' gradient."""

import pytest
import torch

from gossamer.ops.points import interpolate, interpolation_dots, spread

P, J, N, C = 11, 4, 6, 19


def values(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64).to(dtype)


@pytest.fixture
def rows() -> torch.Tensor:
    torch.manual_seed(0)
    out = torch.randint(-1, N, (P, J))
    out[3] = -1  # a point far from all
    out[4] = 2  # a point whose corners are all one row
    return out


@pytest.fixture
def matrix(rows):
    """[P, J, N]: 1 where corner j of point p is row n."""
    return (rows.unsqueeze(2) == torch.arange(N)).double()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_the_three_ops_are_the_derivatives_of_one_sum(backend, rows, matrix, dtype):
    x, g, weights = (values(*s, dtype=dtype) for s in [(N, C), (P, C), (P, J)])
    exact = [t.double() for t in (x, g, weights)]
    inner = torch.float64 if dtype == torch.float64 else torch.float32
    roundings = 2 * max(P * J, C) * torch.finfo(inner).eps + torch.finfo(dtype).eps

    def agree(ours: torch.Tensor, formula: str, *operands: torch.Tensor) -> None:
        magnitude = torch.einsum(formula, *(t.abs() for t in operands))
        assert ours.dtype == dtype
        assert ((ours - torch.einsum(formula, *operands)).abs() <= roundings * magnitude).all()

    agree(interpolate(x, weights, rows), "pj,pjn,nc->pc", exact[2], matrix, exact[0])
    agree(spread(g, weights, rows, N), "pj,pjn,pc->nc", exact[2], matrix, exact[1])
    agree(interpolation_dots(x, g, rows), "pjn,nc,pc->pj", matrix, exact[0], exact[1])


def test_each_has_true_gradients_of_first_and_second_order(backend, rows):
    x, g, weights = (values(*s).requires_grad_() for s in [(N, 3), (P, 3), (P, J)])
    cases = [
        (lambda x, w: interpolate(x, w, rows), (x, weights)),
        (lambda g, w: spread(g, w, rows, N), (g, weights)),
        (lambda x, g: interpolation_dots(x, g, rows), (x, g)),
    ]
    for run, inputs in cases:
        assert torch.autograd.gradcheck(run, inputs, fast_mode=True)
        assert torch.autograd.gradgradcheck(run, inputs, fast_mode=True)


def test_spread_is_the_adjoint_of_interpolate(backend, rows):
    x, g, weights = values(N, C), values(P, C), values(P, J)
    forward, backward = interpolate(x, weights, rows), spread(g, weights, rows, N)
    torch.testing.assert_close((forward * g).sum(), (x * backward).sum())  # <Ax, g> = <x, A'g>


def test_a_row_of_minus_one_adds_nothing_not_even_a_nan(backend):
    x = torch.full((2, 3), torch.nan)
    weights, rows = torch.ones(4, 2), torch.full((4, 2), -1)
    assert (interpolate(x, weights, rows) == 0).all()
    assert (interpolation_dots(x, torch.ones(4, 3), rows) == 0).all()
    assert (spread(torch.full((4, 3), torch.nan), weights, rows, 5) == 0).all()


def test_many_points_and_channels_agree_with_one_matrix_product(backend):
    rng = torch.Generator().manual_seed(0)
    points, sites, channels = 20_000, 300, 37  # several pieces of points, and of channels
    rows = torch.randint(-1, sites, (points, 2), generator=rng)
    weights = torch.randn(points, 2, generator=rng, dtype=torch.float64)
    x = torch.randn(sites, channels, generator=rng, dtype=torch.float64)
    place = torch.arange(points).unsqueeze(1).expand_as(rows)
    keep = rows >= 0
    indices = torch.stack([place[keep], rows[keep]])
    matrix = torch.sparse_coo_tensor(indices, weights[keep], (points, sites), check_invariants=True)
    torch.testing.assert_close(interpolate(x, weights, rows), matrix @ x)
    g = torch.randn(points, channels, generator=rng, dtype=torch.float64)
    torch.testing.assert_close(spread(g, weights, rows, sites), matrix.mT @ g)


@pytest.mark.parametrize("channels", [1, 16, 37])
def test_spread_gives_the_same_bits_for_any_number_of_threads(channels):
    rng = torch.Generator().manual_seed(0)
    rows = torch.randint(-1, 300, (20_000, 2), generator=rng)
    weights, g = (torch.randn(20_000, n, generator=rng) for n in (2, channels))
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            results.append(spread(g, weights, rows, 300))
    finally:
        torch.set_num_threads(before)
    for result in results[1:]:
        assert torch.equal(result, results[0])
