"""The bytes on disk, against files put together by hand from the formats' specifications."""

import struct

import numpy as np
import pytest
import torch

from gossamer import io
from gossamer.point_cloud import PointCloud

ROWS = [(1.5, -2.0, 0.25, 0.5), (3.0, 4.0, -5.0, 1.0)]
CLOUD = PointCloud(
    torch.tensor(ROWS)[:, :3],
    torch.tensor(ROWS)[:, 3:],
    ("intensity",),
    labels=torch.tensor([40, 252]),
    instances=torch.tensor([0, 7]),
)
PLAIN = PointCloud(CLOUD.positions, CLOUD.features, CLOUD.names)


def positions_and_intensity(cloud: PointCloud) -> list[tuple[float, ...]]:
    assert cloud.names == ("intensity",)
    return [tuple(row) for row in torch.cat([cloud.positions, cloud.features], 1).tolist()]


def test_a_bin_is_rows_of_little_endian_float32(tmp_path):
    data = b"".join(struct.pack("<4f", *row) for row in ROWS)
    io.write(tmp_path / "a.bin", PLAIN)
    assert (tmp_path / "a.bin").read_bytes() == data
    assert positions_and_intensity(io.read(tmp_path / "a.bin")) == ROWS


def test_a_label_is_the_instance_above_the_class(tmp_path):
    data = struct.pack("<2I", 40, 7 << 16 | 252)
    io.write_labels(tmp_path / "a.label", CLOUD)
    assert (tmp_path / "a.label").read_bytes() == data
    (tmp_path / "b.label").write_bytes(struct.pack("<I", 0xFFFF_0103))
    assert [t.tolist() for t in io.read_labels(tmp_path / "b.label")] == [[259], [65535]]


def test_labels_lie_by_the_scan_or_in_the_folder_beside_velodyne(tmp_path):
    data = tmp_path / "sequences/00"
    io.write(data / "velodyne/000000.bin", CLOUD)
    assert (data / "labels/000000.label").stat().st_size == 8
    assert io.read(data / "velodyne/000000.bin").labels.tolist() == [40, 252]
    assert io.label_file("x/scan.v2.pcd.bin").as_posix() == "x/scan.v2.label"


@pytest.mark.parametrize(
    ("name", "floats", "columns", "names"),
    [
        ("a.bin", 8, None, ("intensity",)),
        ("a.bin", 20, None, ("intensity",)),
        ("a.bin", 5, None, ("intensity", "ring")),
        ("a.bin", 20, 5, ("intensity", "ring")),
        ("a.bin", 12, 3, ()),
        ("a.bin", 12, "intensity elongation time".split(), ("intensity", "elongation", "time")),
        ("a.pcd.bin", 20, None, ("intensity", "ring")),
        ("A.PCD.BIN", 5, None, ("intensity", "ring")),
        ("a.pcd.bin", 8, 4, ("intensity",)),
    ],
)
def test_the_columns_of_a_bin_follow_from_name_size_or_caller(
    tmp_path, name, floats, columns, names
):
    np.arange(floats, dtype="<f4").tofile(tmp_path / name)
    cloud = io.read(tmp_path / name, columns=columns)
    assert cloud.names == names
    assert len(cloud) == floats // (3 + len(names))
    assert cloud.positions[0].tolist() == [0, 1, 2]


def test_an_npz_has_an_array_for_each_part(tmp_path):
    io.write(tmp_path / "a.npz", CLOUD)
    with np.load(tmp_path / "a.npz") as archive:
        assert sorted(archive.files) == ["features", "instances", "labels", "names", "positions"]
        assert archive["names"].tolist() == ["intensity"]
        assert archive["labels"].tolist() == [40, 252]


