"""The facade against the real spconv, where it is installed: the same sites and the same features.

Its CPU build adds rows in a data race when it has more than one thread, so it is asked only where
its runtime starts with one. What it gets wrong by itself is left out: the maximum of negatives,
repeated rows of a submanifold layer, gradients and averages, which have laws of their own.
"""

import os
from types import ModuleType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import gossamer.compat.spconv.pytorch as ours
from tests.compat.rows import indices_of, tensor

theirs = pytest.importorskip("spconv.pytorch", reason="spconv is not installed")
if os.environ.get("OMP_NUM_THREADS") != "1":
    pytest.skip("spconv is right with one thread; set OMP_NUM_THREADS=1", allow_module_level=True)

SIDES = {1: 60, 2: 14, 3: 8, 4: 5}
# float16 sums of theirs are rounded once a tap.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 2e-2}
KINDS = ("submanifold", "regular", "transposed", "pool", "inverse of regular", "inverse of pool")


def make(library: ModuleType, kind: str, ndim: int, channels: tuple[int, int], sizes: dict):
    """A layer of some kind, or two where the second undoes the first."""
    key = {"indice_key": "key"}
    if kind.startswith("inverse"):
        down = make(library, kind.split()[-1], ndim, (channels[0], channels[0]), sizes)
        inverse = getattr(library, f"SparseInverseConv{ndim}d")
        return library.SparseSequential(down, inverse(*channels, sizes["kernel_size"], "key"))
    if kind == "pool":
        return getattr(library, f"SparseMaxPool{ndim}d")(**sizes, **key)
    names = {
        "submanifold": "SubMConv",
        "regular": "SparseConv",
        "transposed": "SparseConvTranspose",
    }
    return getattr(library, f"{names[kind]}{ndim}d")(*channels, **sizes, **key)


def algo_of_one(layer: torch.nn.Module) -> None:
    """Layers of a pair have one algorithm, whatever their number of taps."""
    for module in layer.modules():
        if hasattr(module, "algo"):
            module.algo = ours.ConvAlgo.Native


def run(library: ModuleType, layer, features, indices, shape, batch):
    """What a layer makes of these rows."""
    # In training, because its CPU build refuses a bias otherwise.
    return layer.train()(library.SparseConvTensor(features, indices, list(shape), batch))


def check_same(found, wanted, dtype: torch.dtype) -> None:
    """Sites as sets, features site by site, for every site as many rows."""
    assert found.spatial_shape == list(wanted.spatial_shape)
    assert found.batch_size == wanted.batch_size
    pairs = []
    for y in (found, wanted):
        order = sorted(range(len(y.indices)), key=y.indices.tolist().__getitem__)
        pairs.append((y.indices[order], y.features.detach()[order]))
    (sites, values), (other_sites, expected) = pairs
    assert torch.equal(sites, other_sites)
    assert values.dtype == expected.dtype == dtype
    size = expected.abs().max() if len(expected) else 1
    assert ((values - expected).abs() <= TOLERANCE[dtype] * size).all()


@st.composite
def problems(draw) -> dict:
    ndim, kind = draw(st.sampled_from([1, 2, 3, 3, 4])), draw(st.sampled_from(KINDS))
    submanifold = kind == "submanifold"
    edges = st.sampled_from(
        [1, 3, 5] if submanifold and ndim < 4 else [1, 3] if submanifold else [1, 2, 3]
    )

    def axes(of) -> list[int]:
        return [draw(of) for _ in range(ndim)]

    sizes = {"kernel_size": axes(edges), "stride": axes(st.integers(1, 3))}
    sizes["dilation"] = axes(st.integers(1, 2))
    sizes["padding"] = axes(st.integers(0, 1))
    one_tap = max(sizes["kernel_size"]) == max(sizes["stride"]) == 1
    if one_tap and kind in ("regular", "transposed"):
        sizes["padding"] = [0] * ndim
    if max(sizes["kernel_size"]) == 1 and kind.startswith("inverse"):
        sizes["kernel_size"][0] = 2  # of one tap, theirs leads nowhere
    cells = SIDES[ndim] ** ndim
    return {
        "kind": kind,
        "ndim": ndim,
        "sizes": sizes,
        "shape": [SIDES[ndim] + draw(st.integers(0, 3)) for _ in range(ndim)],
        "channels": (draw(st.integers(1, 18)), draw(st.integers(1, 18))),
        "dtype": draw(st.sampled_from(list(TOLERANCE))),
        "sites": draw(st.sampled_from([1, 2, 30, min(cells, 400)])),
        "order": draw(
            st.sampled_from(["sorted", "shuffled"] if submanifold else ["repeated", "sorted"])
        ),
        "batch": draw(st.integers(1, 3)),
        "seed": draw(st.integers(0, 99)),
    }


