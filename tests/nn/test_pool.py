"""Pooling sees the sites that are there and no others, as dense pooling over -inf would."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from gossamer import SparseTensor, use_backend
from gossamer import nn as gnn
from tests.dense import Kernel, box_taps, downward, gathered, scattered
from tests.scenes import covering, scene

SIDES = {1: 40, 2: 11, 3: 7, 4: 5}
CASES = covering(
    3,
    backend=["reference", "numba"],
    ndim=[1, 2, 3, 4],
    how=["Max", "Avg", "Sum"],
    size=[2, 3],
    stride=[None, 1, 2],
    padding=[0, 1],
    dilation=[1, 2],
    dtype=[torch.float32, torch.float64, torch.bfloat16, torch.float16],
)


def windows(x: SparseTensor, kernel: Kernel, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """[K, B, C, *shape]: what each tap sees, and whether there is a site."""
    present = scattered(x.features.new_ones(len(x), 1), x.coords, x.batch_size, x.spatial_shape)
    values, there = [], []
    for tap in kernel.taps:
        single = Kernel((tap,), kernel.stride, kernel.padding, kernel.dilation)
        one = Kernel((tap,), kernel.stride, kernel.padding, kernel.dilation, x.channels)
        each = x.features.new_ones(1, 1, x.channels)
        values.append(downward(x.dense(), each, one, shape))
        there.append(downward(present, each[..., :1], single, shape) > 0)
    return torch.stack(values), torch.stack(there)


@pytest.mark.parametrize("case", CASES, ids=lambda c: "-".join(map(str, c.values())))
def test_a_pool_is_its_dense_twin_over_the_sites_there_are_and_so_is_its_gradient(garbage, case):
    ndim, how, size, dtype = (case[name] for name in ("ndim", "how", "size", "dtype"))
    x = scene(ndim, 60, 3, side=SIDES[ndim])
    # All negative, without ties, and whole numbers that every type holds.
    x = x.with_features(-1 - torch.randperm(180).view(60, 3).to(dtype))
    layer = getattr(gnn, f"Sparse{how}Pool{ndim}d")(
        size, case["stride"], case["padding"], case["dilation"]
    )
    leaf = x.features.clone().requires_grad_()
    with use_backend(case["backend"]):
        y = layer(x.with_features(leaf))
        cotangent = torch.randn(y.features.shape).to(dtype)
        y.features.backward(cotangent)

    step = case["stride"] or size
    axes = [(v,) * ndim for v in (step, case["padding"], case["dilation"])]
    other = x.features.double().requires_grad_()
    shape = y.spatial_shape
    values, there = windows(x.with_features(other), Kernel(box_taps((size,) * ndim), *axes), shape)
    if how == "Max":
        dense = values.where(there, -torch.inf).amax(0)
    else:
        dense = values.sum(0) / (there.sum(0).clamp(min=1) if how == "Avg" else 1)
    assert torch.equal(y.coords, there.any(0)[:, 0].nonzero().int())
    expected = gathered(dense, y.coords)
    cotangent = cotangent.double()
    gradient = torch.autograd.grad(expected, other, cotangent, retain_graph=True)[0]
    magnitude = torch.autograd.grad(expected, other, cotangent.abs())[0]
    # Sums of whole numbers are exact; then they are rounded, divided, and rounded.
    rounding = 0 if how == "Max" else 2 * torch.finfo(dtype).eps
    assert y.dtype == leaf.grad.dtype == dtype
    torch.testing.assert_close(y.features.double(), expected, rtol=rounding, atol=0)
    # The gradient of a maximum is that of gather, which adds in the features' own type.
    inner = dtype if how == "Max" or dtype == torch.float64 else torch.float32
    rounding = 2 * size**ndim * torch.finfo(inner).eps + 2 * torch.finfo(dtype).eps
    assert ((leaf.grad - gradient).abs() <= rounding * magnitude).all()


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize(("size", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 1, 1)])
def test_max_pooling_is_that_of_torch_over_minus_infinity(backend, ndim, size, stride, padding):
    x = scene(ndim, 50, 3, side=SIDES[ndim])
    dense = x.dense()
    occupied = scattered(torch.ones(len(x), 1), x.coords, x.batch_size, x.spatial_shape) > 0
    pool = getattr(functional, f"max_pool{ndim}d")
    expected = pool(dense.where(occupied, -torch.inf), size, stride, padding)
    y = getattr(gnn, f"SparseMaxPool{ndim}d")(size, stride, padding)(x)
    assert torch.equal(y.coords, expected[:, 0].isfinite().nonzero().int())
    assert torch.equal(y.features, gathered(expected, y.coords))


@pytest.mark.parametrize("kernel_size", [3, (2, 3), [(0, 0), (1, 1)]])
def test_stride_is_the_kernel_size_unless_given(kernel_size):
    if isinstance(kernel_size, list):
        with pytest.raises(ValueError, match="stride"):
            gnn.SparseMaxPool2d(kernel_size)
    else:
        stride = gnn.SparseMaxPool2d(kernel_size).geometry.stride
        assert stride == ((3, 3) if kernel_size == 3 else kernel_size)


@pytest.mark.parametrize("how", ["Max", "Avg", "Sum"])
def test_unpooling_gives_each_site_what_its_coarse_sites_hold(backend, how):
    x = scene(2, 30, 3, side=8, dtype=torch.float64)
    pooled = gnn.SparseMaxPool2d(3, 2, 1)(x)
    y = getattr(gnn, f"Sparse{how}Unpool")()(pooled)
    assert y.sites is x.sites
    reduce = {"Max": torch.amax, "Avg": torch.mean, "Sum": torch.sum}[how]
    for site, value in zip(x.coords.tolist(), y.features, strict=True):
        seen = [
            pooled.features[row]
            for row, (batch, *cell) in enumerate(pooled.coords.tolist())
            if batch == site[0]
            and all(abs(c * 2 - s) <= 1 for c, s in zip(cell, site[1:], strict=True))
        ]
        torch.testing.assert_close(value, reduce(torch.stack(seen), 0))


def test_sum_unpooling_is_the_adjoint_of_sum_pooling(backend):
    x = scene(3, 60, 2, side=7, dtype=torch.float64)
    pooled = gnn.SparseSumPool3d(3, 2)(x)
    y = torch.randn_like(pooled.features)
    back = gnn.SparseSumUnpool()(pooled.with_features(y)).features
    # <Ax, y> = <x, A'y>
    torch.testing.assert_close((pooled.features * y).sum(), (x.features * back).sum())


@pytest.mark.parametrize("how", ["Max", "Avg", "Sum"])
def test_a_global_pool_is_one_vector_a_sample_and_zero_without_sites(backend, how):
    x = scene(3, 60, 5)
    y = getattr(gnn, f"SparseGlobal{how}Pool")()(x)
    reduce = {"Max": torch.amax, "Avg": torch.mean, "Sum": torch.sum}[how]
    assert y.shape == (3, 5)
    assert (y[1] == 0).all()
    for sample in (0, 2):
        mine = x.features[x.sites.batch == sample]
        torch.testing.assert_close(y[sample], reduce(mine, 0))


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
@pytest.mark.parametrize("how", ["Max", "Avg", "Sum"])
def test_pools_have_true_gradients_of_first_and_second_order(backend, ndim, how):
    x = scene(ndim, 8, 2, dtype=torch.float64)
    # Distinct values, so that a small step does not change which is the largest.
    leaf = torch.randperm(16).double().view(8, 2).requires_grad_()
    local = getattr(gnn, f"Sparse{how}Pool{ndim}d")(2)
    layers: list[nn.Module] = [local, getattr(gnn, f"SparseGlobal{how}Pool")()]
    layers.append(nn.Sequential(local, getattr(gnn, f"Sparse{how}Unpool")()))
    for layer in layers:

        def run(features: Tensor, layer: nn.Module = layer) -> Tensor:
            y = layer(x.with_features(features.sin() + features))
            return y.features if isinstance(y, SparseTensor) else y

        assert torch.autograd.gradcheck(run, (leaf,), fast_mode=True)
        assert torch.autograd.gradgradcheck(run, (leaf,), fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_mean_may_be_of_values_whose_sum_no_half_type_holds(backend, dtype):
    features = torch.full((8, 2), 30_000.0, dtype=dtype, requires_grad=True)
    cells = torch.tensor([[0, a, b, c] for a in (0, 1) for b in (0, 1) for c in (0, 1)])
    y = gnn.SparseAvgPool3d(2, 2)(SparseTensor(features, cells)).features
    assert y.dtype == dtype and y.tolist() == features[:1].tolist()
    y.sum().backward()
    assert features.grad.tolist() == [[0.125, 0.125]] * 8
