"""`gossamer explain` as it is typed, and the mistakes one makes in typing it."""

import numpy as np
import pytest

import gossamer.cli as cli
from gossamer.explain import figures_of
from gossamer.io import read
from tests.real_data import real_scan

REGISTERED = "explain" in cli.VERBS


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    monkeypatch.setitem(cli.VERBS, "explain", ("Show a sparse convolution.", "gossamer explain"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("FORCE_COLOR", raising=False)


@pytest.fixture
def scan(tmp_path):
    """A `.bin` of 300 points in a box of 4 metres, two of them NaN."""
    rows = np.random.default_rng(0).random((300, 4), dtype=np.float32) * 4
    rows[[5, 9], 0] = np.nan
    rows.tofile(tmp_path / "scan.bin")
    return tmp_path / "scan.bin"


def leave(*words: object) -> int | str | None:
    with pytest.raises(SystemExit) as left:
        cli.main(["explain", *map(str, words)])
    return left.value.code


def told(capsys, *words: object) -> str:
    assert leave(*words) == 0
    return capsys.readouterr().out


def flowing(text: str) -> str:
    """The words of a framed text, wherever its lines break."""
    return " ".join(text.replace("│", "").split())


def mistake(capsys, *words: object) -> str:
    assert leave(*words) == 2
    seen = capsys.readouterr()
    assert not seen.out and seen.err.startswith("error: ")
    return seen.err


def test_the_verb_is_one_of_the_commands():
    assert REGISTERED


def test_alone_it_shows_both_kinds(capsys):
    text = told(capsys)
    assert "12 atomic operations" in text and "4 atomic operations" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("kind", "other"), [("regular", "submanifold"), ("submanifold", "regular")]
)
def test_a_kind_shows_that_kind_alone(capsys, kind, other):
    text = told(capsys, "--kind", kind)
    assert f"A {kind} convolution" in text and f"A {other} convolution" not in text


def test_a_page_is_written_where_it_was_asked_for(capsys, tmp_path):
    path = tmp_path / "new" / "explain.html"
    assert str(path) in told(capsys, "--page", path).replace("\n", "")
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_a_scan_is_told_in_the_figures_of_its_rulebooks(capsys, scan):
    text = told(capsys, scan, "--voxel-size", "0.5")
    figures = figures_of(read(scan), 0.5)
    assert "(2 without a finite position left out)" in flowing(text)
    for kernel in figures.kernels:
        assert f"{kernel.pairs:,}" in text
        assert f"{kernel.nbytes / 1e6:.2f} MB" in text
        for pairs in kernel.pairs_per_tap:
            assert f" {pairs:,} " in text
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text


def test_options_of_a_scan_reach_its_kernels(capsys, scan):
    text = told(
        capsys, scan, "--voxel-size", "0.5,0.5,0.25", "--kernel-size", "5", "--stride", "1,2,3"
    )
    assert "voxels of 0.5 x 0.5 x 0.25 m" in flowing(text)
    assert "submanifold 5 x 5 x 5" in text and "5 x 5 x 5, stride 1x2x3" in text
    assert "…" not in text


def test_an_even_kernel_has_no_submanifold_form_and_the_text_says_so(capsys, scan):
    text = told(capsys, scan, "--kernel-size", "2")
    assert "An even kernel has no centre" in text and "submanifold 2" not in text


def test_bars_are_as_long_as_pairs_are_many(capsys, scan):
    text = told(capsys, scan, "--voxel-size", "0.5", "--kernel-size", "7")
    (submanifold, _) = figures_of(read(scan), 0.5, 7).kernels
    lines = [line for line in text.splitlines() if line.strip().startswith("0.00 ")]
    assert lines[0].count("█") == max(line.count("█") for line in text.splitlines())
    assert f" {submanifold.inputs:,} " in lines[0]


@pytest.mark.parametrize("name", ["ouster/OS-1-128_0.npz", "aerial/als_60x40m_5class.las"])
def test_a_real_scan_is_told(capsys, name):
    text = told(capsys, real_scan(name))
    assert "submanifold 3 x 3 x 3" in text and "…" not in text


def test_a_file_that_is_not_there(capsys, tmp_path):
    assert "no file" in mistake(capsys, tmp_path / "nothing.bin")


def test_a_file_that_is_no_scan(capsys, tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    assert "wanted one of .bin" in mistake(capsys, tmp_path / "notes.txt")


def test_a_scan_of_nothing_but_nan(capsys, tmp_path):
    np.full((4, 4), np.nan, dtype=np.float32).tofile(tmp_path / "nan.bin")
    assert "4 points, none with a finite position" in mistake(capsys, tmp_path / "nan.bin")


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--voxel-size", "-0.1", "voxel_size is -0.1; wanted a positive length"),
        ("--voxel-size", "0.1,0.1", "one an axis"),
        ("--voxel-size", "wide", "voxel-size is 'wide'; wanted one number"),
        ("--kernel-size", "0", "every axis must be at least 1"),
        ("--kernel-size", "2.5", "kernel-size is '2.5'; wanted one whole number"),
        ("--stride", "0", "every axis must be at least 1"),
    ],
)
def test_a_size_that_makes_no_sense(capsys, scan, option, value, message):
    assert message in mistake(capsys, scan, option, value)


@pytest.mark.parametrize(
    "words", [("--voxel-size", "0.1"), ("--kernel-size", "3"), ("--stride", "2")]
)
def test_an_option_of_scans_without_a_scan(capsys, words):
    assert "there is no scan" in mistake(capsys, *words)


@pytest.mark.parametrize("words", [("--kind", "regular"), ("--page", "a.html")])
def test_an_option_of_the_picture_with_a_scan(capsys, scan, words):
    assert "belong to the 5 x 5 picture" in mistake(capsys, scan, *words)


def test_another_kind(capsys):
    assert "kind is 'dense'; wanted one of" in mistake(capsys, "--kind", "dense")


def test_a_page_of_another_suffix(capsys, tmp_path):
    assert "ends in .html" in mistake(capsys, "--page", tmp_path / "page.txt")
