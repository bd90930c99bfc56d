"""Sums and largest rows over the pairs of a rulebook."""

import math

import pytest
import torch
from torch import Tensor

from gossamer.geometry import Geometry
from gossamer.ops.dispatch import use_backend
from gossamer.ops.pool import argmax, pool_sum
from gossamer.rulebook import Rulebook
from tests.scenes import scene

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def rulebooks() -> dict[str, Rulebook]:
    sites = scene(2).sites
    strided = Geometry.of("regular", 2, 3, stride=2, padding=1)
    # floor(c / 2) with one far tap leaves outputs that no pair reaches
    holes = Geometry.of("regular", 2, [(1, 1)], stride=2, downsample="minkowski")
    group = torch.tensor([0, 0, 0, 2, 3, 3, 3, 3, 3, 6])
    order = torch.tensor([4, 6, 9, 0, 1, 2, 3, 5, 7, 8])
    return {
        "overlapping": sites.rulebook(strided),
        "backwards": sites.rulebook(strided).T,
        "with holes": sites.rulebook(holes),
        "groups": Rulebook.sending(order, group, 8, 10),
        "samples": sites.per_sample(),
        "no input": Rulebook.grouping(torch.zeros(0, dtype=torch.int64), 3),
    }


NAMES = list(rulebooks())


def both(rulebook: Rulebook) -> tuple[list[Tensor], list[Tensor]]:
    return rulebook.lists(listed=True), rulebook.T.lists(listed=True)


def winner_by_definition(x: list[list[float]], rulebook: Rulebook) -> list[list[int]]:
    """Reads pairs in tap order; the first of the largest wins, and a NaN over every number."""
    channels = range(len(x[0]) if x else 0)
    best = [[-1] * len(channels) for _ in range(rulebook.outputs)]
    for _, source, target in rulebook.triples().tolist():
        for c in channels:
            old = best[target][c]
            value, held = x[source][c], x[old][c] if old >= 0 else -math.inf
            wins = value > held or (math.isnan(value) and not math.isnan(held))
            if old < 0 or wins:
                best[target][c] = source
    return best


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_pool_sum_adds_what_the_pairs_read(backend, name, dtype):
    rulebook = rulebooks()[name]
    torch.manual_seed(0)
    x = torch.randn(rulebook.inputs, 5).to(dtype)
    _, source, target = rulebook.triples().unbind(1)
    exact = torch.zeros(rulebook.outputs, 5, dtype=torch.float64)
    magnitude = exact.index_add(0, target, x[source].abs().double())
    exact = exact.index_add(0, target, x[source].double())
    inner = torch.float64 if dtype == torch.float64 else torch.float32
    most = int(rulebook.counts().max())
    roundings = 2 * most * torch.finfo(inner).eps + torch.finfo(dtype).eps
    y = pool_sum(x, *both(rulebook), rulebook.outputs)
    assert y.dtype == dtype
    assert ((y - exact).abs() <= roundings * magnitude).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [n for n in NAMES if n != "no input"])
def test_argmax_is_the_first_of_the_largest(backend, name, dtype):
    rulebook = rulebooks()[name]
    torch.manual_seed(0)
    x = torch.randn(rulebook.inputs, 6)
    x[:, 1] = -x[:, 1].abs() - 1  # all negative
    x[:, 2] = x[:, 2].round()  # ties
    x[:, 3] = 0  # nothing but ties
    x[::3, 4] = torch.nan
    x[:, 5] = -torch.inf
    x = x.to(dtype)
    winner = argmax(x, rulebook.lists(listed=True), rulebook.outputs)
    assert winner.tolist() == winner_by_definition(x.tolist(), rulebook)


def test_backends_choose_the_same_rows_over_many_tiles():
    rulebook = scene(2, sites=9000, side=120).sites.rulebook(Geometry.of("submanifold", 2, 3))
    x = torch.randn(rulebook.inputs, 3).round()
    winners, sums = [], []
    for name in ("reference", "numba"):
        with use_backend(name):
            winners.append(argmax(x, rulebook.lists(listed=True), rulebook.outputs))
            sums.append(pool_sum(x, *both(rulebook), rulebook.outputs))
    assert torch.equal(*winners)
    assert torch.equal(*sums)  # small whole numbers, so exact


@pytest.mark.parametrize("how", ["sum", "mean", "max"])
@pytest.mark.parametrize("name", NAMES)
def test_reductions_have_true_gradients_of_first_and_second_order(backend, name, how):
    rulebook = rulebooks()[name]
    torch.manual_seed(0)
    # Distinct values, so that a small step does not change which is the largest.
    x = torch.randperm(rulebook.inputs * 2).double().view(-1, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: rulebook.reduce(x, how), (x,))
    assert torch.autograd.gradgradcheck(lambda x: rulebook.reduce(x.sin(), how), (x,))


@pytest.mark.parametrize("how", ["sum", "mean", "max"])
def test_an_output_without_pairs_is_zero(backend, how):
    rulebook = rulebooks()["groups"]
    y = rulebook.reduce(torch.randn(10, 4), how)
    empty = rulebook.counts() == 0
    assert empty.tolist() == [False, True, False, False, True, True, False, True]
    assert (y[empty] == 0).all()
    assert (y[~empty] != 0).all()


def test_the_mean_is_the_sum_over_the_count(backend):
    rulebook = rulebooks()["overlapping"]
    x = torch.randn(rulebook.inputs, 3)
    count = rulebook.counts().clamp(min=1).unsqueeze(1)
    assert torch.equal(rulebook.reduce(x, "mean"), rulebook.reduce(x, "sum") / count)


def test_the_gradient_of_the_maximum_goes_to_the_winner_alone(backend):
    rulebook = rulebooks()["groups"]
    x = torch.ones(10, 1, requires_grad=True)
    rulebook.reduce(x, "max").sum().backward()
    winners = argmax(x.detach(), rulebook.lists(listed=True), rulebook.outputs)
    assert x.grad is not None
    assert sorted(x.grad.flatten().nonzero().flatten().tolist()) == sorted(
        winners[winners >= 0].tolist()
    )


def test_sum_pooling_backwards_is_its_adjoint(backend):
    rulebook = rulebooks()["overlapping"]
    x = torch.randn(rulebook.inputs, 4, dtype=torch.float64)
    y = torch.randn(rulebook.outputs, 4, dtype=torch.float64)
    forward, backward = rulebook.reduce(x, "sum"), rulebook.T.reduce(y, "sum")
    torch.testing.assert_close((forward * y).sum(), (x * backward).sum())  # <Ax, y> = <x, A'y>
