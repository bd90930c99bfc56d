"""What is written is read back, whatever the cloud holds."""

from dataclasses import replace

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gossamer import io
from gossamer.point_cloud import PointCloud
from tests.io.clouds import ROLES, assert_same, assert_same_roles, clouds

EXACT = [
    (".npz", {}),
    (".ply", {}),
    (".ply", {"encoding": "ascii"}),
    (".pcd", {}),
    (".pcd", {"encoding": "ascii"}),
    (".pcd", {"encoding": "binary_compressed"}),
]
many = settings(deadline=None, max_examples=60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("round_trip")


@pytest.mark.parametrize(("suffix", "options"), EXACT)
@many
@given(cloud=clouds())
def test_reading_what_was_written_is_the_identity(folder, suffix, options, cloud):
    path = folder / f"cloud{suffix}"
    io.write(path, cloud, **options)
    assert_same(io.read(path), cloud)


@many
@given(
    cloud=clouds(names=["any name", "läser", "x", "label", "a\tb", ""], low=-(2**62), high=2**62)
)
def test_an_npz_holds_any_names_and_any_integers(folder, cloud):
    io.write(folder / "cloud.npz", cloud)
    assert_same(io.read(folder / "cloud.npz"), cloud)


@pytest.mark.parametrize("suffix", [".las", ".laz"])
@many
@given(cloud=clouds(finite=True), scale=st.sampled_from([1e-4, 1e-3, 0.25]))
def test_las_gives_back_features_exactly_and_positions_to_half_a_step(folder, suffix, cloud, scale):
    path = folder / f"cloud{suffix}"
    io.write(path, cloud, scale=scale)
    came = io.read(path)
    assert set(came.names) == set(cloud.names)
    for name in cloud.names:
        torch.testing.assert_close(
            came.feature(name), cloud.feature(name), rtol=0, atol=0, equal_nan=True
        )
    assert_same_roles(came, cloud)
    assert came.positions.dtype == torch.float64
    # half a step, and the rounding of offset + step * scale at 100 m
    difference = (came.positions - cloud.positions.double()).abs()
    assert (difference <= scale / 2 + 1e-12).all()


@pytest.mark.parametrize("suffix", [".las", ".laz"])
@settings(deadline=None, max_examples=20)
@given(cloud=clouds(finite=True))
def test_las_changes_nothing_the_second_time(folder, suffix, cloud):
    path = folder / f"again{suffix}"
    io.write(path, cloud)
    once = io.read(path)
    io.write(path, once)
    twice = io.read(path)
    assert_same(replace(twice, positions=once.positions), once)
    torch.testing.assert_close(twice.positions, once.positions, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "features"), [("a.bin", ("intensity",)), ("a.pcd.bin", ("intensity", "ring"))]
)
@many
@given(data=st.data())
def test_a_bin_and_its_label_file_give_back_one_scan(tmp_path_factory, name, features, data):
    cloud = data.draw(clouds(names=[], roles=("labels", "instances"), low=0, high=2**16 - 1))
    values = torch.randn(len(cloud), len(features))
    cloud = replace(cloud, positions=cloud.positions.float(), features=values, names=features)
    if cloud.labels is None:
        cloud = replace(cloud, instances=None)
    elif cloud.instances is None:
        # the file has room for both, and instance 0 is none
        cloud = replace(cloud, instances=torch.zeros_like(cloud.labels))
    path = tmp_path_factory.mktemp("scan") / name
    io.write(path, cloud)
    assert_same(io.read(path), cloud)
    assert path.with_name("a.label").exists() == (cloud.labels is not None)


@many
@given(cloud=clouds(names=["reflectivity", "ring", "col"], roles=()))
def test_a_bin_of_named_columns_gives_them_back_by_those_names(folder, cloud):
    cloud = replace(cloud, positions=cloud.positions.float())
    path = folder / "named.bin"
    io.write(path, cloud, columns=cloud.names)
    assert_same(io.read(path, columns=cloud.names), cloud)


@many
@given(cloud=clouds(roles=("labels", "instances"), low=0, high=2**16 - 1))
@example(cloud=PointCloud(torch.zeros(1, 3), labels=torch.tensor([259])))
def test_a_label_file_gives_back_classes_and_instances(folder, cloud):
    labels = cloud.labels if cloud.labels is not None else torch.zeros(len(cloud)).long()
    io.write_labels(folder / "a.label", replace(cloud, labels=labels))
    came, instances = io.read_labels(folder / "a.label")
    assert torch.equal(came, labels)
    assert torch.equal(instances, 0 * labels if cloud.instances is None else cloud.instances)


@pytest.mark.parametrize(("suffix", "options"), EXACT)
def test_floats_of_every_size_come_back(tmp_path, suffix, options):
    generator = torch.Generator().manual_seed(0)
    bits = torch.randint(-(2**31), 2**31, (3_000, 4), generator=generator).int()
    features = bits.view(torch.float32).nan_to_num()
    positions = features[:, :3].double() * torch.pi
    cloud = PointCloud(positions, features, tuple("abcd"))
    io.write(tmp_path / f"a{suffix}", cloud, **options)
    assert_same(io.read(tmp_path / f"a{suffix}"), cloud)


@pytest.mark.parametrize("suffix", [".npz", ".ply", ".pcd"])
def test_positions_keep_their_precision(tmp_path, suffix):
    far = torch.tensor([[2445000.123456789, 603000.1, 0.3]], dtype=torch.float64)
    for positions in (far, far.float()):
        io.write(tmp_path / f"a{suffix}", PointCloud(positions))
        came = io.read(tmp_path / f"a{suffix}").positions
        assert came.dtype == positions.dtype
        assert torch.equal(came, positions)


@pytest.mark.parametrize("suffix", [".npz", ".ply", ".pcd", ".las", ".laz", ".bin", ".pcd.bin"])
def test_a_cloud_that_needs_a_gradient_or_strides_is_written_too(tmp_path, suffix):
    names = ("intensity", "ring")[: 2 if suffix == ".pcd.bin" else 1]
    wide = torch.arange(80.0).reshape(8, 10).requires_grad_()
    cloud = PointCloud(wide[::2, :6:2], wide[::2, 6 : 6 + len(names)], names)
    io.write(tmp_path / f"a{suffix}", cloud)
    came = io.read(tmp_path / f"a{suffix}")
    torch.testing.assert_close(came.positions.float(), cloud.positions.detach(), rtol=0, atol=5e-5)
    assert torch.equal(came.features, cloud.features.detach())


def test_every_role_is_covered():
    made = {name for name in PointCloud.__dataclass_fields__}
    assert made == {"positions", "features", "names", *ROLES}
