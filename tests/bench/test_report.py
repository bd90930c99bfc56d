"""Results as table, file and picture: the figures that were found, and no others."""

import json
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from gossamer.bench.plot import check_plot, save_plot
from gossamer.bench.report import check_writable, show, write_json
from gossamer.bench.results import Results, Row

ROW = Row(
    case="forward",
    kind="submanifold",
    channels=32,
    threads=1,
    order="sorted",
    voxels=1234,
    pairs=5678,
    ours_ms=2.0,
    peer="spconv 2.3.8, 1 thread",
    peer_ms=7.0,
    ratio=3.5,
    gflops=90.0,
    sgemm_gflops=120.0,
    share=0.75,
    ours_min_ms=1.5,
    peer_min_ms=6.5,
)
MACHINE = {"cpu": "a processor", "cores": 2, "scan": "scan.npz", "voxel_size_m": [0.1, 0.1, 0.2]}
RESULTS = Results(
    {**MACHINE, "rounds": 9},
    [
        ROW,
        replace(ROW, peer="torch gather-mm, 1 thread", peer_ms=50.0, ratio=25.0),
        replace(ROW, threads=2),
        replace(ROW, threads=2, peer="spconv 2.3.8, 2 threads (wrong results)", peer_ms=6.0),
        replace(ROW, threads=2, peer="torch gather-mm, 2 threads", peer_ms=40.0, ratio=20.0),
        replace(ROW, channels=64, order="shuffled"),
        replace(ROW, case="rulebook", channels=0, gflops=None, share=None),
        replace(*(ROW,), case="network step", kind="minkunet", peer=None, peer_ms=None, ratio=None),
    ],
    ["something is left out"],
)


def shown(results: Results, width: int = 100) -> str:
    out = StringIO()
    show(Console(file=out, width=width), results)
    return out.getvalue()


def test_the_table_shows_every_figure_and_note():
    told = shown(RESULTS)
    for word in ("1234 voxels", "2.00", "7.00", "3.5x", "50.0", "25.0x", "75%", "left out"):
        assert word in told
    for word in ("a processor", "scan.npz at 0.1 x 0.1 x 0.2 m", "9 rounds", "wrong"):
        assert word in told


def test_the_table_has_a_line_for_gossamer_at_each_thread_count():
    lines = [line.split() for line in shown(RESULTS).splitlines() if " sorted " in line]
    assert [line[:4] for line in lines[:2]] == [
        ["32", "sorted", "1", "2.00"],
        ["32", "sorted", "2", "2.00"],
    ]
    assert lines[0][-4:] == ["7.00", "3.5x", "50.0", "25.0x"]
    assert lines[1][-6:] == ["7.00", "3.5x", "6.00", "3.5x", "40.0", "20.0x"]


def test_the_table_fits_a_terminal_of_eighty_columns():
    assert max(map(len, shown(RESULTS, width=80).splitlines())) <= 80
    assert "…" not in shown(RESULTS, width=80)


def test_the_file_is_what_the_results_say(tmp_path):
    path = tmp_path / "folder" / "results.json"
    write_json(path, RESULTS)
    told = json.loads(path.read_text())
    assert told["machine"] == {**RESULTS.machine, "left_out": ["something is left out"]}
    assert [Row(**row) for row in told["rows"]] == RESULTS.rows


@pytest.mark.parametrize("rows", [RESULTS.rows, RESULTS.rows[:1], RESULTS.rows[-1:], []])
def test_a_picture_is_drawn_of_whatever_was_measured(rows, tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "results.png"
    save_plot(path, replace(RESULTS, rows=rows))
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_picture_needs_a_name_that_says_so(tmp_path):
    with pytest.raises(ValueError, match=r"wanted a file called \.png"):
        check_plot(tmp_path / "results.pdf")


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    check_writable(tmp_path / "new" / "results.json")
    (tmp_path / "file").touch()
    check_writable(tmp_path / "file")
    for path in (tmp_path, tmp_path / "file" / "results.json"):
        with pytest.raises(OSError, match="cannot write"):
            check_writable(path)