@settings(max_examples=300)
@given(problem=problems())
def test_a_layer_computes_what_spconvs_own_computes(problem):
    torch.manual_seed(problem["seed"])
    kind, ndim, dtype = problem["kind"], problem["ndim"], problem["dtype"]
    indices = indices_of(
        ndim, problem["sites"], problem["order"], side=SIDES[ndim], batch=problem["batch"]
    )
    if kind.endswith("pool") and problem["order"] == "repeated":
        indices = indices.unique(dim=0)
    # Its pooling takes the maximum with zero.
    features = torch.rand(len(indices), problem["channels"][0]).to(dtype)
    features = features if kind.endswith("pool") else features - 0.5
    place = (features, indices, problem["shape"], problem["batch"])
    layers = [
        make(library, kind, ndim, problem["channels"], problem["sizes"]).to(dtype)
        for library in (theirs, ours)
    ]
    layers[1].load_state_dict(layers[0].state_dict())
    algo_of_one(layers[1])
    with torch.no_grad():
        try:
            expected = run(theirs, layers[0], *place)
        except (RuntimeError, ValueError) as error:
            assert "zero" in str(error) or "empty" in str(error)  # no cell, or no row
            return
        found = run(ours, layers[1], *place)
    check_same(found, expected, dtype)


def unet(library: ModuleType, ndim: int) -> torch.nn.Module:
    """Every kind of layer in one network, with a head of one tap."""

    def layer(name: str, *args, **options):
        return getattr(library, f"{name}{ndim}d")(*args, **options)

    def block(width: int, key: str) -> list[torch.nn.Module]:
        conv = layer("SubMConv", width, width, 3, bias=False, indice_key=key)
        return [conv, torch.nn.BatchNorm1d(width), torch.nn.ReLU()]

    return library.SparseSequential(
        layer("SubMConv", 3, 8, 3, padding=1, indice_key="stem"), *block(8, "stem"),
        layer("SparseConv", 8, 16, 2, 2, bias=False, indice_key="down1"), *block(16, "level1"),
        layer("SparseConv", 16, 16, 3, 2, 1, indice_key="down2"), *block(16, "level2"),
        torch.nn.Sigmoid(), layer("SparseMaxPool", 3, 2, 1, indice_key="pool"),
        layer("SparseInverseConv", 16, 24, 3, "pool"), *block(24, "level2"),
        layer("SparseInverseConv", 24, 16, 3, "down2"), *block(16, "level1"),
        layer("SparseInverseConv", 16, 8, 2, "down1"), *block(8, "stem"),
        layer("SubMConv", 8, 5, 1), layer("SparseConvTranspose", 5, 5, 2, 2),
        layer("SparseConv", 5, 4, 3, 2, 1),
    )  # fmt: skip


@pytest.mark.parametrize("order", ["sorted", "shuffled"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
def test_a_network_of_theirs_goes_on_here_with_its_parameters(ndim, dtype, order):
    torch.manual_seed(0)
    x = tensor(ndim, 60 if ndim == 1 else 200, 3, order, side=2 * SIDES[ndim], dtype=dtype)
    twin, net = (unet(library, ndim).to(dtype) for library in (theirs, ours))
    net.load_state_dict(twin.state_dict())
    algo_of_one(net)
    place = (x.features, x.indices, x.spatial_shape, x.batch_size)
    with torch.no_grad():
        expected, found = run(theirs, twin, *place), run(ours, net, *place)
    check_same(found, expected, dtype)
    for mine, its in zip(net.buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(mine, its)
    dense = found.dense()
    torch.testing.assert_close(dense, expected.dense(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("channels_first", [True, False])
def test_a_dense_grid_is_theirs_with_repeated_rows_too(channels_first):
    x = tensor(3, 40, 4, "repeated")
    y = theirs.SparseConvTensor(x.features, x.indices, x.spatial_shape, x.batch_size)
    assert torch.equal(x.dense(channels_first), y.dense(channels_first))
