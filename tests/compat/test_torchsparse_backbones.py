"""TorchSparse 2.1's backbones: what they return, their names, their gradients."""

import pytest
import torch

from gossamer.compat.torchsparse import SparseTensor
from gossamer.compat.torchsparse.backbones import SparseResNet21D, SparseResUNet42
from gossamer.compat.torchsparse.backbones.modules import (
    SparseConvBlock,
    SparseConvTransposeBlock,
    SparseResBlock,
)
from gossamer.compat.torchsparse.nn import functional as F


def scene(count=300, extent=48, channels=4, dtype=torch.float32):
    dice = torch.Generator().manual_seed(0)
    # A slope, so that neighbours are there; and both corners, so that the extent is known.
    places = torch.randint(0, extent, (count, 3), generator=dice)
    places[:, 2] = places[:, 0] // 2 + places[:, 1] // 3 + places[:, 2] // 24
    places[0], places[1] = 0, extent - 1
    batch = torch.randint(0, 2, (count, 1), generator=dice)
    rows = torch.unique(torch.cat([batch, places], 1), dim=0).int()
    rows = rows[torch.randperm(len(rows), generator=dice)]
    feats = torch.randn(len(rows), channels, generator=dice, dtype=torch.float64).to(dtype)
    return SparseTensor(feats, rows)


@pytest.fixture
def minkowski():
    """Strided layers lead to all coarse voxels, as residual blocks with a stride want."""
    F.set_kmap_mode("hashmap")
    F.set_downsample_mode("minkowski")
    yield
    F.set_kmap_mode("hashmap_on_the_fly")
    F.set_downsample_mode("spconv")


def test_the_resnet_returns_every_stage():
    net, x = SparseResNet21D(in_channels=4, width_multiplier=0.5), scene()
    stages = net(x)
    assert [y.F.shape[1] for y in stages] == [8, 16, 32, 64, 64]
    assert [y.s for y in stages] == [(1,) * 3, (2,) * 3, (4,) * 3, (8,) * 3, (8, 16, 8)]
    assert torch.equal(stages[0].C, x.C)
    assert all(len(y.C) == len(y.F) > 0 for y in stages)
    assert stages[1].C[:, 1:].max() < 24
    sum(y.F.square().mean() for y in stages).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_the_unet_returns_what_goes_down_and_what_comes_up():
    net, x = SparseResUNet42(in_channels=4, width_multiplier=0.25), scene()
    stages = net(x)
    assert [y.F.shape[1] for y in stages] == [8, 8, 16, 32, 64, 64, 32, 24, 24]
    assert [y.s[0] for y in stages] == [1, 2, 4, 8, 16, 8, 4, 2, 1]
    for down, up in zip(stages[:4], stages[:4:-1], strict=True):
        assert torch.equal(down.C, up.C)
    assert torch.equal(stages[-1].C, x.C)
    stages[-1].F.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("build", [SparseResNet21D, SparseResUNet42])
def test_names_are_those_of_checkpoints(build):
    net = build()
    names = set(net.state_dict())
    if build is SparseResNet21D:
        wanted = {
            "0.0.0.kernel": (27, 4, 16),
            "0.1.main.3.kernel": (27, 16, 16),
            "3.2.main.4.running_var": (128,),
            "4.0.0.kernel": (3, 128, 128),
        }
        assert len(net.blocks) == len(net) == 5 and not any("shortcut" in name for name in names)
    else:
        wanted = {
            "stem.3.kernel": (27, 32, 32),
            "encoders.1.0.0.kernel": (8, 32, 32),
            "encoders.1.1.shortcut.0.kernel": (32, 64),
            "decoders.0.upsample.0.kernel": (8, 256, 256),
            "decoders.2.fuse.0.main.0.kernel": (27, 96 + 32, 96),
            "decoders.3.fuse.1.main.3.kernel": (27, 96, 96),
        }
        assert not any(name.startswith("encoders.0.1.shortcut") for name in names)
        assert net.encoder_channels == [32, 64, 128, 256] and net.stem_channels == 32
    for name, shape in wanted.items():
        assert net.state_dict()[name].shape == shape, name
    assert (net.in_channels, net.width_multiplier) == (4, 1.0)
    build(in_channels=4).load_state_dict(net.state_dict())


@pytest.mark.parametrize("build", [SparseResNet21D, SparseResUNet42])
def test_samples_do_not_see_one_another(build):
    torch.manual_seed(0)
    net, x = build(width_multiplier=0.25).eval(), scene()
    whole = net(x)
    own = x.C[:, 0] == 1
    rows = x.C[own].clone()
    rows[:, 0] = 0
    for y, alone in zip(whole, net(SparseTensor(x.F[own], rows)), strict=True):
        there = {tuple(r[1:]): f for r, f in zip(y.C.tolist(), y.F, strict=True) if r[0] == 1}
        # Its extent may be smaller, and then cells at the end of the range are missing.
        assert {tuple(row[1:]) for row in alone.C.tolist()} <= set(there)
        if y.s == (1, 1, 1) and build is SparseResNet21D:
            mine = torch.stack([there[tuple(row[1:])] for row in alone.C.tolist()])
            torch.testing.assert_close(alone.F, mine, atol=1e-5, rtol=1e-4)


def test_a_convolution_block_is_convolution_norm_and_relu():
    x = scene()
    block = SparseConvBlock(4, 6, 3, stride=2)
    y, z = block(x), block[2](block[1](block[0](scene())))
    assert torch.equal(y.C, z.C)
    assert (y.F >= 0).all()
    torch.testing.assert_close(y.F.mean(0), z.F.mean(0))
    assert [type(part).__name__ for part in block] == ["Conv3d", "BatchNorm", "ReLU"]


def test_a_transposed_block_comes_back():
    x = scene()
    y = SparseConvBlock(4, 6, 2, stride=2)(x)
    z = SparseConvTransposeBlock(6, 3, 2, stride=2)(y)
    assert torch.equal(z.C, x.C) and z.F.shape[1] == 3 and z.s == (1, 1, 1)


def test_a_residual_block_adds_its_input():
    x, block = scene(), SparseResBlock(4, 4, 3)
    assert isinstance(block.shortcut, torch.nn.Identity)
    torch.nn.init.zeros_(block.main[4].weight)
    torch.testing.assert_close(block(x).F, x.F.relu())


@pytest.mark.parametrize("wide", [4, 6])
@pytest.mark.parametrize("stride", [2, (2, 1, 2), [1, 2, 1]])
def test_a_residual_block_with_a_stride(minkowski, stride, wide):
    x, block = scene(), SparseResBlock(4, wide, 3, stride=stride)
    y = block(x)
    steps = (stride,) * 3 if isinstance(stride, int) else tuple(stride)
    cells = {(b, *(c // s for c, s in zip(p, steps, strict=True))) for b, *p in x.C.tolist()}
    assert {tuple(row) for row in y.C.tolist()} == cells and y.s == steps
    assert block.shortcut[0].kernel.shape == (1, 4, wide)
    y.F.sum().backward()
    assert all(p.grad is not None for p in block.parameters())
    assert SparseResBlock(4, 6, 3).shortcut[0].kernel.shape == (4, 6)
