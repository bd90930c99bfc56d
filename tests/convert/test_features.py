"""The same network in every library's API, with converted weights: the same features."""

from collections.abc import Callable
from itertools import permutations

import pytest
import torch
from torch import Tensor, nn

import gossamer.compat.minkowski as me
import gossamer.compat.spconv.pytorch as spconv2
import gossamer.compat.spconv1 as spconv1
import gossamer.compat.torchsparse as ts
import gossamer.compat.torchsparse.nn as tsnn
import gossamer.compat.torchsparse14 as ts14
import gossamer.compat.torchsparse14.nn as ts14nn
from gossamer import nn as native
from gossamer.convert import Options, convert_state_dict
from gossamer.tensor import SparseTensor

GRID = (12, 14, 10)
IN, MID, DEEP = 12, 14, 16
Sites = dict[tuple[int, ...], Tensor]


def layers(**kinds) -> nn.ModuleDict:
    return nn.ModuleDict(kinds)


def of_native() -> nn.ModuleDict:
    return layers(
        same=native.SubMConv3d(IN, MID, 3),
        flat=native.SubMConv3d(MID, MID, (1, 3, 3)),
        norm=native.BatchNorm(MID),
        point=native.SubMConv3d(MID, IN, 1),
        halve=native.SparseConv3d(IN, DEEP, 2, stride=2),
        back=native.SparseInverseConv3d(DEEP, MID, 2),
        window=native.SparseConv3d(MID, DEEP, 3, stride=2, padding=1, downsample="minkowski"),
    )


def of_spconv(lib) -> nn.ModuleDict:
    return layers(
        same=lib.SubMConv3d(IN, MID, 3),
        flat=lib.SubMConv3d(MID, MID, (1, 3, 3)),
        norm=nn.BatchNorm1d(MID),
        point=lib.SubMConv3d(MID, IN, 1),
        halve=lib.SparseConv3d(IN, DEEP, 2, stride=2, indice_key="halve"),
        back=lib.SparseInverseConv3d(DEEP, MID, 2, indice_key="halve"),
        window=lib.SparseConv3d(MID, DEEP, 3, stride=2, padding=1),
    )


def of_torchsparse(lib, **padding) -> nn.ModuleDict:
    return layers(
        same=lib.Conv3d(IN, MID, 3, bias=True),
        flat=lib.Conv3d(MID, MID, (1, 3, 3), bias=True),
        norm=lib.BatchNorm(MID),
        point=lib.Conv3d(MID, IN, 1, bias=True),
        halve=lib.Conv3d(IN, DEEP, 2, stride=2, bias=True),
        back=lib.Conv3d(DEEP, MID, 2, stride=2, bias=True, transposed=True),
        window=lib.Conv3d(MID, DEEP, 3, stride=2, bias=True, **padding),
    )


def of_minkowski() -> nn.ModuleDict:
    conv, options = me.MinkowskiConvolution, {"bias": True, "dimension": 3}
    return layers(
        same=conv(IN, MID, kernel_size=3, **options),
        flat=conv(MID, MID, kernel_size=(1, 3, 3), **options),
        norm=me.MinkowskiBatchNorm(MID),
        point=conv(MID, IN, kernel_size=1, **options),
        halve=conv(IN, DEEP, kernel_size=2, stride=2, **options),
        back=me.MinkowskiConvolutionTranspose(DEEP, MID, kernel_size=2, stride=2, **options),
        window=conv(MID, DEEP, kernel_size=3, stride=2, **options),
    )


def through(net: nn.ModuleDict, x, normed: Callable):
    x = net["point"](normed(net["flat"](net["same"](x))))
    return net["window"](net["back"](net["halve"](x)))


def on_native(net, coords, features) -> Sites:
    y = through(net, SparseTensor(features, coords), net["norm"])
    return dict(zip(map(tuple, y.coords.tolist()), y.features, strict=True))


def on_spconv(lib):
    def run(net, coords, features) -> Sites:
        x = lib.SparseConvTensor(features, coords, list(GRID), 2)
        y = through(net, x, lambda x: _replaced(x, net["norm"]))
        return dict(zip(map(tuple, y.indices.tolist()), y.features, strict=True))

    return run


