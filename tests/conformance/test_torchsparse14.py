"""mmdet3d's networks for TorchSparse 1.4, in a process of their own: `run` starts it.

What its unit tests ask for is asked here in our words, and that MinkUNet on TorchSparse's facade
is MinkUNet on spconv's, which stands beside it in the same process.
"""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.conformance.libraries import LIBRARY, TORCHSPARSE

if LIBRARY != "gossamer" or TORCHSPARSE != "1.4":
    pytest.skip("TorchSparse 1.4 is in another process", allow_module_level=True)

import mmdet3d
import torchsparse
from mmdet3d.models.layers import (
    TorchSparseBasicBlock,
    TorchSparseBottleneck,
    TorchSparseConvModule,
)
from mmdet3d.models.layers.torchsparse import IS_TORCHSPARSE_AVAILABLE
from mmdet3d.registry import MODELS
from mmdet3d.structures import Det3DDataSample, PointData
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torchsparse import SparseTensor

from tests.conformance.scenes import dice, features, voxels
from tests.conformance.test_networks import away, mixed

PLUGGED = """
from tests.conformance import mmcv_ext; mmcv_ext.install()
from mmengine.config import Config
config = Config.fromstring('''
custom_imports = dict(imports=["gossamer.compat.mmdet3d"])
backbone = dict(type="SPVCNNBackbone")
''', ".py")
from mmdet3d.registry import MODELS
net = MODELS.build(config.backbone)
assert type(net.conv_input[0].net[0]).__module__.startswith("gossamer.compat.torchsparse14.")
"""
SMALL = {
    "base_channels": 8,
    "encoder_blocks": [1, 1, 1, 1],
    "decoder_blocks": [1, 1, 1, 1],
}
NETWORKS = {
    "MinkUNet": {"type": "MinkUNetBackbone"},
    "MinkUNet of bottlenecks": {"type": "MinkUNetBackbone", "block_type": "bottleneck"},
    "MinkUNet V2": {"type": "MinkUNetBackboneV2"},
    "SPVCNN": {"type": "SPVCNNBackbone", "drop_ratio": 0.0},
}


def made(config: dict) -> nn.Module:
    torch.manual_seed(0)
    # It writes into the lists it gets, also into its own defaults.
    channels = {"encoder_channels": [8, 12, 16, 24], "decoder_channels": [24, 16, 12, 8]}
    return MODELS.build({**SMALL, **channels, **config})


def scans() -> tuple[Tensor, Tensor]:
    """[800, 4] features, and coordinates (x, y, z, batch), in no order and with repeats."""
    sites = voxels((32, 32, 32), 380)
    sites = torch.cat([sites, sites[::19][:40]])
    return features(len(sites), 4), sites[:, [1, 2, 3, 0]].contiguous()


def run(net: nn.Module) -> Tensor:
    points, coors = scans()
    return net(points, coors)


def four_points() -> SparseTensor:
    coors = [[12, 819, 131, 0], [16, 750, 136, 0], [16, 705, 232, 1], [35, 930, 469, 1]]
    return SparseTensor(features(4, 4), torch.tensor(coors, dtype=torch.int32))


def test_mmdet3d_finds_torchsparse_and_spconv_in_one_process():
    assert IS_TORCHSPARSE_AVAILABLE and torchsparse.__version__ == "1.4.0"
    assert MODELS.get("TorchSparseConv3d") is torchsparse.nn.Conv3d
    assert MODELS.get("TorchSparseBN") is torchsparse.nn.BatchNorm
    assert MODELS.get("SubMConv3d").__module__.startswith("gossamer.compat.spconv")


