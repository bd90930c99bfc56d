"""What SPVNAS asks of TorchSparse 2.1: points and voxels that feed one another.

The calls are those of its models; what they should give is computed with dictionaries.
"""

from itertools import product

import pytest
import torch
from torch import nn

from gossamer.compat import torchsparse
from gossamer.compat.torchsparse import SparseTensor
from gossamer.compat.torchsparse import nn as spnn
from gossamer.compat.torchsparse.nn import functional as F
from gossamer.compat.torchsparse.utils import make_ntuple, make_tensor

SAMPLES = 2


class Points(SparseTensor):
    """Points as a sparse tensor with places between voxels, and what is known of them so far."""

    def __init__(self, feats, coords, stride=1):
        super().__init__(feats=feats, coords=coords, stride=stride)
        self._caches.voxel_of = {}
        self._caches.corners = {}


def look_up(wanted, rows, size=1):
    """[P, size**3]: the row of each voxel around, -1 for none; batch first."""
    count = 2 * rows.shape[0]
    keys = torch.zeros(count, dtype=torch.int64, device=rows.device)
    values = torch.zeros(count, dtype=torch.int32, device=rows.device)
    table = torchsparse.backend.GPUHashTable(keys, values)
    table.insert_coords(rows[:, [1, 2, 3, 0]])
    sizes = make_ntuple(size, 3)
    sizes = make_tensor(sizes, device=rows.device, dtype=torch.int32)
    ones = make_tensor((1, 1, 1), device=rows.device, dtype=torch.int32)
    found = table.lookup_coords(wanted[:, [1, 2, 3, 0]], sizes, ones, size**3)
    return (found - 1)[: len(wanted)]


def scaled(z, stride):
    return torch.cat([z.C[:, :1], z.C[:, 1:] / stride], dim=1)


def mean_over(z, voxel, count):
    return F.spvoxelize(z.F, voxel, F.spcount(voxel, count))


def voxelized(z):
    """The first voxels, and in the points' cache which of them each point is in."""
    cells = torch.floor(z.C).int()
    rows = torch.unique(cells, dim=0)
    z._caches.voxel_of[z.s] = look_up(cells, rows).reshape(-1)
    return SparseTensor(mean_over(z, z._caches.voxel_of[z.s], len(rows)), rows, 1)


def to_voxels(x, z):
    """The means of the points' features on the voxels of `x`."""
    known = z._caches.voxel_of
    if known.get(x.s) is None:
        known[x.s] = look_up(torch.floor(scaled(z, x.s[0])).int(), x.C).reshape(-1)
    y = SparseTensor(mean_over(z, known[x.s], len(x.C)), x.C, x.s)
    y._caches = x._caches
    return y


def to_points(x, z):
    """The features of `x` between its voxels, where the points are."""
    known = z._caches.corners
    if known.get(x.s) is None:
        places = scaled(z, x.s[0])
        found = look_up(torch.floor(places).int(), x.C, size=2)
        known[x.s] = found, F.calc_ti_weights(places[:, 1:], found, scale=1)
    y = Points(F.spdevoxelize(x.F, *known[x.s]), z.C)
    y._caches = z._caches
    return y


class Block(nn.Sequential):
    def __init__(self, wide, out, size, **how):
        super().__init__(spnn.Conv3d(wide, out, size, **how), spnn.BatchNorm(out), spnn.ReLU(True))


class Network(nn.Module):
    """A point branch beside a U-Net with two levels."""

    def __init__(self):
        super().__init__()
        self.stem = Block(4, 8, 3)
        self.down = nn.Sequential(Block(8, 8, 2, stride=2), Block(8, 12, 3))
        self.deeper = nn.Sequential(Block(12, 12, 2, stride=2), Block(12, 16, 3))
        self.up = nn.ModuleList(
            [
                Block(16, 12, 2, stride=2, transposed=True),
                Block(12, 8, 2, stride=2, transposed=True),
            ]
        )
        self.fuse = nn.ModuleList([Block(24, 12, 3), Block(16, 8, 3)])
        self.points = nn.ModuleList([nn.Linear(8, 16), nn.Linear(16, 8)])
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        z = Points(x.F, x.C.to(x.F.dtype))
        x0 = self.stem(voxelized(z))
        z0 = to_points(x0, z)
        x1 = self.down(to_voxels(x0, z0))
        x2 = self.deeper(x1)
        z1 = to_points(x2, z0)
        z1.F = z1.F + self.points[0](z0.F)
        y2 = to_voxels(x2, z1)
        y2.F = nn.functional.dropout(y2.F, 0.0)
        y1 = self.fuse[0](torchsparse.cat([self.up[0](y2), x1]))
        y0 = self.fuse[1](torchsparse.cat([self.up[1](y1), x0]))
        z2 = to_points(y0, z1)
        z2.F = z2.F + self.points[1](z1.F)
        return self.head(z2.F)


