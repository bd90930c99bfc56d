"""The networks, each with a small input, and its outputs in an order no library has a say in."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from mmdet3d.models.layers import make_sparse_convmodule
from mmdet3d.models.middle_encoders import SparseEncoder
from mmdet3d.registry import MODELS
from spconv.pytorch import SparseConvTensor
from torch import Tensor, nn
from torch_pointcloud.models.point_transformer_v3 import PointTransformerV3Segmentation
from torch_pointcloud.models.second import SECONDDetection
from torch_pointcloud.models.spformer_unet import SPFormerUNetSegmentation
from torch_pointcloud.models.sphereformer import SphereFormerSegmentation
from torch_pointcloud.models.spunet import SparseUNetSegmentation
from torch_pointcloud.models.voxelnext import VoxelNeXtDetection
from torch_pointcloud.ops.voxelization import hard_voxelize

from tests.conformance.scenes import dice, features, voxels

BASIC = {
    "order": ("conv", "norm", "act"),
    "encoder_channels": ((16, 16, 32), (32, 32, 64), (64, 64, 128), (128, 128)),
    "encoder_paddings": ((1, 1, 1),) * 5,
    "block_type": "basicblock",
}
SHAPE = [41, 64, 48]
RANGE = (0.0, 0.0, 0.0, 6.4, 6.4, 4.0)
SMALL_UNET = {"encoder_channels": (8, 16, 24), "encoder_depths": (1, 1, 1)}


@dataclass(frozen=True)
class Network:
    """A network and what to feed it.

    Args:
        build: makes it, in training mode.
        run: its outputs, by name; rows sorted by site where the library may choose their order.
    """

    build: Callable[[], nn.Module]
    run: Callable[[nn.Module], dict[str, Tensor]]


def config(type: str, **rest) -> Callable[[], nn.Module]:
    return lambda: MODELS.build({"type": type, **rest})


def encode(net: nn.Module) -> dict[str, Tensor]:
    coors = voxels(tuple(SHAPE), 500)
    return {"bev": net(features(len(coors), 4), coors, 2)}


class HeightLast(SparseEncoder):
    """SECOND's encoder with height as the last axis, as BEVFusion has it."""

    def __init__(self):
        super().__init__(4, SHAPE[::-1], encoder_paddings=((1,), (1, 1, 1), (1, 1, 1), (1, 1, 1)))
        self.conv_out = make_sparse_convmodule(
            64,
            128,
            (1, 1, 3),
            stride=(1, 1, 2),
            norm_cfg={"type": "BN1d"},
            indice_key="spconv_down2",
            conv_type="SparseConv3d",
        )

    def forward(self, points: Tensor, coors: Tensor, batch_size: int) -> Tensor:
        x = self.conv_input(SparseConvTensor(points, coors, self.sparse_shape, batch_size))
        dense = self.conv_out(self.encoder_layers(x)).dense()
        return dense.permute(0, 1, 4, 2, 3).flatten(1, 2)


def encode_height_last(net: nn.Module) -> dict[str, Tensor]:
    coors = voxels(tuple(SHAPE), 500)[:, [0, 3, 2, 1]]
    return {"bev": net(features(len(coors), 4), coors.contiguous(), 2)}


def encode_with_points(net: nn.Module) -> dict[str, Tensor]:
    coors = voxels(tuple(SHAPE), 500)
    points = features(len(coors), 4)
    # Somewhere in their voxels, in metres, so that it is clear which three voxels are nearest.
    size, origin = torch.tensor([0.05, 0.05, 0.1]), torch.tensor([0.0, -40.0, -3.0])
    points[:, :3] = (coors[:, [3, 2, 1]] + points[:, :3]) * size + origin
    bev, (_, score, offset) = net(points, coors, 2)
    return {"bev": bev, "score": score, "offset": offset}


def segment_and_encode(net: nn.Module) -> dict[str, Tensor]:
    coors = voxels(tuple(SHAPE), 500)
    found = net(features(len(coors), 4), coors, 2)
    return {"bev": found["spatial_features"], "points": found["seg_features"]}


