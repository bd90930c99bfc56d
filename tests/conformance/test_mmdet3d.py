"""What mmdet3d's unit tests of its sparse layers ask for, asked here in our words.

Its wheel and its source distribution come without those tests. `run --mmdet3d DIR` runs the
originals from a checkout.
"""

import pytest
import torch
from mmdet3d.models.layers import SparseBasicBlock, make_sparse_convmodule
from mmdet3d.models.layers.spconv import IS_SPCONV2_AVAILABLE
from mmdet3d.registry import MODELS
from spconv.pytorch import SparseConv3d, SparseConvTensor, SparseInverseConv3d, SubMConv3d
from torch import Tensor, nn

from tests.conformance.networks import BASIC
from tests.conformance.scenes import dice, features

SHAPE = [41, 1600, 1408]
NORM = {"type": "BN1d", "eps": 1e-3, "momentum": 0.01}


def four_points() -> tuple[Tensor, Tensor]:
    """Far apart in a large grid: [4, 4] features, [4, 4] coordinates of two scans."""
    coors = [[0, 12, 819, 131], [0, 16, 750, 136], [1, 16, 705, 232], [1, 35, 930, 469]]
    return features(4, 4), torch.tensor(coors, dtype=torch.int32)


def as_sparse() -> SparseConvTensor:
    return SparseConvTensor(*four_points(), SHAPE, 2)


def test_mmdet3d_finds_spconv_2():
    assert IS_SPCONV2_AVAILABLE
    assert MODELS.get("SubMConv3d") is SubMConv3d
    assert MODELS.get("SparseInverseConv3d") is SparseInverseConv3d


def test_a_basic_block_is_made_of_submanifold_layers():
    block = SparseBasicBlock(
        4, 4, conv_cfg={"type": "SubMConv3d", "indice_key": "subm1"}, norm_cfg=NORM
    )
    for conv in (block.conv1, block.conv2):
        assert isinstance(conv, SubMConv3d)
        assert (conv.in_channels, conv.out_channels) == (4, 4)
    assert (block.bn1.eps, block.bn1.momentum) == (1e-3, 0.01)
    assert block(as_sparse()).features.shape == (4, 4)


def test_a_conv_module_has_its_parts_in_the_order_asked_for():
    module = make_sparse_convmodule(
        4, 16, 3, "one", padding=0, conv_type="SubMConv3d", norm_cfg=NORM
    )
    conv, norm, activation = module
    assert isinstance(conv, SubMConv3d) and (conv.in_channels, conv.out_channels) == (4, 16)
    assert isinstance(norm, nn.BatchNorm1d) and (norm.eps, norm.momentum) == (1e-3, 0.01)
    assert isinstance(activation, nn.ReLU)
    assert module(as_sparse()).features.shape == (4, 16)
    last = make_sparse_convmodule(
        4,
        16,
        3,
        "two",
        conv_type="SparseInverseConv3d",
        norm_cfg=NORM,
        order=("norm", "act", "conv"),
    )
    kinds = (nn.BatchNorm1d, nn.ReLU, SparseInverseConv3d)
    assert all(isinstance(part, kind) for part, kind in zip(last, kinds, strict=True))


def test_the_sparse_unet_is_made_and_runs_on_a_large_grid():
    net = MODELS.build({"type": "SparseUNet", "in_channels": 4, "sparse_shape": SHAPE})
    assert len(net.encoder_layers) == 4
    first, last = net.encoder_layers.encoder_layer1, net.encoder_layers.encoder_layer4
    assert isinstance(first[0][0], SubMConv3d)
    assert (first[0][0].in_channels, first[0][0].out_channels) == (16, 16)
    assert isinstance(first[0][1], nn.BatchNorm1d) and isinstance(first[0][2], nn.ReLU)
    assert isinstance(last[0][0], SparseConv3d) and isinstance(last[2][0], SubMConv3d)
    assert (last[0][0].in_channels, last[0][0].out_channels) == (64, 64)
    assert isinstance(net.lateral_layer1, SparseBasicBlock)
    assert isinstance(net.merge_layer1[0], SubMConv3d)
    assert isinstance(net.upsample_layer1[0], SubMConv3d)
    assert isinstance(net.upsample_layer2[0], SparseInverseConv3d)
    found = net(*four_points(), 2)
    assert found["seg_features"].shape == (4, 16)
    assert found["spatial_features"].shape == (2, 256, 200, 176)


@pytest.mark.parametrize("kind", ["SparseEncoder", "SparseEncoderSASSD"])
def test_an_encoder_takes_many_rows_of_few_sites(kind):
    """207 842 rows on 256 sites, of int64, and the view from above comes out dense."""
    net = MODELS.build({"type": kind, "in_channels": 5, "sparse_shape": [40, 1024, 1024], **BASIC})
    points = features(207_842, 5)
    coors = torch.randint(0, 4, (207_842, 4), generator=dice())
    found = net(points, coors, 4) if kind == "SparseEncoder" else net(points, coors, 4, True)[0]
    assert found.shape == (4, 256, 128, 128)
    assert found.isfinite().all() and found.any()