def scene(count=400, extent=16, seed=0, dtype=torch.float32, samples=SAMPLES):
    """Points with places of quarters, in any order, whose voxels fill both ends of each axis."""
    dice = torch.Generator().manual_seed(seed)
    places = torch.randint(0, 4 * extent, (count, 3), generator=dice) / 4
    places[0], places[1] = 0, extent - 0.25
    batch = torch.randint(0, samples, (count, 1), generator=dice)
    feats = torch.randn(count, 4, generator=dice, dtype=torch.float64).to(dtype)
    return SparseTensor(feats, torch.cat([batch, places], dim=1).to(dtype))


# --------------------------------------------------------------------------------------------------


def of_sites(x):
    return {tuple(row): feature for row, feature in zip(x.C.tolist(), x.F, strict=True)}


def convolved(x, layer, size, stride=1):
    """{site: feature} after a convolution without bias, from such a dict, in its site order."""
    axes = [range(-((size - 1) // 2), size - (size - 1) // 2)] * 3
    steps = list(product(*axes))
    if size % 2:
        steps = [step[::-1] for step in steps]
    sites = {(b, *(c // stride for c in place)) for b, *place in x}
    y = {}
    for b, *place in sorted(sites):
        total = 0
        for step, weight in zip(steps, layer.kernel, strict=True):
            source = (b, *(c * stride + s for c, s in zip(place, step, strict=True)))
            if source in x:
                total = total + x[source] @ weight
        y[(b, *place)] = total
    return y


def spread_back(x, layer, onto):
    """{site: feature} of a transposed 2x2x2 convolution onto the sites of `onto`."""
    y = {}
    for b, *place in onto:
        coarse = (b, *(c // 2 for c in place))
        step = [c % 2 for c in place]
        y[(b, *place)] = x[coarse] @ layer.kernel[4 * step[0] + 2 * step[1] + step[2]]
    return y


def finished(x, block):
    norm = block[1]
    y = torch.stack(list(x.values()))
    y = (y - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
    return dict(zip(x, (y * norm.weight + norm.bias).relu(), strict=True))


def interpolated(x, places, stride):
    rows = []
    for b, *place in places:
        total, weight = 0, 0
        place = [p / stride for p in place]
        for step in product((0, 1), repeat=3):
            site = (int(b), *(int(p // 1) + s for p, s in zip(place, step, strict=True)))
            if site in x:
                share = 1
                for p, s in zip(place, step, strict=True):
                    share *= p % 1 if s else 1 - p % 1
                total, weight = total + share * x[site], weight + share
        rows.append(total / (weight + 1e-8))
    return torch.stack(rows)


def averaged(sites, places, feats, stride):
    inside = {site: [] for site in sites}
    for (b, *place), feature in zip(places, feats, strict=True):
        inside[(int(b), *(int(p // stride) for p in place))].append(feature)
    return {site: torch.stack(several).mean(0) for site, several in inside.items()}


def by_hand(net, x):
    places = x.C.tolist()
    cells = sorted({(int(b), *(int(p // 1) for p in place)) for b, *place in places})
    x0 = averaged(cells, places, x.F, 1)
    x0 = finished(convolved(x0, net.stem[0], 3), net.stem)
    z0 = interpolated(x0, places, 1)
    x1 = averaged(cells, places, z0, 1)
    levels = []
    for first, second in (net.down, net.deeper):
        x1 = finished(convolved(x1, first[0], 2, stride=2), first)
        x1 = finished(convolved(x1, second[0], 3), second)
        levels.append(x1)
    x1, x2 = levels
    z1 = interpolated(x2, places, 4) + net.points[0](z0)
    y = averaged(list(x2), places, z1, 4)
    for up, fuse, beside in zip(net.up, net.fuse, (x1, x0), strict=True):
        y = finished(spread_back(y, up[0], list(beside)), up)
        y = {site: torch.cat([y[site], beside[site]]) for site in beside}
        y = finished(convolved(y, fuse[0], 3), fuse)
    return net.head(interpolated(y, places, 1) + net.points[1](z1))


def network(dtype=torch.float32):
    """In eval mode, with statistics that change something."""
    torch.manual_seed(3)
    net = Network()
    for module in net.modules():
        if isinstance(module, spnn.BatchNorm):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return net.eval().to(dtype)


def test_the_network_is_what_dictionaries_compute():
    net, x = network(torch.float64), scene(count=250, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(net(x), by_hand(net, x), atol=1e-7, rtol=1e-7)


def test_every_parameter_gets_a_gradient():
    net, x = network().train(), scene()
    x.feats = x.feats.requires_grad_()
    net(x).square().mean().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all() and parameter.grad.any(), name
    assert x.F.grad.isfinite().all() and x.F.grad.any(1).all()


def test_the_order_of_points_does_not_matter():
    net, x = network(), scene()
    order = torch.randperm(len(x.C))
    y = net(SparseTensor(x.F[order], x.C[order]))
    torch.testing.assert_close(y, net(x)[order], atol=1e-5, rtol=1e-4)


def test_samples_do_not_see_one_another():
    net, x = network(), scene()
    whole = net(x)
    for sample in range(SAMPLES):
        own = x.C[:, 0] == sample
        alone = x.C[own].clone()
        alone[:, 0] = 0
        # What is dropped at the edge follows from the extent, so it must be the same.
        assert alone[:, 1:].amax() > 15
        y = net(SparseTensor(x.F[own], alone))
        torch.testing.assert_close(y, whole[own], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("mode", [0, 1, 2])
def test_conv_modes_agree(mode):
    net, x = network(), scene()
    expected = net(scene())
    before = F.get_conv_mode()
    F.set_conv_mode(mode)
    try:
        torch.testing.assert_close(net(x), expected, atol=1e-5, rtol=1e-4)
    finally:
        F.set_conv_mode(before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_network_under_autocast(dtype):
    net, x = network().train(), scene()
    expected = net(scene())
    with torch.autocast("cpu", dtype):
        y = net(x)
    y.float().square().mean().backward()
    assert all(p.grad.isfinite().all() for p in net.parameters())
    torch.testing.assert_close(y.float(), expected, atol=0.2, rtol=0.1)


def test_the_nearest_voxel_is_the_first_corner():
    z = Points(torch.randn(30, 4), scene(30).C)
    x = voxelized(z)
    found = look_up(torch.floor(z.C).int(), x.C, size=2)
    weights = F.calc_ti_weights(z.C[:, 1:], found, scale=1)
    weights[:, 1:], found[:, 1:] = 1.0, -1
    weights[:, 0] = 1.0
    cells = of_sites(x)
    expected = [cells[tuple(cell)] for cell in torch.floor(z.C).int().tolist()]
    torch.testing.assert_close(F.spdevoxelize(x.F, found, weights), torch.stack(expected))


def test_what_is_kept_in_a_cache_is_what_was_put_there():
    z = Points(torch.randn(30, 4), scene(30).C)
    x = voxelized(z)
    y = to_points(x, z)
    assert y._caches is z._caches
    assert set(z._caches.voxel_of) == set(z._caches.corners) == {(1, 1, 1)}
    to_points(SparseTensor(x.F, x.C, 1), y)
    assert list(z._caches.corners) == [(1, 1, 1)]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_slice_of_a_kernel_is_a_narrower_layer(size):
    cells = torch.unique(torch.floor(scene().C).int(), dim=0)
    feats = torch.randn(len(cells), 6)
    kernel = nn.Parameter(torch.randn(*[size**3] * (size > 1), 9, 11))
    channels = torch.tensor([0, 2, 3, 5, 6, 8])
    stride = 2 if size == 2 else 1
    # In the full layer the other channels are zero.
    wide = torch.zeros(len(cells), 9).index_copy(1, channels, feats)
    full = F.conv3d(SparseTensor(wide, cells), kernel, size, None, stride=stride, dilation=1)
    part = kernel[:, channels, :] if size > 1 else kernel[channels]
    narrow = F.conv3d(
        SparseTensor(feats, cells), part[..., :7], size, None, stride=stride, dilation=1
    )
    assert torch.equal(narrow.C, full.C) and narrow.s == full.s
    torch.testing.assert_close(narrow.F, full.F[:, :7], atol=1e-5, rtol=1e-4)
    narrow.F.square().sum().backward()
    grad = kernel.grad.reshape(-1, 9, 11)
    assert grad[:, channels, :7].any() and not grad[:, [1, 4, 7]].any() and not grad[..., 7:].any()


def test_a_dynamic_pair_of_layers_goes_down_and_back():
    cells = torch.unique(torch.floor(scene().C).int(), dim=0)
    x = SparseTensor(torch.randn(len(cells), 6), cells)
    down, up = (nn.Parameter(torch.randn(8, 16, 16)) for _ in range(2))
    y = F.conv3d(x, down[:, :6, :12], 2, None, stride=2, dilation=1)
    normed = SparseTensor(F.relu(y).F * 2, y.C, y.s)
    normed._caches = y._caches
    z = F.conv3d(normed, up[:, :12, :5], 2, None, stride=2, dilation=1, transposed=True)
    assert torch.equal(z.C, x.C) and z.s == (1, 1, 1) and z.F.shape == (len(cells), 5)
    torchsparse.cat([z, x]).F.sum().backward()
    assert down.grad[:, :6, :12].any() and not down.grad[:, 6:].any()
    assert up.grad[:, :12, :5].any() and not up.grad[..., 5:].any()
