"""What the libraries of others write, in a process of their own, we read."""

import subprocess
import sys

import pytest
import torch

from gossamer import io

WRITERS = {
    "plyfile": """
import numpy as np, plyfile
rows = [(0.5, 1, 2, 7, 3), (4, 5, 6, 8, 1)]
kinds = [("x", "f8"), ("y", "f8"), ("z", "f8"), ("scalar_intensity", "f4"), ("class", "u1")]
element = plyfile.PlyElement.describe(np.array(rows, kinds), "vertex")
plyfile.PlyData([element], text=TEXT).write(PATH)
""",
    "pypcd4": """
import numpy as np, pypcd4
rows = [np.array(c) for c in ([0.5, 4], [1., 5], [2., 6], [7., 8], [3, 1])]
kinds = [np.float64] * 3 + [np.float32, np.uint8]
cloud = pypcd4.PointCloud.from_points(rows, ("x", "y", "z", "scalar_intensity", "class"), kinds)
cloud.save(PATH, encoding=pypcd4.Encoding(ENCODING))
""",
    "laspy": """
import numpy as np, laspy
header = laspy.LasHeader(version=VERSION, point_format=KIND)
header.scales = [0.5] * 3
las = laspy.LasData(header)
las.xyz = np.array([[0.5, 1, 2], [4, 5, 6]])
las.classification = [3, 1]
las.gps_time = [1.0, 2.0]
las.add_extra_dim(laspy.ExtraBytesParams("scalar_intensity", "f8"))
las.scalar_intensity = [7, 8]
las.write(PATH)
""",
}
CASES = [
    ("plyfile", "a.ply", {"TEXT": True}),
    ("plyfile", "a.ply", {"TEXT": False}),
    ("pypcd4", "a.pcd", {"ENCODING": "ascii"}),
    ("pypcd4", "a.pcd", {"ENCODING": "binary"}),
    ("pypcd4", "a.pcd", {"ENCODING": "binary_compressed"}),
    ("laspy", "a.las", {"VERSION": "1.2", "KIND": 1}),
    ("laspy", "a.las", {"VERSION": "1.4", "KIND": 7}),
    ("laspy", "a.laz", {"VERSION": "1.2", "KIND": 3}),
    ("laspy", "a.laz", {"VERSION": "1.4", "KIND": 6}),
    ("laspy", "a.laz", {"VERSION": "1.4", "KIND": 8}),
]


@pytest.mark.parametrize(("library", "name", "settings"), CASES)
def test_a_file_of_another_library_is_read(tmp_path, library, name, settings):
    pytest.importorskip(library)
    values = {"PATH": str(tmp_path / name), **settings}
    lines = [f"{word} = {value!r}" for word, value in values.items()]
    program = "\n".join([*lines, WRITERS[library]])
    subprocess.run([sys.executable, "-c", program], check=True)
    cloud = io.read(tmp_path / name, labels=True)
    wanted = torch.tensor([[0.5, 1, 2], [4, 5, 6]], dtype=torch.float64)
    assert torch.equal(cloud.positions, wanted)
    assert cloud.names == ("scalar_intensity",)
    assert cloud.features.tolist() == [[7], [8]]
    assert cloud.labels.tolist() == [3, 1]


@pytest.mark.parametrize("points", [1, 50_000, 50_001, 120_000])
@pytest.mark.parametrize("kind", range(11))
def test_a_laz_of_any_point_format_and_number_of_chunks_is_read(tmp_path, kind, points):
    laspy = pytest.importorskip("laspy")
    las = laspy.create(file_version="1.4", point_format=kind)
    las.add_extra_dims([laspy.ExtraBytesParams("echo", "u2"), laspy.ExtraBytesParams("n", "3u1")])
    las.x = torch.rand(points).numpy()
    las.echo = torch.arange(points).numpy() % 1000
    las.n = (torch.arange(3 * points) % 251).reshape(points, 3).numpy()
    las.write(str(tmp_path / "a.laz"))
    cloud = io.read(tmp_path / "a.laz")
    assert cloud.names == ("echo", "n_0", "n_1", "n_2")
    assert (cloud.positions[:, 0].numpy() == las.x).all()
    assert (cloud.feature("n_2").numpy() == las.n[:, 2]).all()


def test_the_extra_dimension_label_of_a_las_goes_before_its_classification(tmp_path):
    laspy = pytest.importorskip("laspy")
    las = laspy.create(file_version="1.4", point_format=6)
    las.add_extra_dim(laspy.ExtraBytesParams("label", "i4"))
    las.x = [1, 2]
    las.classification, las.label = [2, 6], [-1, 259]
    las.write(str(tmp_path / "a.las"))
    assert io.read(tmp_path / "a.las").labels.tolist() == [-1, 259]