def test_an_unedited_config_runs_on_gossamer_with_the_plug_in():
    done = subprocess.run([sys.executable, "-c", PLUGGED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_its_wrappers_run_on_four_far_points():
    assert TorchSparseConvModule(4, 4, kernel_size=2, stride=2)(four_points()).F.shape == (4, 4)
    for block in (TorchSparseBasicBlock, TorchSparseBottleneck):
        assert block(4, 16, kernel_size=3)(four_points()).F.shape == (4, 16)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_learns(name, half):
    net = made(NETWORKS[name])
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        y = run(net)
    assert len(y) == 800 and y.isfinite().all()
    mixed({"points": y.float()}).backward()
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key
        # A bias before a batch norm is taken out again.
        assert parameter.ndim == 1 or parameter.grad.any(), key


@pytest.mark.parametrize("name", NETWORKS)
def test_evaluation_has_gradients_and_gives_what_it_gives_without(name):
    net = made(NETWORKS[name])
    run(net)
    net.eval()
    y = run(net)
    with torch.no_grad():
        alone = run(net)
    torch.testing.assert_close(alone, y, rtol=0, atol=1e-5 * y.abs().max().item())
    mixed({"points": y}).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_gradient_is_the_slope(name, double):
    net = made(NETWORKS[name])
    weights = list(net.parameters())
    mixed({"points": run(net)}).backward()
    ways = [away(w.detach(), seed) for seed, w in enumerate(weights)]
    slope = sum((w.grad * way).sum().item() for w, way in zip(weights, ways, strict=True))
    step, values = 1e-7, []
    for steps in (1, -2):
        with torch.no_grad():
            for w, way in zip(weights, ways, strict=True):
                w += steps * step * way
            values.append(mixed({"points": run(net)}).item())
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(slope, rel=1e-5)


def as_spconv(kernel: Tensor, like: Tensor) -> Tensor:
    """TorchSparse's [K, C_in, C_out], or [C_in, C_out], as spconv's [C_out, *size, C_in]."""
    size = like.shape[1:4]
    if size.numel() == 1:  # which spconv multiplies as it lies in memory
        return kernel.reshape(like.shape)
    taps = kernel.reshape(-1, *kernel.shape[-2:])
    if len(taps) % 2:  # x counts fastest
        return taps.unflatten(0, size[::-1]).permute(4, 2, 1, 0, 3)
    return taps.unflatten(0, size).permute(4, 0, 1, 2, 3)


def test_minkunet_is_the_same_on_both_backends():
    theirs = made({"type": "MinkUNetBackbone", "sparseconv_backend": "torchsparse"})
    ours = made({"type": "MinkUNetBackbone", "sparseconv_backend": "spconv"})
    with torch.no_grad():
        for mine, its in zip(ours.parameters(), theirs.parameters(), strict=True):
            mine.copy_(its if its.ndim == 1 else as_spconv(its, mine))
    sites = voxels((32, 32, 32), 380)
    # spconv leaves out what a window does not fit on; this makes its grid one of whole cells.
    sites = torch.cat([sites, torch.tensor([[1, 31, 31, 31]], dtype=torch.int32)])
    points = features(len(sites), 4)
    y = theirs(points, sites[:, [1, 2, 3, 0]].contiguous())
    wanted = ours(points, sites)
    torch.testing.assert_close(y, wanted, rtol=0, atol=3e-5 * wanted.abs().max().item())


def test_spvcnn_sees_each_point_apart_in_its_point_branch():
    """Of rows in one voxel, the voxel has the mean, and each point keeps its own features."""
    net = made(NETWORKS["SPVCNN"]).eval()
    coors = torch.tensor([[3, 4, 5, 0], [3, 4, 5, 0], [4, 4, 5, 0]], dtype=torch.int32)
    points = features(3, 4)
    merged = points.clone()
    merged[:2] = points[:2].mean(0)
    torch.testing.assert_close(net(points, coors), net(merged, coors), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["minkunet", "spvcnn"])
def test_the_segmentor_predicts_and_learns(name, monkeypatch):
    # Its preprocessor asks for it, wherever the model is.
    monkeypatch.setattr(torch.Tensor, "cuda", lambda self: self)
    folder = Path(mmdet3d.__file__).parent / ".mim" / "configs" / "_base_" / "models"
    config = Config.fromfile(folder / f"{name}.py").model
    DefaultScope.get_instance(f"torchsparse14 {name}", scope_name="mmdet3d")
    model = MODELS.build(config)
    points = torch.rand(60, 4, generator=dice())
    sample = Det3DDataSample()
    labels = torch.randint(0, 19, (60,), generator=dice(1))
    sample.gt_pts_seg = PointData(pts_semantic_mask=labels)
    data = {"inputs": {"points": [points]}, "data_samples": [sample]}
    data = model.data_preprocessor(data, True)
    losses = model.forward(**data, mode="loss")
    assert losses["loss_sem_seg"] > 0
    losses["loss_sem_seg"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    with torch.no_grad():
        found = model.forward(**data, mode="predict")
    assert found[0].pred_pts_seg.pts_semantic_mask.shape == (60,)


def test_the_head_takes_what_the_backbone_gives():
    head = MODELS.build({"type": "MinkUNetHead", "channels": 4, "num_classes": 19})
    logits = head(features(200, 4))
    assert logits.shape == (200, 19)
    samples = [Det3DDataSample(), Det3DDataSample()]
    for sample in samples:
        labels = torch.randint(0, 19, (100,), generator=dice())
        sample.gt_pts_seg = PointData(voxel_semantic_mask=labels)
    assert head.loss(features(200, 4), samples, {})["loss_sem_seg"] > 0