def refine(net: nn.Module) -> dict[str, Tensor]:
    shape = (3, 14, 14, 14)
    occupied = (torch.rand(*shape, 1, generator=dice()) < 0.2).float()
    semantic = torch.rand(*shape, 8, generator=dice(1)) * occupied
    part = torch.rand(*shape, 4, generator=dice(2)) * occupied
    score, box = net(semantic, part)
    return {"score": score, "box": box}


def backbone(net: nn.Module) -> dict[str, Tensor]:
    coors = voxels((32, 32, 32), 400)
    return {"points": net(features(len(coors), 4), coors)}


def cylinder(net: nn.Module) -> dict[str, Tensor]:
    coors = voxels((48, 32, 8), 300)
    body, head = net
    x = body(features(len(coors), 16), coors, 2)
    return {"logits": head(x).features}


def segment(net: nn.Module) -> dict[str, Tensor]:
    sites = voxels((32, 32, 32), 400).long()
    return {"logits": net(features(len(sites), 6), sites[:, 1:], sites[:, 0])}


def segment_by_pairs(net: nn.Module) -> dict[str, Tensor]:
    sites = voxels((32, 32, 32), 400).long()
    batch, places = sites[:, 0], sites[:, 1:]
    return {"logits": net(features(len(sites), 6), 0.05 * places, places, batch)}


def pillars(net: nn.Module) -> dict[str, Tensor]:
    depth, height, width = net.sparse_shape
    sites = voxels((depth, height, width), 300).long()
    points = torch.rand(len(sites), 5, net.in_channels, generator=dice())
    count = torch.randint(1, 6, (len(sites),), generator=dice(1))
    return net(points, sites[:, 1:], count, sites[:, 0])


def detect(net: nn.Module) -> dict[str, Tensor]:
    found = pillars(net)
    return {name: found[name] for name in ("cls", "box", "dir_cls")}


def detect_on_sites(net: nn.Module) -> dict[str, Tensor]:
    found = pillars(net)
    sites = found.pop("voxel_indices").long()
    order = ((sites[:, 0] * 4096 + sites[:, 1]) * 4096 + sites[:, 2]).argsort()
    rows = {
        f"{name}{group}": rows[order]
        for name, groups in found.items()
        for group, rows in enumerate(groups)
    }
    return {"sites": sites[order].float(), **rows}


def second() -> nn.Module:
    return SECONDDetection(
        in_channels=4,
        voxel_size=(0.1, 0.1, 0.1),
        point_cloud_range=RANGE,
        anchor_sizes=[[3.9, 1.6, 1.56], [0.8, 0.6, 1.73], [1.76, 0.6, 1.73]],
        anchor_bottom_heights=[-1.78, -0.6, -0.6],
        feature_map_stride=8,
        layer_nums=(1, 1),
        num_filters=(32, 64),
        num_upsample_filters=(32, 32),
    )


def voxelnext() -> nn.Module:
    return VoxelNeXtDetection(
        in_channels=5,
        num_classes=3,
        voxel_size=(0.1, 0.1, 0.1),
        point_cloud_range=RANGE,
        head_class_groups=[[0], [1, 2]],
        feature_map_stride=8,
        channels=(8, 16, 24, 32, 32),
        shared_conv_channels=32,
        head_kernel_size=3,
    )


def spunet() -> nn.Module:
    return SparseUNetSegmentation(
        6,
        5,
        stem_channels=8,
        decoder_channels=(24, 16, 16),
        decoder_depths=(1, 1, 1),
        **SMALL_UNET,
    )


def spformer() -> nn.Module:
    return SPFormerUNetSegmentation(6, 5, channels=(8, 16, 24), depths=1)


def sphereformer() -> nn.Module:
    # Without its attention, which is compiled; what is left reads `indice_pairs` by itself.
    return SphereFormerSegmentation(
        6, 5, stem_channels=8, channels=(8, 16, 24), depth=1, sphere_layers=()
    )


