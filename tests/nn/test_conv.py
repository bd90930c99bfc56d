"""Sparse convolution is dense convolution read at the right sites, in every combination."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from gossamer import Cross, SparseTensor, use_backend
from gossamer import nn as gnn
from tests.conftest import BACKENDS
from tests.dense import Kernel, box_taps, cross_taps, downward, gathered, scattered, upward
from tests.scenes import covering, scene

pytestmark = pytest.mark.any_backend
LAYERS = {
    "submanifold": "SubMConv",
    "regular": "SparseConv",
    "transposed": "SparseConvTranspose",
    "generative": "SparseGenerativeConvTranspose",
    "inverse": "SparseInverseConv",
}
SIDES = {1: 40, 2: 11, 3: 7, 4: 5}
FAR = 5  # further than any tap of these kernels reaches below cell 0

# An interpreter is slow, and convolution of float64 is not for Triton.
INTERPRETED = BACKENDS == ["triton"]
SITES = 24 if INTERPRETED else 60
DTYPES = [torch.float32, *([] if INTERPRETED else [torch.float64]), torch.float16, torch.bfloat16]
CASES = covering(
    2 if INTERPRETED else 3,
    backend=BACKENDS,
    ndim=[1, 2, 3, 4],
    kind=list(LAYERS),
    kernel=["box", "uneven", "cross", "offsets"],
    stride=[1, 2, 3],
    padding=[0, 1, 2],
    dilation=[1, 2],
    width=[(1, 1, 1), (3, 5, 1), (6, 4, 2), (5, 5, 5), (4, 12, 4)],
    dtype=DTYPES,
)


def taps_of(case: dict) -> tuple[tuple[tuple[int, ...], ...], object]:
    """The taps by definition, and the kernel_size that asks for them."""
    ndim, centred = case["ndim"], case["kind"] == "submanifold"
    uneven = ((3, 1, 3, 1) if centred else (2, 3, 1, 2))[:ndim]
    if case["kernel"] == "offsets":
        taps = tuple(tap[:ndim] for tap in ((-1, 0, 1, -1), (0, 0, 0, 0), (2, 1, 0, 1)))
        return taps, taps
    if case["kernel"] == "cross":
        return cross_taps((3,) * ndim, centred), Cross(3)
    size = uneven if case["kernel"] == "uneven" else (3,) * ndim
    return box_taps(size, centred), size


def settings_of(case: dict) -> tuple[Kernel, dict]:
    """The kernel by definition, and what to call the layer with."""
    taps, kernel_size = taps_of(case)
    ndim = case["ndim"]
    stride = (1,) * ndim if case["kind"] == "submanifold" else (case["stride"], *[2] * (ndim - 1))
    padding, dilation = (case["padding"], *[1] * (ndim - 1)), (case["dilation"], *[1] * (ndim - 1))
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    if case["kind"] == "submanifold":
        padding = (0,) * ndim
    kernel = Kernel(taps, stride, padding, dilation, case["width"][2])
    return kernel, {"kernel_size": kernel_size, "groups": case["width"][2], **options}


def route(case: dict, kernel: Kernel, x: SparseTensor, y: SparseTensor) -> tuple[Callable, Tensor]:
    """The dense form of the layer as a function of a grid, and the sites that it reaches."""
    if case["kind"] == "inverse":
        return lambda grid, w: gathered(
            upward(grid, w, kernel, y.spatial_shape), y.coords
        ), y.coords
    shape, shift = y.spatial_shape, torch.zeros(1 + x.ndim, dtype=torch.int64)
    moved = kernel
    if case["kind"] == "generative":  # without a bound below either, so in a frame moved by FAR
        shift[1:] = FAR
        shape = tuple(y.coords[:, 1:].amax(0).add(FAR + 3).tolist())
        padding = [p - FAR for p in kernel.padding]
        moved = Kernel(kernel.taps, kernel.stride, padding, kernel.dilation, kernel.groups)
    dense = upward if case["kind"] in ("transposed", "generative") else downward

    def run(grid: Tensor, weight: Tensor) -> Tensor:
        return gathered(dense(grid, weight, moved, shape), y.coords + shift)

    if case["kind"] == "submanifold":
        return run, x.coords
    single = Kernel(moved.taps, moved.stride, moved.padding, moved.dilation)
    present = scattered(torch.ones(len(x), 1), x.coords, x.batch_size, x.spatial_shape)
    counts = dense(present, torch.ones(len(kernel.taps), 1, 1), single, shape)[:, 0]
    return run, (counts > 0.5).nonzero() - shift


def with_gradients(run: Callable, inputs: list[Tensor], cotangent: Tensor) -> list[Tensor]:
    """The output, and the gradients of all inputs, in float64."""
    leaves = [t.detach().double().requires_grad_() for t in inputs]
    y = run(*leaves)
    return [y.detach(), *torch.autograd.grad(y, leaves, cotangent.double())]


def input_of(case: dict, options: dict) -> SparseTensor:
    """A scene, or for an inverse layer what a strided layer made of one, with other features."""
    ndim, (c_in, _, _), dtype = case["ndim"], case["width"], case["dtype"]
    x = scene(ndim, SITES, c_in, side=SIDES[ndim], dtype=dtype)
    if case["kind"] != "inverse":
        return x
    kernel_size, shared = options["kernel_size"], {k: options[k] for k in options if k != "groups"}
    shared.pop("kernel_size")
    down = getattr(gnn, f"SparseConv{ndim}d")(c_in, c_in, kernel_size, **shared).to(dtype)
    return down(x).detach()


@pytest.mark.parametrize("case", CASES, ids=lambda c: "-".join(map(str, c.values())))
def test_a_layer_is_its_dense_twin_at_its_sites_and_so_are_its_gradients(garbage, case):
    torch.manual_seed(0)
    kernel, options = settings_of(case)
    (c_in, c_out, _), dtype = case["width"], case["dtype"]
    with use_backend(case["backend"]):
        x = input_of(case, options)
    layer = getattr(gnn, f"{LAYERS[case['kind']]}{case['ndim']}d")(c_in, c_out, **options).to(dtype)
    features = x.features.clone().requires_grad_()
    with use_backend(case["backend"]):
        y = layer(x.with_features(features))
        cotangent = torch.randn(y.features.shape).to(dtype)
        y.features.backward(cotangent)
    dense, sites = route(case, kernel, x, y)
    assert torch.equal(y.coords, sites.int())
    assert y.dtype == dtype
    ours = [y.features, features.grad, layer.weight.grad, layer.bias.grad]

    def run(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        grid = scattered(features, x.coords, x.batch_size, x.spatial_shape)
        return dense(grid, weight) + bias

    inputs = [x.features, layer.weight, layer.bias]
    exact = with_gradients(run, inputs, cotangent)
    magnitude = with_gradients(run, [t.abs() for t in inputs], cotangent.abs())
    inner = torch.float64 if dtype == torch.float64 else torch.float32
    terms = len(kernel.taps) * max(c_in, c_out) + max(len(x), len(y))
    roundings = 2 * terms * torch.finfo(inner).eps + 2 * torch.finfo(dtype).eps
    # Below the smallest normal number the others lie this far apart.
    finest = torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps
    for got, wanted, most in zip(ours, exact, magnitude, strict=True):
        assert got.dtype == dtype
        assert ((got - wanted).abs() <= roundings * most + finest).all()


@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_has_true_gradients_of_first_and_second_order(cpu_backend, kind):
    case = {"ndim": 2, "kind": kind, "kernel": "box", "stride": 2, "padding": 1, "dilation": 1}
    _, options = settings_of({**case, "width": (2, 2, 1)})
    x = scene(2, 6, 2, side=5, batch=1, dtype=torch.float64)
    if kind == "inverse":
        x = gnn.SparseConv2d(2, 2, 3, (2, 2), 1).double()(x).detach()
    layer = getattr(gnn, f"{LAYERS[kind]}2d")(2, 2, **options).double()

    def run(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        parameters = {"weight": weight, "bias": bias}
        moved = x.with_features(features)
        return torch.func.functional_call(layer, parameters, (moved,)).features

    inputs = [t.detach().requires_grad_() for t in (x.features, layer.weight, layer.bias)]
    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, inputs, fast_mode=True)


@pytest.mark.parametrize("stride", [1, 2, (2, 3)])
def test_minkowski_sites_are_the_floors_and_their_features_those_of_the_kernel(backend, stride):
    x = scene(2, 40, 3, side=11)
    layer = gnn.SparseConv2d(3, 4, 3, stride, 1, bias=False, downsample="minkowski")
    y = layer(x)
    steps = torch.tensor([1, *layer.geometry.stride])
    floors = x.coords.div(steps, rounding_mode="floor").unique(dim=0)
    assert torch.equal(y.coords, floors.int())
    kernel = Kernel(box_taps((3, 3)), layer.geometry.stride, (1, 1), (1, 1))
    grid = downward(x.dense(), layer.weight, kernel, y.spatial_shape)
    torch.testing.assert_close(y.features, gathered(grid, y.coords))


@pytest.mark.parametrize("name", ["SparseConv2d", "SparseConvTranspose2d"])
def test_without_bounds_a_layer_does_the_same_wherever_the_scene_lies(backend, name):
    x = scene(2, 30, 3, bounded=False)
    layer = getattr(gnn, name)(3, 4, 3, 2, 1)
    y = layer(x)
    for steps in ((0, 2), (-1000, 6), (40_000_000, -40_000_000)):
        step = torch.tensor([0, *steps])
        moved = layer(SparseTensor(x.features, x.coords + 2 * step, batch_size=x.batch_size))
        scale = 4 if "Transpose" in name else 1
        assert torch.equal(moved.coords, y.coords + (scale * step).int())
        assert torch.equal(moved.features, y.features)


def test_a_generative_layer_stays_inside_the_bound_it_is_given(backend):
    x = scene(2, 20, 3, side=6)
    layer = gnn.SparseGenerativeConvTranspose2d(3, 4, 3, 2, spatial_shape=(9, 10))
    free = gnn.SparseGenerativeConvTranspose2d(3, 4, 3, 2)
    free.load_state_dict(layer.state_dict())
    y, unbounded = layer(x), free(x)
    assert y.spatial_shape == (9, 10)
    assert unbounded.spatial_shape is None
    inside = (unbounded.coords[:, 1:] < torch.tensor([9, 10])).all(1)
    assert torch.equal(y.coords, unbounded.coords[inside])
    torch.testing.assert_close(y.features, unbounded.features[inside])


@pytest.mark.parametrize("pruned", [False, True])
def test_an_inverse_layer_needs_no_key_even_after_pruning(backend, pruned):
    x = scene(3, 60, 4, side=7)
    coarse = gnn.SparseConv3d(4, 4, 3, 2, 1)(x)
    middle = gnn.SubMConv3d(4, 4, 3)(coarse)
    if pruned:
        middle = middle.prune(torch.arange(len(middle)) % 3 > 0)
    layer = gnn.SparseInverseConv3d(4, 5, 3)
    y = layer(middle)
    assert y.sites is x.sites
    kernel = Kernel(box_taps((3, 3, 3)), (2, 2, 2), (1, 1, 1), (1, 1, 1))
    grid = upward(middle.dense(), layer.weight, kernel, x.spatial_shape)
    torch.testing.assert_close(y.features, gathered(grid, x.coords) + layer.bias)


@pytest.mark.parametrize("name", [f"{n}{d}d" for n in LAYERS.values() for d in (1, 2, 3, 4)])
def test_parameters_are_weight_and_bias_and_nothing_else(name):
    layer = getattr(gnn, name)(4, 6, 3, groups=2)
    taps = 3**layer.ndim
    shapes = {key: tuple(value.shape) for key, value in layer.state_dict().items()}
    assert shapes == {"weight": (taps, 2, 6), "bias": (6,)}
    assert list(getattr(gnn, name)(4, 6, 3, bias=False).state_dict()) == ["weight"]


def test_weights_are_drawn_as_torch_draws_them():
    bound = (27 * 8) ** -0.5
    layer, twin = gnn.SubMConv3d(16, 64, 3, groups=2), nn.Conv3d(16, 64, 3, groups=2)
    for ours, theirs in ((layer.weight, twin.weight), (layer.bias, twin.bias)):
        assert ours.abs().max() <= bound
        assert abs(ours.std() / theirs.std() - 1) < 0.2
