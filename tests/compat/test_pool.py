"""Pooling sees the rows that are there, every one of a repeated site, and nothing else."""

from itertools import product

import pytest
import torch
from torch import Tensor

import gossamer.compat.spconv.pytorch as spconv
from gossamer.compat.spconv.pytorch.pool import ALL_POOL_LAYERS, SparseAvgPool, SparseMaxPool
from tests.compat.rows import ORDERS, tensor
from tests.scenes import covering

SIDES = {1: 40, 2: 11, 3: 7, 4: 5}
BASES = {"Max": SparseMaxPool, "Avg": SparseAvgPool}
CASES = covering(
    3,
    ndim=[1, 2, 3, 4],
    how=["Max", "Avg"],
    size=[2, 3],
    stride=[None, 1, 2],
    padding=[0, 1],
    dilation=[1, 2],
    subm=[False, False, True],
    dtype=[torch.float32, torch.float64, torch.bfloat16, torch.float16],
    order=ORDERS,
    sites=[60, 60, 1, 0],
    training=[True, False],
)


def readers(case: dict, x: spconv.SparseConvTensor) -> tuple[list[int], dict[tuple, list[int]]]:
    """The output's spatial shape, and the rows that each of its sites sees."""
    size, dilation = case["size"], case["dilation"]
    stride, padding = case["stride"] or size, case["padding"]
    if case["subm"]:
        stride, padding = 1, size // 2 * dilation
    shape = [(n + 2 * padding - dilation * (size - 1) - 1) // stride + 1 for n in x.spatial_shape]
    seen: dict[tuple, list[int]] = {}
    for i, (batch, *cell) in enumerate(x.indices.tolist()):
        for tap in product(range(size), repeat=case["ndim"]):
            fine = [c + padding - t * dilation for c, t in zip(cell, tap, strict=True)]
            site = tuple(f // stride for f in fine)
            inside = all(0 <= o < n for o, n in zip(site, shape, strict=True))
            if inside and all(f % stride == 0 for f in fine):
                seen.setdefault((batch, *site), []).append(i)
    return shape, seen


def pooled(how: str, rows: Tensor) -> Tensor:
    return rows.amax(0) if how == "Max" else rows.mean(0)


@pytest.mark.parametrize("case", CASES, ids=lambda c: "-".join(map(str, c.values())))
def test_a_pool_is_what_each_window_holds_and_so_is_its_gradient(garbage, case):
    case = {**case, "size": 3} if case["subm"] else case
    ndim, how, dtype = case["ndim"], case["how"], case["dtype"]
    x = tensor(ndim, case["sites"], 2, case["order"], side=SIDES[ndim], uneven=True)
    torch.manual_seed(0)
    # All negative, without ties, and whole numbers that every type holds.
    numbers = -1 - torch.randperm(2 * len(x.indices)).view(-1, 2).to(dtype)
    options = {name: case[name] for name in ("stride", "padding", "dilation", "subm")}
    layer = BASES[how](ndim, case["size"], **options).train(case["training"])
    leaf = numbers.clone().requires_grad_()
    y = layer(x.replace_feature(leaf))
    cotangent = torch.randn(y.features.shape).to(dtype)
    y.features.backward(cotangent)

    shape, seen = readers(case, x)
    sites = [tuple(row) for row in x.indices.tolist()] if case["subm"] else sorted(seen)
    assert y.indices.tolist() == [list(site) for site in sites]
    assert y.spatial_shape == shape and y.features.dtype == leaf.grad.dtype == dtype
    other = numbers.double().requires_grad_()
    if not sites:
        assert y.features.shape == (0, 2)
        return
    expected = torch.stack([pooled(how, other[seen[site]]) for site in sites])
    # Sums of whole numbers are exact; then they are rounded, divided, and rounded.
    rounding = 0 if how == "Max" else 2 * torch.finfo(dtype).eps
    torch.testing.assert_close(y.features.double(), expected, rtol=rounding, atol=0)
    gradient = torch.autograd.grad(expected, other, cotangent.double(), retain_graph=True)[0]
    magnitude = torch.autograd.grad(expected, other, cotangent.abs().double())[0]
    inner = dtype if how == "Max" or dtype == torch.float64 else torch.float32
    rounding = 2 * case["size"] ** ndim * torch.finfo(inner).eps + 4 * torch.finfo(dtype).eps
    assert ((leaf.grad - gradient).abs() <= rounding * magnitude).all()


@pytest.mark.parametrize("order", ["shuffled", "repeated"])
@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("how", ["Max", "Avg"])
def test_pools_have_true_gradients_of_first_and_second_order(backend, ndim, how, order):
    x = tensor(ndim, 8, 2, order, dtype=torch.float64)
    # Distinct values, so that a small step does not change which is the largest.
    leaf = torch.randperm(2 * len(x.indices)).double().view(-1, 2).requires_grad_()
    local = getattr(spconv, f"Sparse{how}Pool{ndim}d")(2)
    for layer in (local, getattr(spconv, f"SparseGlobal{how}Pool")()):

        def run(features: Tensor, layer=layer) -> Tensor:
            y = layer(x.replace_feature(features.sin() + features))
            return y if isinstance(y, Tensor) else y.features

        assert torch.autograd.gradcheck(run, (leaf,), fast_mode=True)
        assert torch.autograd.gradgradcheck(run, (leaf,), fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
@pytest.mark.parametrize("how", ["Max", "Avg"])
def test_a_global_pool_is_one_vector_a_sample_and_zero_without_rows(how, ndim, order, dtype):
    x = tensor(ndim, 20, 5, order)
    x = x.replace_feature(-x.features.abs().to(dtype))  # the largest of negatives is negative
    y = getattr(spconv, f"SparseGlobal{how}Pool")()(x)
    assert y.shape == (3, 5) and y.dtype == dtype and not y[1].any()
    for sample in (0, 2):
        mine = x.features[x.indices[:, 0] == sample]
        torch.testing.assert_close(y[sample], pooled(how, mine.double()).to(dtype))


@pytest.mark.parametrize("how", ["Max", "Avg"])
def test_a_global_pool_of_no_rows_is_zero(how):
    x = tensor(3, 0, 5)
    y = getattr(spconv, f"SparseGlobal{how}Pool")()(x)
    assert y.shape == (3, 5) and not y.any()


def test_stride_is_the_kernel_size_unless_given():
    assert spconv.SparseMaxPool3d((2, 3, 4)).stride == [2, 3, 4]
    assert spconv.SparseAvgPool2d(3, 2).stride == [2, 2]
    assert SparseMaxPool(3).stride == [1, 1, 1]  # as upstream's base class has it
    x = tensor(2, 20, 4)
    assert spconv.SparseMaxPool2d(2)(x).spatial_shape == [4, 4]


@pytest.mark.parametrize("size", [5, 7])  # of more taps than upstream's pools take
@pytest.mark.parametrize("how", ["Max", "Avg"])
def test_a_window_may_have_many_taps(how, size):
    x = tensor(3, 60, 4)
    y = BASES[how](3, [size] * 3, 1, size // 2)(x)
    case = {"ndim": 3, "size": size, "stride": 1, "padding": size // 2, "dilation": 1}
    _, seen = readers({**case, "subm": False}, x)
    expected = torch.stack([pooled(how, x.features[seen[site]]) for site in sorted(seen)])
    torch.testing.assert_close(y.features, expected)


@pytest.mark.parametrize("how", ["Max", "Avg"])
def test_a_pool_can_be_undone_by_an_inverse_convolution(how):
    x = tensor(3, 40, 4, "repeated")
    y = getattr(spconv, f"Sparse{how}Pool3d")(2, indice_key="key")(x)
    layer = spconv.SparseInverseConv3d(4, 5, 2, "key")
    z = layer(y)
    assert z.indices is x.indices and z.spatial_shape == x.spatial_shape
    place = {tuple(row): i for i, row in enumerate(y.indices.tolist())}
    for row, value in zip(x.indices.tolist(), z.features, strict=True):
        batch, *cell = row
        coarse = place.get((batch, *(c // 2 for c in cell)))
        weight = layer.weight[(slice(None), *(c % 2 for c in cell))]
        seen = 0 if coarse is None else y.features[coarse] @ weight.t()
        torch.testing.assert_close(value, seen + layer.bias)


def test_pools_are_listed_and_are_shown_with_their_sizes():
    assert spconv.SparseMaxPool4d in ALL_POOL_LAYERS and len(ALL_POOL_LAYERS) == 9
    shown = "kernel_size=[3, 3], stride=[2, 2], padding=[1, 1], dilation=[1, 1], algo="
    assert repr(spconv.SparseMaxPool2d(3, 2, 1)).startswith(f"SparseMaxPool2d({shown}")
