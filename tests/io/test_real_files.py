"""Real scans are read whole."""

import pytest
import torch

from gossamer import io
from gossamer.errors import FormatError
from tests.real_data import real_scan

OUSTER = ("reflectivity", "ring", "col")
RETURNS = ("intensity", "return_number", "number_of_returns")
NUSCENES = "nuscenes/n015-2018-07-24-11-22-45+0800__LIDAR_TOP__1532402927647951.pcd.bin"
SCANS = {
    "ouster/OS-1-128_0.npz": (107_647, OUSTER, None),
    "ouster/OS-1-128_1.npz": (107_357, OUSTER, None),
    "ouster/OS-1-128_2.npz": (107_532, OUSTER, None),
    "ouster/OS-2-128-U1_0.npz": (119_682, OUSTER, None),
    "ouster/OS-0-128-U1_0.npz": (97_299, OUSTER, None),
    "aerial/als_60x40m_5class.las": (25_408, RETURNS, [2, 3, 4, 5, 6, 7]),
    "aerial/sample_c.las": (14_408, (*RETURNS, "red"), [2, 3, 4, 5, 6, 11, 14, 31]),
    "aerial/4_6_crop.las": (23_875, RETURNS, [1, 2]),
    "aerial/autzen_trim.laz": (110_000, (*RETURNS, "red", "green", "blue"), [1, 2]),
    "aerial/lone-star.laz": (518_862, RETURNS, None),
    "small_gicp/source.ply": (69_792, ("scalar_intensity",), None),
    "small_gicp/target.ply": (69_088, ("scalar_intensity",), None),
    "kitti/000008.bin": (17_238, ("intensity",), None),
    NUSCENES: (34_688, ("intensity", "ring"), None),
}


@pytest.mark.parametrize("name", SCANS)
def test_a_real_scan_has_its_points_features_and_classes(name):
    points, features, classes = SCANS[name]
    cloud = io.read(real_scan(name))
    assert len(cloud) == len(cloud.finite()) == points
    assert set(features) <= set(cloud.names)
    found = None if cloud.labels is None else cloud.labels.unique().tolist()
    assert found == classes


def test_real_positions_are_metres_and_rings_are_whole():
    ouster = io.read(real_scan("ouster/OS-1-128_0.npz"))
    assert ouster.positions.dtype == torch.float32
    assert 100 < ouster.positions.norm(dim=1).max() < 300
    assert ouster.feature("ring").unique().tolist() == list(range(128))
    assert io.read(real_scan(NUSCENES)).feature("ring").unique().tolist() == list(range(32))
    intensity = io.read(real_scan("kitti/000008.bin")).feature("intensity")
    assert 0 <= intensity.min() < intensity.max() <= 1


def test_a_real_las_agrees_with_laspy():
    laspy = pytest.importorskip("laspy")
    path = real_scan("aerial/autzen_trim.laz")
    cloud, las = io.read(path), laspy.read(path)
    assert (cloud.positions.numpy() == las.xyz).all()
    assert (cloud.labels.numpy() == las.classification).all()
    for name in cloud.names:
        assert (cloud.feature(name).numpy() == las[name]).all(), name


def test_a_real_las_without_classes_is_refused_when_classes_are_wanted():
    with pytest.raises(FormatError, match="518862 points without classes"):
        io.read(real_scan("aerial/lone-star.laz"), labels=True)


@pytest.mark.parametrize("suffix", [".npz", ".ply", ".pcd", ".las", ".laz"])
@pytest.mark.parametrize("name", ["aerial/als_60x40m_5class.las", "kitti/000008.bin"])
def test_a_real_scan_survives_every_format(tmp_path, name, suffix):
    cloud = io.read(real_scan(name))
    io.write(tmp_path / f"a{suffix}", cloud)
    came = io.read(tmp_path / f"a{suffix}")
    torch.testing.assert_close(came.positions.double(), cloud.positions.double(), rtol=0, atol=5e-5)
    assert came.names == cloud.names
    assert torch.equal(came.features, cloud.features)
    assert (came.labels is None) == (cloud.labels is None)
    assert cloud.labels is None or torch.equal(came.labels, cloud.labels)