def test_an_npz_of_millimetres_is_metres_and_its_other_arrays_are_features(tmp_path):
    np.savez(
        tmp_path / "a.npz",
        xyz_mm=np.array([[1500, -2, 0]], np.int32),
        reflectivity=np.array([250], np.uint16),
        rgb=np.array([[1, 2, 3]], np.uint8),
        serial=np.array("OS-1"),
        pose=np.eye(4),
        Class=np.array([3], np.uint8),
    )
    cloud = io.read(tmp_path / "a.npz")
    torch.testing.assert_close(cloud.positions, torch.tensor([[1.5, -0.002, 0.0]]))
    assert cloud.names == ("reflectivity", "rgb_0", "rgb_1", "rgb_2")
    assert cloud.features.tolist() == [[250, 1, 2, 3]]
    assert cloud.labels.tolist() == [3]


PLY_HEADER = """ply
format {} 1.0
element vertex 2
property float x
property float y
property float z
property float intensity
property int label
property int instance
end_header
"""


@pytest.mark.parametrize(("order", "word"), [("<", "little"), (">", "big")])
def test_a_binary_ply_is_its_header_and_packed_rows(tmp_path, order, word):
    rows = [(*row, *ids) for row, ids in zip(ROWS, [(40, 0), (252, 7)], strict=True)]
    body = b"".join(struct.pack(f"{order}4f2i", *row) for row in rows)
    data = PLY_HEADER.format(f"binary_{word}_endian").encode() + body
    if word == "little":
        io.write(tmp_path / "a.ply", CLOUD)
        assert (tmp_path / "a.ply").read_bytes() == data
    (tmp_path / "b.ply").write_bytes(data)
    cloud = io.read(tmp_path / "b.ply")
    assert positions_and_intensity(cloud) == ROWS
    assert (cloud.labels.tolist(), cloud.instances.tolist()) == ([40, 252], [0, 7])


def test_an_ascii_ply_mesh_gives_its_vertices(tmp_path):
    text = PLY_HEADER.format("ascii").replace(
        "end_header", "element face 1\nproperty list uchar int vertex_indices\nend_header"
    )
    (tmp_path / "a.ply").write_text(text + "1.5 -2 .25 .5 40 0\n3 4 -5 1 252 7\n3 0 1 0\n")
    cloud = io.read(tmp_path / "a.ply")
    assert positions_and_intensity(cloud) == ROWS
    assert cloud.labels.tolist() == [40, 252]


def test_colours_that_are_bytes_are_bytes_in_a_ply(tmp_path):
    colours = torch.tensor([[0.0, 128.0, 255.0], [256.0, 7.0, 1.0]])
    cloud = PointCloud(torch.zeros(2, 3), colours, ("red", "green", "blue"))
    io.write(tmp_path / "a.ply", cloud)
    header = (tmp_path / "a.ply").read_bytes().split(b"end_header")[0]
    assert [name in header for name in (b"uchar red", b"uchar green", b"uchar blue")] == [0, 1, 1]
    assert torch.equal(io.read(tmp_path / "a.ply").features, colours)


PCD_HEADER = """# .PCD v.7 - Point Cloud Data file format
VERSION .7
FIELDS x y z {}
SIZE 4 4 4 {}
TYPE F F F {}
COUNT 1 1 1 {}
WIDTH 2
HEIGHT 1
VIEWPOINT 0 0 0 1 0 0 0
POINTS 2
DATA {}
"""
FIELDS = ("intensity label", "4 2", "F U", "1 1")


def literal_lzf(data: bytes) -> bytes:
    """LZF without any match: runs of up to 32 bytes, each after its length less one."""
    runs = [data[first : first + 32] for first in range(0, len(data), 32)]
    return b"".join(bytes([len(run) - 1]) + run for run in runs)


@pytest.mark.parametrize("encoding", ["ascii", "binary", "binary_compressed"])
def test_a_pcd_is_its_header_and_rows_or_compressed_columns(tmp_path, encoding):
    bodies = {
        "ascii": b"1.5 -2 .25 .5 40\n3 4 -5 1 252\n",
        "binary": struct.pack("<4fH4fH", *ROWS[0], 40, *ROWS[1], 252),
    }
    columns = [value for column in zip(*ROWS, strict=True) for value in column]
    raw = struct.pack("<8f2H", *columns, 40, 252)
    packed = literal_lzf(raw)
    bodies["binary_compressed"] = struct.pack("<2I", len(packed), len(raw)) + packed
    header = PCD_HEADER.format(*FIELDS, encoding).encode()
    (tmp_path / "a.pcd").write_bytes(header + bodies[encoding])
    cloud = io.read(tmp_path / "a.pcd")
    assert positions_and_intensity(cloud) == ROWS
    assert cloud.labels.tolist() == [40, 252]


