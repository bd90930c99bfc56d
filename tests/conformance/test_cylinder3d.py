"""Cylinder3D, which takes its layers from `mmcv.ops`, on mmcv's layers over gossamer."""

import pytest
import torch
from mmcv.ops import SparseConv3d, SparseConvTensor, SparseInverseConv3d, SubMConv3d
from mmdet3d.models.decode_heads import Cylinder3DHead
from mmdet3d.registry import MODELS
from mmdet3d.structures import Det3DDataSample, PointData
from torch import Tensor

from tests.conformance.libraries import LIBRARY
from tests.conformance.scenes import dice, features, voxels

pytestmark = pytest.mark.skipif(LIBRARY != "gossamer", reason="mmcv-lite has no sparse layers")
SHAPE = [48, 32, 8]


def sparse(channels: int) -> SparseConvTensor:
    coors = voxels(tuple(SHAPE), 300)
    return SparseConvTensor(features(len(coors), channels), coors, SHAPE, 2)


def anywhere(*ends: int, count: int = 50) -> Tensor:
    """[count, 1+D] int32 of one sample; rows may repeat."""
    axes = [torch.randint(0, end, (count,), generator=dice(end)) for end in ends]
    return torch.stack([torch.zeros(count, dtype=torch.int64), *axes], dim=1).int()


def test_layers_that_share_a_key_share_the_first_rulebook_whatever_their_kernels():
    first = SubMConv3d(4, 4, (1, 3, 3), bias=False, indice_key="shared")
    turned = SubMConv3d(4, 4, (3, 1, 3), bias=False, indice_key="shared")
    cube = SubMConv3d(4, 4, 3, bias=False, indice_key="shared")
    x = first(sparse(4))
    alone = SubMConv3d(4, 4, (1, 3, 3), bias=False)
    for layer in (turned, cube):
        taps = layer.weight.detach().view(-1, 4, 4)[:9]
        alone.load_state_dict({"weight": taps.view(1, 3, 3, 4, 4)})
        torch.testing.assert_close(layer(x).features, alone(x).features)


def test_a_layer_keeps_what_mmcv_shows_of_it():
    conv = SparseConv3d(4, 6, 3, stride=2, padding=1, indice_key="down")
    assert conv.weight.shape == (3, 3, 3, 4, 6)
    x = sparse(4)
    y = conv(x)
    outids, indices, pairs, counts, shape = y.indice_dict["down"]
    assert y.indices is outids and indices is x.indices and shape == SHAPE
    assert pairs.shape == (27, 2, len(x.indices)) and counts.shape == (27,)
    y.features = y.features.relu()
    back = SparseInverseConv3d(6, 4, 3, indice_key="down")(y)
    assert back.indices is x.indices and back.spatial_shape == SHAPE
    assert back.features.shape == x.features.shape


def test_the_backbone_takes_rows_that_repeat_and_that_lie_outside_its_grid():
    """As mmdet3d's own unit test feeds it, whose second axis goes to 36 on a grid of 32."""
    config = {"type": "Asymm3DSpconv", "grid_size": [48, 32, 4], "input_channels": 16}
    net = MODELS.build({**config, "base_channels": 32, "norm_cfg": {"type": "BN1d"}})
    assert isinstance(net.down_context.conv0_0, SubMConv3d)
    with pytest.warns(UserWarning, match="outside spatial_shape"):
        y = net(features(50, 16), anywhere(48, 36, 4).float(), 1)
    assert y.features.shape == (50, 128) and y.features.isfinite().all()
    assert y.indices.shape == (50, 4)


def test_the_head_has_losses_and_predicts_points():
    head = Cylinder3DHead(
        channels=128,
        num_classes=20,
        loss_ce={"type": "mmdet.CrossEntropyLoss", "use_sigmoid": False, "loss_weight": 1.0},
        loss_lovasz={"type": "LovaszLoss", "loss_weight": 1.0, "reduction": "none"},
    )
    coors = anywhere(480, 360, 32)
    x = SparseConvTensor(features(50, 128), coors, [480, 360, 32], 1)
    logits = head.forward(x)
    assert logits.features.shape == (50, 20)
    sample = Det3DDataSample()
    truth = torch.randint(0, 20, (50,), generator=dice())
    sample.gt_pts_seg = PointData(voxel_semantic_mask=truth)
    losses = head.loss_by_feat(logits, [sample])
    assert losses["loss_ce"] > 0 and losses["loss_lovasz"] > 0
    sample.point2voxel_map = torch.randint(0, 50, (100,), generator=dice()).int()
    found = head.predict(x, {"voxels": {"voxel_coors": coors}}, [sample])
    assert found[0].shape == (100, 20)
