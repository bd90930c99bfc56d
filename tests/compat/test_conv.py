"""A layer of spconv's is dense convolution read at the right sites, on rows as they come."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

import gossamer.compat.spconv.pytorch as spconv
from gossamer.compat.spconv.core import ConvAlgo
from gossamer.compat.spconv.pytorch.conv import SparseConvolution
from tests.compat.rows import ORDERS, first_rows, summed, tensor
from tests.dense import Kernel, box_taps, downward, gathered, upward
from tests.scenes import covering

LEAVES = {
    "submanifold": "SubMConv",
    "regular": "SparseConv",
    "transposed": "SparseConvTranspose",
    "inverse of a convolution": "SparseInverseConv",
    "inverse of a pool": "SparseInverseConv",
    "inverse of a transposed": "SparseInverseConv",
}
SIDES = {1: 40, 2: 11, 3: 7, 4: 5}
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]

CASES = covering(
    3,
    ndim=[1, 2, 3, 4],
    kind=list(LEAVES),
    kernel=["box", "uneven"],
    stride=[1, 2, 3],
    padding=[0, 1, 2],
    dilation=[1, 2],
    output_padding=[0, 1],
    width=[(1, 1, 1), (3, 5, 1), (6, 4, 2), (5, 5, 5), (16, 8, 1)],
    bias=[True, False],
    dtype=DTYPES,
    order=ORDERS,
    sites=[60, 60, 1, 0],
    algo=list(ConvAlgo),
    training=[True, False],
)


@dataclass(frozen=True)
class Twin:
    """What a layer is by definition.

    Args:
        run: [R, C_in] and [K, I, O] -> [M, C_out].
        bound: the same with more in it, so that of absolute values it is a bound of every term.
        indices: of the output.
        shape: of the output.
    """

    run: Callable[[Tensor, Tensor], Tensor]
    bound: Callable[[Tensor, Tensor], Tensor]
    indices: Tensor
    shape: list[int]


def kernel_of(case: dict) -> tuple[Kernel, dict]:
    """The kernel by definition, and the options that ask for it."""
    ndim, submanifold = case["ndim"], case["kind"] == "submanifold"
    uneven = ((3, 1, 3, 1) if submanifold else (2, 3, 1, 2))[:ndim]
    size = uneven if case["kernel"] == "uneven" else (3,) * ndim
    stride, padding = (case["stride"], *[2] * (ndim - 1)), (case["padding"], *[1] * (ndim - 1))
    dilation = (case["dilation"], *[1] * (ndim - 1))
    options = {"kernel_size": list(size), "stride": stride, "padding": padding}
    options |= {"dilation": dilation, "algo": case["algo"]}
    if submanifold:  # stride and padding are given to the layer and have nothing to say
        stride, padding = (1,) * ndim, (0,) * ndim
    kernel = Kernel(box_taps(size, submanifold), stride, padding, dilation, case["width"][2])
    return kernel, options


def layer_of(case: dict, options: dict) -> nn.Module:
    """A class of spconv's own where it takes what is asked for, and SparseConvolution otherwise."""
    ndim, (c_in, c_out, groups), bias = case["ndim"], case["width"], case["bias"]
    leaf = getattr(spconv, f"{LEAVES[case['kind']]}{ndim}d")
    if case["kind"].startswith("inverse"):
        if groups == 1:
            return leaf(c_in, c_out, options["kernel_size"], "key", bias, options["algo"])
        named = {"kernel_size": options["kernel_size"], "inverse": True, "indice_key": "key"}
        named |= {"groups": groups, "bias": bias, "algo": options["algo"]}
        return SparseConvolution(ndim, c_in, c_out, **named)
    named = {**options, "groups": groups, "bias": bias}
    if case["kind"] == "transposed" and case["output_padding"]:
        extra = {"transposed": True, "output_padding": case["output_padding"]}
        return SparseConvolution(ndim, c_in, c_out, **named, **extra)
    return leaf(c_in, c_out, **named)


def input_of(case: dict, options: dict) -> tuple[spconv.SparseConvTensor, Tensor]:
    """What the layer is called with, and for an inverse layer the rows that it leads back to."""
    ndim, (c_in, _, _), dtype = case["ndim"], case["width"], case["dtype"]
    x = tensor(ndim, case["sites"], c_in, case["order"], side=SIDES[ndim], uneven=True, dtype=dtype)
    if not case["kind"].startswith("inverse"):
        return x, x.indices
    names = {"convolution": "SparseConv", "pool": "SparseMaxPool"}
    name = names.get(case["kind"].split()[-1], "SparseConvTranspose")
    channels = () if name == "SparseMaxPool" else (c_in, c_in)
    layer = getattr(spconv, f"{name}{ndim}d")(*channels, **options, indice_key="key").to(dtype)
    y = layer(x)
    return y.replace_feature(torch.randn(y.features.shape).to(dtype)), x.indices


