"""Every bad file or cloud is an error that says what came, what was wanted, and the way out."""

import importlib
import struct
import sys
import warnings

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gossamer import io
from gossamer.errors import FormatError
from gossamer.io.third_party import parsing
from gossamer.point_cloud import PointCloud
from tests.io.test_layout import las_header

CLOUD = PointCloud(
    torch.rand(40, 3),
    torch.rand(40, 1),
    ("intensity",),
    labels=torch.arange(40),
)
PLAIN = PointCloud(CLOUD.positions, CLOUD.features, CLOUD.names)
FILES = [
    ("a.npz", {}),
    ("a.ply", {}),
    ("a.ply", {"encoding": "ascii"}),
    ("a.pcd", {}),
    ("a.pcd", {"encoding": "ascii"}),
    ("a.pcd", {"encoding": "binary_compressed"}),
    ("a.las", {}),
    ("a.laz", {}),
]
NAMES = ["a.bin", "a.pcd.bin", "a.npz", "a.ply", "a.pcd", "a.las", "a.laz"]


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file_is_named(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=f"no file .*{name}"):
        io.read(tmp_path / name)


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_is_no_file(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(FileNotFoundError, match="it is a folder"):
        io.read(tmp_path / name)


@pytest.mark.parametrize("name", NAMES[2:])
def test_an_empty_file_is_refused(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(FormatError, match=rf"{name} \(0 bytes\) is no sound .* truncated"):
        io.read(tmp_path / name)


@pytest.mark.parametrize("name", NAMES[:2])
def test_an_empty_bin_is_a_scan_without_points(tmp_path, name):
    (tmp_path / name).touch()
    assert io.read(tmp_path / name).positions.shape == (0, 3)


@pytest.mark.parametrize("call", [io.read, lambda path: io.write(path, CLOUD)])
@pytest.mark.parametrize("name", ["a.xyz", "a", "a.label"])
def test_an_unknown_suffix_lists_the_known_ones(tmp_path, call, name):
    (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"wanted one of \.bin, \.npz, \.ply, \.pcd, \.las, \.laz"):
        call(tmp_path / name)


def test_an_option_the_format_does_not_take_is_named(tmp_path):
    io.write(tmp_path / "a.npz", CLOUD)
    with pytest.raises(TypeError, match=r"a\.npz is given the options columns; .* takes none here"):
        io.read(tmp_path / "a.npz", columns=4)
    with pytest.raises(TypeError, match=r"options scale; its format takes encoding here"):
        io.write(tmp_path / "a.ply", CLOUD, scale=0.1)


@pytest.mark.parametrize(
    ("name", "size", "multiple"),
    [("a.bin", 15, 16), ("a.bin", 17, 16), ("a.bin", 36, 16), ("a.pcd.bin", 16, 20)],
)
def test_a_truncated_bin_is_refused(tmp_path, name, size, multiple):
    (tmp_path / name).write_bytes(bytes(size))
    with pytest.raises(FormatError, match=f"{size} bytes; wanted a multiple of {multiple},"):
        io.read(tmp_path / name)


def test_a_truncated_kitti_scan_that_fits_five_columns_is_still_refused(tmp_path):
    np.linspace(0.1, 0.9, 45, dtype="<f4").tofile(tmp_path / "a.bin")
    with pytest.raises(FormatError, match="180 bytes; wanted a multiple of 16"):
        io.read(tmp_path / "a.bin")


def test_columns_nobody_knows_are_refused(tmp_path):
    io.write(tmp_path / "a.bin", PLAIN)
    with pytest.raises(ValueError, match="columns is 7; wanted one of 3, 4, 5, or the names"):
        io.read(tmp_path / "a.bin", columns=7)


@pytest.mark.parametrize("name", ["a.bin", "a.npz", "a.ply"])
def test_labels_of_another_length_are_refused(tmp_path, name):
    io.write(tmp_path / name, PLAIN)
    (tmp_path / "other.label").write_bytes(bytes(4 * 39))
    with pytest.raises(FormatError, match=r"other\.label has 39 labels and its scan 40 points"):
        io.read(tmp_path / name, labels=tmp_path / "other.label")


def test_a_label_file_of_another_length_beside_a_bin_is_refused(tmp_path):
    io.write(tmp_path / "a.bin", CLOUD)
    (tmp_path / "a.label").write_bytes(bytes(4 * 41))
    with pytest.raises(FormatError, match=r"a\.label has 41 labels and its scan 40 points"):
        io.read(tmp_path / "a.bin")
    assert io.read(tmp_path / "a.bin", labels=False).labels is None


def test_a_truncated_label_file_is_refused(tmp_path):
    (tmp_path / "a.label").write_bytes(bytes(7))
    with pytest.raises(FormatError, match="7 bytes; wanted 4 a point"):
        io.read_labels(tmp_path / "a.label")
    with pytest.raises(FileNotFoundError, match=r"no label file .*b\.label"):
        io.read_labels(tmp_path / "b.label")


@pytest.mark.parametrize("name", NAMES[2:])
def test_a_file_without_labels_is_refused_when_they_are_wanted(tmp_path, name):
    io.write(tmp_path / name, PLAIN)
    assert io.read(tmp_path / name).labels is None
    with pytest.raises(FormatError, match="40 points without classes; wanted labels"):
        io.read(tmp_path / name, labels=True)


def test_a_bin_without_a_label_file_is_refused_when_labels_are_wanted(tmp_path):
    io.write(tmp_path / "a.bin", PLAIN)
    with pytest.raises(FileNotFoundError, match=r"no label file .*a\.label"):
        io.read(tmp_path / "a.bin", labels=True)


def read_or_refuse(path) -> None:
    """Read a damaged file; only a FormatError that names it may come out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            io.read(path)
        except FormatError as error:
            assert path.name in str(error)


class PanicException(BaseException):
    """What Rust libraries raise, which is no Exception."""


@pytest.mark.parametrize(
    ("raised", "seen"),
    [
        (PanicException("capacity overflow"), FormatError),
        (MemoryError("claims 3 TiB"), FormatError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (PermissionError("not yours"), PermissionError),
    ],
)
def test_whatever_a_library_raises_about_a_file_names_it_but_no_interruption(
    tmp_path, raised, seen
):
    (tmp_path / "a.las").touch()
    with pytest.raises(seen) as caught, parsing(tmp_path / "a.las", "LAS"):
        raise raised
    assert seen is not FormatError or f"a.las (0 bytes) is no sound LAS file: {raised}" in str(
        caught.value
    )


slow_is_fine = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.mark.parametrize(("name", "options"), FILES)
@slow_is_fine
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_anywhere_is_refused_or_read(tmp_path, name, options, share):
    path = tmp_path / name
    io.write(path, CLOUD, **options)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    read_or_refuse(path)


@pytest.mark.parametrize(("name", "options"), [f for f in FILES if "ascii" not in f[1].values()])
def test_a_binary_file_cut_in_its_points_is_refused(tmp_path, name, options):
    path = tmp_path / name
    io.write(path, CLOUD, **options)
    data = path.read_bytes()
    for share in (0.1, 0.5, 0.8):
        path.write_bytes(data[: int(share * len(data))])
        with pytest.raises(FormatError, match=f"{name}.*truncated"):
            io.read(path)


@pytest.mark.parametrize(("name", "options"), FILES)
@slow_is_fine
@given(data=st.data())
def test_a_file_with_wrong_bytes_is_refused_or_read(tmp_path, name, options, data):
    path = tmp_path / name
    io.write(path, CLOUD, **options)
    content = bytearray(path.read_bytes())
    # headers hold the counts that a reader could believe, so most damage is done there
    end = data.draw(st.sampled_from([400, 1200, len(content)]))
    place = st.integers(0, min(end, len(content)) - 1)
    for at, byte in data.draw(st.dictionaries(place, st.integers(0, 255), min_size=1)).items():
        content[at] = byte
    path.write_bytes(content)
    read_or_refuse(path)


@pytest.mark.parametrize("name", NAMES[2:])
@slow_is_fine
@given(garbage=st.binary(max_size=500), sound=st.integers(0, 80))
def test_garbage_is_refused(tmp_path, name, garbage, sound):
    path = tmp_path / name
    io.write(path, CLOUD)
    path.write_bytes(path.read_bytes()[:sound] + garbage)
    read_or_refuse(path)


@pytest.mark.parametrize(
    ("place", "layout", "value"),
    [
        ("chunk table", "<I", 2**32 - 1),
        ("first layer", "<I", 2**32 - 1),
        ("table offset", "<q", 2**62),
        ("table offset", "<q", -7),
    ],
)
def test_a_laz_that_claims_too_much_memory_is_refused_before_it_is_allocated(
    tmp_path, place, layout, value
):
    path = tmp_path / "a.laz"
    io.write(path, CLOUD)
    data = bytearray(path.read_bytes())
    offset, step = struct.unpack_from("<I", data, 96)[0], struct.unpack_from("<H", data, 105)[0]
    (table,) = struct.unpack_from("<q", data, offset)
    at = {"chunk table": table + 4, "first layer": offset + 8 + step + 4, "table offset": offset}
    struct.pack_into(layout, data, at[place], value)
    path.write_bytes(data)
    with pytest.raises(FormatError, match=r"chunk|points to byte"):
        io.read(path)


@pytest.mark.parametrize(("count", "place"), [(2**32 - 1, 100), (2**32 - 1, 107)])
def test_a_las_that_claims_billions_of_records_is_refused_at_once(tmp_path, count, place):
    data = bytearray(las_header(1, 0, 20) + bytes(20))
    struct.pack_into("<I", data, place, count)
    (tmp_path / "a.las").write_bytes(data)
    with pytest.raises(FormatError, match=f"{count} records|1 of its {count} points"):
        io.read(tmp_path / "a.las")


@pytest.mark.parametrize("content", ["x y", "positions"])
def test_a_table_without_positions_is_refused(tmp_path, content):
    if content == "positions":
        np.savez(tmp_path / "a.npz", positions=np.zeros((4, 2)), features=np.zeros((4, 0)))
        path, words = tmp_path / "a.npz", r"\(4, 2\); wanted \[P, 3\]"
    else:
        path, words = tmp_path / "a.ply", "no z among its columns x, y"
        path.write_text(
            "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\n"
            "end_header\n0 0\n"
        )
    with pytest.raises(FormatError, match=words):
        io.read(path)


def test_an_npz_of_something_else_says_what_it_holds(tmp_path):
    np.savez(tmp_path / "a.npz", image=np.zeros((4, 4)))
    with pytest.raises(FormatError, match="it holds image; wanted xyz, xyz_mm"):
        io.read(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", xyz=np.array([object()]))
    with pytest.raises(FormatError, match="pickle"):
        io.read(tmp_path / "b.npz")


def test_a_label_column_of_fractions_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", xyz=np.zeros((2, 3)), label=np.array([0.5, np.nan]))
    with pytest.raises(FormatError, match="column label holds fractions or NaN"):
        io.read(tmp_path / "a.npz")


@pytest.mark.parametrize("name", ["a.bin", "a.npz", "a.ply", "a.pcd"])
def test_points_that_are_nan_are_kept(tmp_path, name):
    positions = torch.tensor([[0.0, 1, 2], [float("nan")] * 3, [1, float("inf"), 0]])
    io.write(tmp_path / name, PointCloud(positions, torch.zeros(3, 1), ("intensity",)))
    cloud = io.read(tmp_path / name)
    assert len(cloud) == 3
    assert cloud.finite().positions.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("name", ["a.las", "a.laz"])
def test_las_refuses_what_it_cannot_hold(tmp_path, name):
    def refused(words: str, cloud: PointCloud, **options) -> None:
        with pytest.raises(ValueError, match=words):
            io.write(tmp_path / name, cloud, **options)
        assert not list(tmp_path.iterdir())

    refused("NaN or infinity, which LAS cannot", PointCloud(torch.tensor([[0, 0, float("nan")]])))
    far = PointCloud(torch.tensor([[0.0, 0, 0], [1e6, 0, 0]]))
    refused(r"scale is 0\.0001 m and positions span \[1000000", far)
    for scale in (0, -1, float("nan"), float("inf")):
        refused("LAS holds 2147483647 steps of scale; pass a larger scale=", CLOUD, scale=scale)
    for feature in ("", "a name of more than thirty-one bytes", "größe", "x", "label"):
        cloud = PointCloud(torch.zeros(1, 3), torch.zeros(1, 1), (feature,))
        refused("which this format cannot hold, or would read back", cloud)


@pytest.mark.parametrize("name", ["a.ply", "a.pcd"])
@pytest.mark.parametrize("feature", ["", "two words", "größe", "z", "class", "scalar_Label"])
def test_a_name_that_would_not_come_back_is_refused(tmp_path, name, feature):
    cloud = PointCloud(torch.zeros(1, 3), torch.zeros(1, 1), (feature,))
    with pytest.raises(ValueError, match=f"a feature is called '{feature}'.*or write .npz"):
        io.write(tmp_path / name, cloud)


@pytest.mark.parametrize("feature", ["rgb", "_"])
def test_a_pcd_refuses_the_names_it_gives_a_meaning(tmp_path, feature):
    cloud = PointCloud(torch.zeros(1, 3), torch.zeros(1, 1), (feature,))
    with pytest.raises(ValueError, match=f"a feature is called '{feature}'"):
        io.write(tmp_path / "a.pcd", cloud)


@pytest.mark.parametrize("name", ["a.ply", "a.pcd", "a.las"])
def test_an_integer_beyond_32_bits_is_refused(tmp_path, name):
    cloud = PointCloud(torch.zeros(1, 3), instances=torch.tensor([2**31]))
    with pytest.raises(ValueError, match="instances spans 2147483648 to 2147483648"):
        io.write(tmp_path / name, cloud)


@pytest.mark.parametrize("name", ["a.ply", "a.pcd"])
def test_an_unknown_encoding_lists_the_known_ones(tmp_path, name):
    with pytest.raises(ValueError, match="encoding is 'morse'; wanted one of 'binary', 'ascii'"):
        io.write(tmp_path / name, CLOUD, encoding="morse")


def test_a_bin_refuses_what_it_would_lose(tmp_path):
    path = tmp_path / "a.bin"
    bare = PointCloud(CLOUD.positions)
    with pytest.raises(ValueError, match=r"features are \(\); a.bin wants \('intensity',\)"):
        io.write(path, bare)
    with pytest.raises(ValueError, match="no feature 'ring'; this cloud has intensity"):
        io.write(path, PLAIN, columns=5)
    several = PointCloud(CLOUD.positions, batch=torch.arange(40) // 20)
    with pytest.raises(ValueError, match=r"batch tells 2 scans apart; a \.bin holds one"):
        io.write(path, several, columns=3)
    with pytest.raises(ValueError, match="labels is None, but there are instances"):
        io.write(path, PointCloud(CLOUD.positions, instances=torch.arange(40)), columns=3)
    io.write(path, CLOUD)
    with pytest.raises(ValueError, match=r"labels of another cloud in .*a\.label"):
        io.write(path, PLAIN)


def test_labels_that_are_none_or_too_large_make_no_label_file(tmp_path):
    with pytest.raises(ValueError, match=r"labels is None; a \.label file needs"):
        io.write_labels(tmp_path / "a.label", PLAIN)
    large = PointCloud(torch.zeros(1, 3), labels=torch.tensor([65536]))
    with pytest.raises(ValueError, match="labels spans 65536 to 65536"):
        io.write_labels(tmp_path / "a.label", large)
    assert not list(tmp_path.iterdir())


def test_what_is_no_cloud_is_refused(tmp_path):
    with pytest.raises(TypeError, match="cloud is a ndarray; wanted a PointCloud"):
        io.write(tmp_path / "a.npz", np.zeros((4, 3)))


@pytest.mark.parametrize(
    ("name", "package"),
    [("a.ply", "plyfile"), ("a.pcd", "pypcd4"), ("a.las", "laspy"), ("a.laz", "lazrs")],
)
def test_a_missing_package_says_how_to_get_it(tmp_path, monkeypatch, name, package):
    importlib.import_module("laspy")
    io.write(tmp_path / name, CLOUD)
    monkeypatch.setitem(sys.modules, package, None)
    for call in (io.read, lambda path: io.write(path, CLOUD)):
        with pytest.raises(ImportError, match=rf"{package}.*pip install gossamer\[io\]"):
            call(tmp_path / name)
