"""torch-pointcloud's SPVCNN, which is written for TorchSparse 2.1."""

import pytest
import torch
from torch import Tensor, nn

from tests.conformance.libraries import LIBRARY, TORCHSPARSE

if LIBRARY != "gossamer" or TORCHSPARSE != "2.1":
    pytest.skip("torchsparse is another here, or none", allow_module_level=True)

from torch_pointcloud.models.spvcnn import (
    PointTensor,
    SPVCNNSegmentation,
    initial_voxelize,
    point_to_voxel,
    voxel_to_point,
)

from tests.conformance import clouds
from tests.conformance.clouds import Cloud, cloud


def spvcnn() -> nn.Module:
    torch.manual_seed(0)
    return SPVCNNSegmentation(
        4,
        5,
        stem_channels=8,
        encoder_channels=(8, 12, 16),
        encoder_depths=(1, 2, 1),
        encoder_fusion_stages=(False, True, True),
        decoder_channels=(16, 12, 8),
        decoder_depths=(1, 1, 1),
        decoder_fusion_stages=(True, False, True),
        drop_path=0.0,
    )


def segment(net: nn.Module, scene: Cloud) -> Tensor:
    return net(scene.features, scene.places, scene.batch)


def points(scene: Cloud) -> PointTensor:
    return PointTensor(scene.features, torch.cat([scene.batch[:, None], scene.places], 1))


def test_its_numbers_are_those_of_dictionaries():
    clouds.check_numbers(spvcnn(), segment, cloud())


def test_every_parameter_gets_a_gradient():
    clouds.check_gradients(spvcnn(), segment, cloud())


def test_the_order_of_points_does_not_matter():
    clouds.check_order(spvcnn(), segment, cloud())


def test_voxels_of_points_are_their_means_and_points_of_voxels_lie_between_them():
    scene = cloud()
    z = points(scene)
    x = initial_voxelize(z)
    cells = torch.cat([scene.batch[:, None], scene.places.floor().long()], 1)
    for row, feature in zip(x.C.tolist(), x.F, strict=True):
        own = (cells == torch.tensor(row)).all(1)
        torch.testing.assert_close(feature, scene.features[own].mean(0))
    x.F = torch.full_like(x.F, 3.5)
    # A point with little weight around it shows the number that keeps weights from 0 / 0.
    y = voxel_to_point(x, z).F
    torch.testing.assert_close(y, torch.full_like(y, 3.5), atol=0, rtol=1e-3)
    assert torch.equal(point_to_voxel(x, z).C, x.C)


def test_its_points_are_pickled():
    import pickle

    z = points(cloud())
    again = pickle.loads(pickle.dumps(z))
    assert type(again) is type(z) and torch.equal(again.F, z.F) and torch.equal(again.C, z.C)