def twin_of(case: dict, kernel: Kernel, x: spconv.SparseConvTensor, target: Tensor) -> Twin:
    """The definition of the layer on `x`; `target` are the rows an inverse layer leads to."""
    kind, batch, shape = case["kind"], x.batch_size, list(x.spatial_shape)
    if kind == "submanifold":
        return submanifold_twin(kernel, x)
    dense = downward if kind in ("regular", "inverse of a transposed") else upward
    if kind.startswith("inverse"):
        out_shape = [SIDES[case["ndim"]] + axis for axis in range(case["ndim"])]
        indices = target
    else:
        out_shape = out_shape_of(case, kernel, shape)
        ones = summed(torch.ones(len(x.indices), 1), x.indices, batch, shape)
        single = Kernel(kernel.taps, kernel.stride, kernel.padding, kernel.dilation)
        reached = dense(ones, torch.ones(len(kernel.taps), 1, 1), single, out_shape)
        indices = (reached[:, 0] > 0.5).nonzero().int()

    def run(features: Tensor, weight: Tensor) -> Tensor:
        grid = summed(features, x.indices, batch, shape)
        return gathered(dense(grid, weight, kernel, out_shape), indices)

    return Twin(run, run, indices, out_shape)


def out_shape_of(case: dict, kernel: Kernel, shape: list[int]) -> list[int]:
    axes = zip(shape, kernel.size, kernel.stride, kernel.padding, kernel.dilation, strict=True)
    if case["kind"] == "regular":
        return [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes]
    # Upstream's rule, in which dilation has no part; sites beyond it are dropped.
    return [(n - 1) * s - 2 * p + k + case["output_padding"] for n, k, s, p, _ in axes]


def submanifold_twin(kernel: Kernel, x: spconv.SparseConvTensor) -> Twin:
    """Each row sees itself at the centre, and of its neighbours the first row of a site."""
    first, centre = first_rows(x.indices), len(kernel.taps) // 2
    firsts = first.unique()
    others = torch.ones(len(kernel.taps), 1, 1, dtype=torch.float64)
    others[centre] = 0

    def around(features: Tensor, weight: Tensor) -> Tensor:
        grid = summed(features[firsts], x.indices[firsts], x.batch_size, x.spatial_shape)
        return gathered(downward(grid, weight, kernel, x.spatial_shape), x.indices)

    def own(features: Tensor, weight: Tensor) -> Tensor:
        parts = features.unflatten(1, (kernel.groups, -1))
        matrix = weight[centre].unflatten(1, (kernel.groups, -1))
        return torch.einsum("rgi,igo->rgo", parts, matrix).flatten(1)

    return Twin(
        lambda f, w: around(f, w * others) + own(f, w),
        lambda f, w: around(f, w) + own(f, w),
        x.indices,
        list(x.spatial_shape),
    )


def with_gradients(run: Callable, inputs: list[Tensor], cotangent: Tensor) -> list[Tensor]:
    """The output, and the gradients of all inputs, in float64."""
    leaves = [t.detach().double().requires_grad_() for t in inputs]
    y = run(*leaves)
    return [y.detach(), *torch.autograd.grad(y, leaves, cotangent.double())]


@pytest.mark.parametrize("case", CASES, ids=lambda c: "-".join(map(str, c.values())))
def test_a_layer_is_its_dense_twin_at_its_sites_and_so_are_its_gradients(garbage, case):
    torch.manual_seed(0)
    kernel, options = kernel_of(case)
    dtype, (c_in, c_out, _) = case["dtype"], case["width"]
    layer = layer_of(case, options).to(dtype).train(case["training"])
    x, target = input_of(case, options)
    twin = twin_of(case, kernel, x, target)
    features = x.features.detach().requires_grad_()
    y = layer(x.replace_feature(features))
    assert torch.equal(y.indices, twin.indices)
    assert (y.spatial_shape, y.batch_size) == (twin.shape, x.batch_size)
    cotangent = torch.randn(y.features.shape).to(dtype)
    y.features.backward(cotangent)
    inputs = [x.features, native(layer.weight)]
    inputs += [] if layer.bias is None else [layer.bias]
    ours = [y.features, features.grad, native(layer.weight.grad)]
    ours += [] if layer.bias is None else [layer.bias.grad]

    def biased(run: Callable) -> Callable:
        return lambda f, w, *bias: run(f, w) + sum(bias)

    exact = with_gradients(biased(twin.run), inputs, cotangent)
    positive = [t.abs() for t in inputs]
    magnitude = with_gradients(biased(twin.bound), positive, cotangent.abs())
    inner = torch.float64 if dtype == torch.float64 else torch.float32
    terms = len(kernel.taps) * max(c_in, c_out) + max(len(x.indices), len(y.indices))
    # One rounding to the features' type after each of: joining rows, their product, bias.
    roundings = 2 * terms * torch.finfo(inner).eps + 3 * torch.finfo(dtype).eps
    for got, wanted, most in zip(ours, exact, magnitude, strict=True):
        assert got.dtype == dtype
        assert ((got - wanted).abs() <= roundings * most).all()


def native(weight: Tensor) -> Tensor:
    """[K, I, O] of [O, *k, I]."""
    return weight.detach().flatten(1, -2).permute(1, 2, 0)
