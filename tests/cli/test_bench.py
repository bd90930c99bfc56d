"""`gossamer bench cpu`: its options, its mistakes, and one small run from end to end."""

import json
import os
import subprocess
import sys

import pytest

from gossamer.bench.plan import Plan
from gossamer.cli import bench, main
from tests.bench.clouds import scan_file


def told_by(capsys, *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(("bench", *words))
    told = capsys.readouterr()
    return int(left.value.code or 0), told.out, told.err


@pytest.fixture
def plans(monkeypatch) -> list[Plan]:
    """The plans that were asked for, none of them run."""
    asked: list[Plan] = []

    def note(plan: Plan, report):
        asked.append(plan)
        raise ValueError("only asked")

    monkeypatch.setattr(bench, "measure", note)
    return asked


def test_without_more_words_it_says_what_can_be_measured(capsys):
    _, out, err = told_by(capsys)
    assert "cpu" in out + err


def test_an_option_takes_several_values_with_spaces_between(capsys, plans, tmp_path):
    scan = scan_file(tmp_path)
    words = "cpu --channels 16 4 --voxel-size 0.1 0.2 0.3 --threads 1 --cases rulebook forward"
    told_by(capsys, *words.split(), "--scan", str(scan), "--rounds", "8")
    assert plans == [Plan(scan, (0.1, 0.2, 0.3), (16, 4), (1,), ("rulebook", "forward"), rounds=8)]


def test_an_option_given_several_times_means_the_same(capsys, plans):
    told_by(capsys, *"cpu --channels 16 --channels 4 5 --threads 1".split())
    assert plans[0].channels == (16, 4, 5)


def test_without_options_the_defaults_are_those_of_a_plan(capsys, plans):
    told_by(capsys, "cpu")
    assert plans == [Plan()]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--channels 0", "channels is (0,); wanted 1 or more"),
        ("--channels many", "Invalid value for '--channels'"),
        ("--channels 16 -3", "channels is (16, -3); wanted 1 or more"),
        ("--threads 100000", "threads is (100000,); this process may use"),
        ("--rounds 2", "rounds is 2; wanted 7 or more"),
        ("--cases everything", "cases is 'everything'; wanted one of"),
        ("--voxel-size 0 1 1", "voxel_size is (0.0, 1.0, 1.0); wanted three lengths"),
        ("--voxel-size 1 1 --rounds 7", "--voxel-size"),
        ("--scan nowhere.npz", "scan is nowhere.npz, and there is no such file"),
        ("--plot picture.jpg", "plot is picture.jpg; wanted a file called .png"),
        ("--json .", "cannot write ."),
        ("--speed", "--speed"),
    ],
)
def test_a_mistake_is_told_before_anything_runs(words, message, capsys, plans):
    code, _, err = told_by(capsys, "cpu", *words.split())
    assert code == 2 and message in err.replace("\n", " ")
    assert not plans


def test_a_small_run_from_the_command_to_its_files(tmp_path):
    pytest.importorskip("matplotlib")
    scan, results, plot = scan_file(tmp_path), tmp_path / "results.json", tmp_path / "results.png"
    words = "--voxel-size 0.5 0.5 0.5 --channels 3 8 --threads 1 --cases rulebook forward".split()
    line = [sys.executable, "-m", "gossamer", "bench", "cpu", "--rounds", "7"]
    done = subprocess.run(
        [*line, "--scan", str(scan), *words, "--json", str(results), "--plot", str(plot)],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "120"},
    )
    assert done.returncode == 0, done.stderr
    assert "forward, submanifold" in done.stdout and "torch" in done.stdout
    told = json.loads(results.read_text())
    assert {row["case"] for row in told["rows"]} == {"rulebook", "forward"}
    assert {row["channels"] for row in told["rows"]} == {0, 3, 8}
    assert told["machine"]["scan"] == "room.npz"
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_a_file_that_is_no_scan_is_told(capsys, tmp_path):
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"nothing of the kind")
    code, _, err = told_by(capsys, "cpu", "--scan", str(broken), "--threads", "1")
    assert code == 2 and "broken.npz" in err and "Traceback" not in err