def test_a_written_binary_pcd_ends_in_packed_rows(tmp_path):
    io.write(tmp_path / "a.pcd", CLOUD)
    header, body = (tmp_path / "a.pcd").read_bytes().split(b"DATA binary\n")
    assert body == struct.pack("<4f2i4f2i", *ROWS[0], 40, 0, *ROWS[1], 252, 7)
    assert b"FIELDS x y z intensity label instance\n" in header


@pytest.mark.parametrize("kind", ["F", "U"])
def test_packed_colours_of_a_pcd_are_three_features_and_padding_is_none(tmp_path, kind):
    header = PCD_HEADER.format("rgb _", "4 1", f"{kind} U", "1 3", "binary").encode()
    rows = [struct.pack("<3fI3B", 0, 0, 0, colour, 9, 9, 9) for colour in (0x00FF8001, 0x7F000000)]
    (tmp_path / "a.pcd").write_bytes(header + b"".join(rows))
    cloud = io.read(tmp_path / "a.pcd")
    assert cloud.names == ("red", "green", "blue")
    assert cloud.features.tolist() == [[255, 128, 1], [0, 0, 0]]


def las_header(points: int, kind: int, step: int) -> bytes:
    header = struct.pack("<4sHH16sBB32s32sHH", b"LASF", 0, 0, b"", 1, 2, b"", b"", 1, 2024)
    header += struct.pack("<HIIBHI5I", 227, 227, 0, kind, step, points, *[0] * 5)
    header += struct.pack("<3d3d6d", 0.01, 0.01, 0.5, 1000, 2000, 0, *[0] * 6)
    assert len(header) == 227
    return header


def test_a_las_is_whole_steps_of_its_scale(tmp_path):
    # x, y, z, intensity, return 2 of 3, class 6, scan angle, user data, source
    point = struct.pack("<3iH4BH", 150, -250, 3, 60000, 2 | 3 << 3, 6, 0, 0, 0)
    (tmp_path / "a.las").write_bytes(las_header(1, 0, 20) + point)
    cloud = io.read(tmp_path / "a.las", labels=True)
    assert cloud.positions.tolist() == [[1001.5, 1997.5, 1.5]]
    assert cloud.names == ("intensity", "return_number", "number_of_returns")
    assert cloud.features.tolist() == [[60000, 2, 3]]
    assert cloud.labels.tolist() == [6]


def test_a_written_las_is_version_1_4_with_classes_and_whole_intensity_in_place(tmp_path):
    cloud = PointCloud(
        torch.tensor([[1.5, -2.0, 0.25]]),
        torch.tensor([[300.0, 0.125]]),
        ("intensity", "echo width"),
        labels=torch.tensor([5]),
    )
    io.write(tmp_path / "a.las", cloud, scale=0.25)
    data = (tmp_path / "a.las").read_bytes()
    assert (data[:4], data[24], data[25], data[104]) == (b"LASF", 1, 4, 6)
    offset = struct.unpack_from("<I", data, 96)[0]
    scales_offsets = struct.unpack_from("<6d", data, 131)
    assert scales_offsets == (0.25, 0.25, 0.25, 1, -2, 0)
    x, y, z, intensity = struct.unpack_from("<3iH", data, offset)
    assert (x, y, z, intensity, data[offset + 16]) == (2, 0, 1, 300, 5)
    # the 30 bytes of point format 6, then the extra dimension
    assert data[offset + 30 :] == struct.pack("<f", 0.125)
    assert b"echo width" in data[375:offset]