def ptv3() -> nn.Module:
    return PointTransformerV3Segmentation(
        6,
        5,
        strides=(2, 2),
        encoder_depths=(1, 1, 1),
        encoder_channels=(16, 32, 64),
        encoder_num_heads=(2, 4, 8),
        encoder_patch_size=(48, 48, 48),
        decoder_depths=(1, 1),
        decoder_channels=(32, 32),
        decoder_num_heads=(4, 4),
        decoder_patch_size=(48, 48),
        drop_path=0.0,
        shuffle_serialization_orders=False,
        use_flash_attn=False,
    )


def cylinder3d() -> nn.Module:
    body = config("Asymm3DSpconv", grid_size=[48, 32, 8], input_channels=16, base_channels=8)
    head = config(
        "Cylinder3DHead",
        channels=32,
        num_classes=20,
        loss_ce={"type": "mmdet.CrossEntropyLoss", "class_weight": None},
        loss_lovasz={"type": "LovaszLoss", "reduction": "none"},
    )
    return nn.ModuleList([body(), head()])


def parta2() -> nn.Module:
    return config(
        "PartA2BboxHead",
        num_classes=3,
        seg_in_channels=8,
        part_in_channels=4,
        seg_conv_channels=[16, 16],
        part_conv_channels=[16, 16],
        merge_conv_channels=[32, 32],
        down_conv_channels=[32, 64],
        bbox_coder={"type": "DeltaXYZWLHRBBoxCoder"},
        shared_fc_channels=[64, 32, 32],
        cls_channels=[32, 32],
        reg_channels=[32, 32],
        dropout_ratio=0,
        roi_feat_size=14,
        loss_bbox={"type": "mmdet.SmoothL1Loss"},
        loss_cls={"type": "mmdet.CrossEntropyLoss", "use_sigmoid": True},
    )()


def minkunet() -> nn.Module:
    # The lists are its own: it puts more into them.
    return config(
        "MinkUNetBackbone",
        base_channels=8,
        num_stages=3,
        encoder_channels=[8, 16, 24],
        encoder_blocks=[1, 1, 1],
        decoder_channels=[24, 16, 16],
        decoder_blocks=[1, 1, 1],
        sparseconv_backend="spconv",
    )()


SPARSE = {"in_channels": 4, "sparse_shape": SHAPE}
MMDET3D = {
    "SECOND": Network(config("SparseEncoder", **SPARSE), encode),
    "SECOND of basic blocks": Network(config("SparseEncoder", **SPARSE, **BASIC), encode),
    "SECOND with height last": Network(HeightLast, encode_height_last),
    "SASSD": Network(config("SparseEncoderSASSD", **SPARSE), encode_with_points),
    "sparse U-Net": Network(config("SparseUNet", **SPARSE), segment_and_encode),
    "PartA2 head": Network(parta2, refine),
    "MinkUNet": Network(minkunet, backbone),
}
CYLINDER3D = Network(cylinder3d, cylinder)
TORCH_POINTCLOUD = {
    "SpUNet": Network(spunet, segment),
    "SPFormer": Network(spformer, segment),
    "SphereFormer": Network(sphereformer, segment_by_pairs),
    "SECOND": Network(second, detect),
    "VoxelNeXt": Network(voxelnext, detect_on_sites),
    "PTv3": Network(ptv3, segment),
}
ON_SPCONV = {
    **{f"mmdet3d {name}": network for name, network in MMDET3D.items()},
    **{f"torch-pointcloud {name}": network for name, network in TORCH_POINTCLOUD.items()},
}


def voxelized() -> tuple[Tensor, ...]:
    """Voxels of points in space, of which the caps leave some out."""
    points = torch.rand(3000, 5, generator=dice(4), dtype=torch.float32) * 1.2 - 0.1
    batch = torch.arange(2).repeat_interleave(1500)
    return hard_voxelize(points, batch, (0.1, 0.1, 0.2), (0, 0, 0, 1, 1, 1), 3, 400)
