"""A file appears whole or not at all."""

import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from gossamer import io
from gossamer.io.atomic import written_beside
from gossamer.point_cloud import PointCloud

CLOUD = PointCloud(torch.rand(5, 3), torch.rand(5, 1), ("intensity",))


def everything_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


def test_the_file_is_there_when_the_block_has_ended_and_not_before(tmp_path):
    path = tmp_path / "new" / "folder" / "a.txt"
    with written_beside(path) as unfinished:
        unfinished.write_text("whole")
        assert not path.exists()
        assert unfinished.name == path.name
        assert list(path.parent.glob("*.txt")) == []
    assert path.read_text() == "whole"
    assert everything_in(path.parent) == ["a.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_after_an_error_the_older_file_is_as_it_was_and_nothing_else_is_left(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error), written_beside(path) as unfinished:
        unfinished.write_text("half of the ne")
        raise error
    assert path.read_text() == "old"
    assert everything_in(tmp_path) == ["a.txt"]


def test_a_new_file_has_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "plain").touch()
    with written_beside(tmp_path / "ours") as unfinished:
        unfinished.touch()
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "ours")]
    assert modes[0] == modes[1]


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot write .*file/deep/a\.npz: .*choose another path"):
        io.write(tmp_path / "file" / "deep" / "a.npz", CLOUD)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_a_clear_error(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match=r"cannot write .*a\.npz: .*choose another path"):
        io.write(tmp_path / "a.npz", CLOUD)


def test_a_folder_that_refuses_new_files_is_a_clear_error():
    # nobody, not even root, makes files in /proc
    if not Path("/proc/self").exists():
        pytest.skip("no /proc here")
    with pytest.raises(OSError, match=r"cannot write /proc/self/a\.npz: .*choose another path"):
        io.write("/proc/self/a.npz", CLOUD)


def test_a_folder_in_the_place_of_the_file_is_a_clear_error(tmp_path):
    (tmp_path / "a.npz").mkdir()
    with pytest.raises(FileExistsError, match="no regular file; choose another path"):
        io.write(tmp_path / "a.npz", CLOUD)


@pytest.mark.parametrize("name", ["a.bin", "a.npz", "a.ply", "a.pcd", "a.las", "a.laz"])
def test_a_format_that_fails_while_writing_leaves_the_older_file(tmp_path, name, monkeypatch):
    path = tmp_path / name
    io.write(path, CLOUD)
    before = path.read_bytes()

    def broken(source, target):
        assert Path(source).stat().st_size
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(OSError, match="the disk is full"):
        io.write(path, CLOUD[:2])
    assert path.read_bytes() == before
    assert everything_in(tmp_path) == [name]


def test_a_scan_and_its_labels_are_both_refused_when_the_labels_do_not_fit(tmp_path):
    with pytest.raises(ValueError, match=r"labels spans -1 to -1; a \.label file holds"):
        io.write(
            tmp_path / "a.bin",
            PointCloud(CLOUD.positions, CLOUD.features, CLOUD.names, labels=torch.full((5,), -1)),
        )
    assert everything_in(tmp_path) == []


def test_a_reader_never_sees_a_mixture_of_two_writers(tmp_path):
    path = tmp_path / "a.ply"
    clouds = [PointCloud(torch.full((5_000, 3), value)) for value in (1.0, 2.0)]
    io.write(path, clouds[0])
    stop = threading.Event()

    def write_until_stopped(cloud: PointCloud) -> None:
        while not stop.is_set():
            io.write(path, cloud)

    with ThreadPoolExecutor() as pool:
        writers = [pool.submit(write_until_stopped, cloud) for cloud in clouds]
        seen = [io.read(path).positions for _ in range(100)]
        stop.set()
    assert [writer.result() for writer in writers] == [None, None]
    assert all((positions == positions[0, 0]).all() for positions in seen)
    assert {len(positions) for positions in seen} == {5_000}
    assert everything_in(tmp_path) == ["a.ply"]