def _replaced(x, norm):
    if hasattr(x, "replace_feature"):
        return x.replace_feature(norm(x.features))
    x.features = norm(x.features)
    return x


def on_torchsparse(net, coords, features) -> Sites:
    x = ts.SparseTensor(features, coords, spatial_range=(2, *GRID))
    y = through(net, x, net["norm"])
    return dict(zip(map(tuple, y.C.tolist()), y.F, strict=True))


def on_torchsparse14(net, coords, features) -> Sites:
    x = ts14.SparseTensor(features, coords[:, [1, 2, 3, 0]])
    y = through(net, x, net["norm"])
    rows = [(b, x // 2, y // 2, z // 2) for x, y, z, b in y.C.tolist()]
    return dict(zip(rows, y.F, strict=True))


def on_minkowski(net, coords, features) -> Sites:
    y = through(net, me.SparseTensor(features, coordinates=coords), net["norm"])
    rows = [(b, x // 2, y // 2, z // 2) for b, x, y, z in y.C.tolist()]
    return dict(zip(rows, y.F, strict=True))


LIBRARIES = {
    "native": (of_native, on_native),
    "spconv1": (lambda: of_spconv(spconv1), on_spconv(spconv1)),
    "spconv2": (lambda: of_spconv(spconv2), on_spconv(spconv2)),
    "torchsparse": (lambda: of_torchsparse(tsnn, padding=1), on_torchsparse),
    "torchsparse14": (lambda: of_torchsparse(ts14nn), on_torchsparse14),
    "minkowski": (of_minkowski, on_minkowski),
}


@pytest.fixture(scope="module")
def scan():
    generator = torch.Generator().manual_seed(5)
    # The grid is even along every axis, so that no library's rule of the last row decides.
    cells = torch.cartesian_prod(*(torch.arange(n, dtype=torch.int32) for n in (2, *GRID)))
    taken = cells[torch.randperm(len(cells), generator=generator)[:500]]
    return taken.contiguous(), torch.randn(500, IN, generator=generator).double()


def trained(make) -> nn.ModuleDict:
    torch.manual_seed(3)
    net = make().double()
    for value in net.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand_like(value) - 0.3 if value.ndim > 1 else torch.rand_like(value))
    return net.eval()


@pytest.mark.parametrize(("source", "target"), list(permutations(LIBRARIES, 2)))
def test_a_network_computes_the_same_with_converted_weights(source, target, scan):
    make, run = LIBRARIES[source]
    net, other = trained(make), LIBRARIES[target][0]().double().eval()
    options = Options(kernels=(("flat", (1, 3, 3)),))
    state, _ = convert_state_dict(net.state_dict(), source, target, options)
    other.load_state_dict(state)
    with torch.no_grad():
        wanted, found = run(net, *scan), LIBRARIES[target][1](other, *scan)
    both = wanted.keys() & found.keys()
    # spconv's rule makes every site that a window of 3 sees; the others halve coordinates.
    assert both == set(min(wanted, found, key=len)) and len(both) > 100
    for site in both:
        torch.testing.assert_close(found[site], wanted[site], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kernel", [2, 3])
@pytest.mark.parametrize("lib", ["spconv1", "spconv2"])
def test_a_transposed_convolution_changes_as_others_do(lib, kernel, scan):
    coords, features = scan
    library = {"spconv1": spconv1, "spconv2": spconv2}[lib]
    ours = trained(lambda: layers(up=native.SparseConvTranspose3d(IN, MID, kernel, stride=2)))
    theirs = layers(up=library.SparseConvTranspose3d(IN, MID, kernel, stride=2)).double()
    theirs.load_state_dict(convert_state_dict(ours.state_dict(), "native", lib)[0])
    with torch.no_grad():
        y = ours["up"](SparseTensor(features, coords, GRID))
        z = theirs["up"](library.SparseConvTensor(features, coords, list(GRID), 2))
    rows = {tuple(site): row for site, row in zip(z.indices.tolist(), z.features, strict=True)}
    assert set(rows) == set(map(tuple, y.coords.tolist()))
    found = torch.stack([rows[tuple(site)] for site in y.coords.tolist()])
    torch.testing.assert_close(found, y.features, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("source", "target", "padding"),
    [
        ("native", "minkowski", 0),
        ("spconv2", "minkowski", 0),
        ("torchsparse", "minkowski", 0),
        ("native", "torchsparse14", 1),
        ("spconv2", "torchsparse14", 1),
        ("torchsparse", "spconv2", 1),
    ],
)
def test_windows_of_four_agree_where_paddings_say_so(source, target, padding, scan):
    net = trained(lambda: layers(one=wide(source, padding)))
    other = layers(one=wide(target, padding)).double()
    other.load_state_dict(convert_state_dict(net.state_dict(), source, target)[0])
    wanted, found = alone(source, net, *scan), alone(target, other, *scan)
    both = wanted.keys() & found.keys()
    assert len(both) > 150
    for site in both:
        torch.testing.assert_close(found[site], wanted[site], rtol=1e-9, atol=1e-9)


def wide(library: str, padding: int) -> nn.Module:
    """A layer with a kernel of 4 and stride 2."""
    if library == "minkowski":
        return me.MinkowskiConvolution(IN, MID, kernel_size=4, stride=2, bias=True, dimension=3)
    if library == "torchsparse14":
        return ts14nn.Conv3d(IN, MID, 4, stride=2, bias=True)
    if library == "torchsparse":
        return tsnn.Conv3d(IN, MID, 4, stride=2, padding=padding, bias=True)
    lib = native if library == "native" else spconv2
    return lib.SparseConv3d(IN, MID, 4, stride=2, padding=padding)


@pytest.mark.parametrize("source", ["native", "spconv2", "torchsparse", "minkowski"])
@pytest.mark.parametrize("target", ["native", "spconv2", "torchsparse", "minkowski"])
@pytest.mark.parametrize("stride", [1, 2])
def test_one_tap_with_a_stride_and_without(source, target, stride, scan):
    make = {
        "native": lambda: native.SparseConv3d(IN, MID, 1, stride=stride, bias=False),
        "spconv2": lambda: spconv2.SparseConv3d(IN, MID, 1, stride=stride, bias=False),
        "torchsparse": lambda: tsnn.Conv3d(IN, MID, 1, stride=stride),
        "minkowski": lambda: me.MinkowskiConvolution(
            IN, MID, kernel_size=1, stride=stride, dimension=3
        ),
    }
    net = trained(lambda: layers(one=make[source]()))
    other = layers(one=make[target]()).double()
    options = Options(strided=("one",) if stride > 1 else ())
    other.load_state_dict(convert_state_dict(net.state_dict(), source, target, options)[0])
    coords, features = scan
    even = coords.clone()
    even[:, 1:] *= 2  # so that every rule keeps the same sites
    wanted, found = alone(source, net, even, features), alone(target, other, even, features)
    assert wanted.keys() == found.keys() and len(wanted) == len(coords)
    for site in wanted:
        torch.testing.assert_close(found[site], wanted[site], rtol=1e-9, atol=1e-9)


def alone(library: str, net: nn.ModuleDict, coords: Tensor, features: Tensor) -> Sites:
    """What the one layer of a network makes of every site."""
    grid = [2 * extent for extent in GRID] if coords[:, 2].max() >= GRID[1] else list(GRID)
    with torch.no_grad():
        if library == "native":
            y = net["one"](SparseTensor(features, coords, grid))
            rows, values = y.coords, y.features
        elif library == "spconv2":
            y = net["one"](spconv2.SparseConvTensor(features, coords, grid, 2))
            rows, values = y.indices, y.features
        elif library == "torchsparse":
            y = net["one"](ts.SparseTensor(features, coords, spatial_range=(2, *grid)))
            rows, values = y.C, y.F
        elif library == "torchsparse14":
            y = net["one"](ts14.SparseTensor(features, coords[:, [1, 2, 3, 0]]))
            rows, values = y.C[:, [3, 0, 1, 2]].clone(), y.F
            rows[:, 1:] //= 2
        else:
            y = net["one"](me.SparseTensor(features, coordinates=coords))
            rows, values = y.C.clone(), y.F
            rows[:, 1:] //= y.tensor_stride[0]
    return dict(zip(map(tuple, rows.tolist()), values, strict=True))
