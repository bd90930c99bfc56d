"""What `gossamer convert` writes and tells."""

import json
import re
import shlex

import pytest
import torch

from gossamer.cli import main
from tests.convert.libraries import Layer, checkpoint, same

NETWORK = [
    Layer("net.0", (3, 3, 3), (4, 16), norm="net.1"),
    Layer("net.conv_out", (3, 1, 1), (16, 24), norm="net.norm_out"),
    Layer("net.point", (1, 1, 1), (24, 12), strided=True),
]


def code_of(*words: object) -> int | str | None:
    with pytest.raises(SystemExit) as left:
        main(["convert", *map(str, words)])
    return left.value.code


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """The path of the network as a library writes it, in the working folder."""
    monkeypatch.chdir(tmp_path)

    def save(library: str):
        torch.save({"state_dict": checkpoint(NETWORK, library), "epoch": 3}, "in.pth")
        return tmp_path / "in.pth"

    return save


def test_every_changed_entry_is_shown_and_the_way_back_leads_back(saved, capsys):
    path = saved("torchsparse")
    assert code_of(path, "--to", "spconv2", "--kernel", "*conv_out=3x1x1", "--out", "a.pth") == 0
    told = capsys.readouterr().out
    lines = [line.split() for line in told.splitlines()]
    assert "state_dict: torchsparse to spconv2" in told
    shapes = "27 × 4 × 16 16 × 3 × 3 × 3 × 4".split()
    assert ["net.0.kernel", "….weight", *shapes, "torchsparse", "to", "KRSC"] in lines
    assert "3 entries changed, 12 as they were" in told and "head.weight" in told
    new = torch.load("a.pth")
    assert same(new["state_dict"], checkpoint(NETWORK, "spconv2")) and new["epoch"] == 3
    (back,) = re.findall("the way back: gossamer convert (.*)", told)
    assert "--strided net.point.weight" in back
    assert code_of(*shlex.split(back.replace("FILE", "b.pth"))) == 0
    assert same(torch.load("b.pth")["state_dict"], checkpoint(NETWORK, "torchsparse"))


def test_a_dry_run_writes_nothing_and_tells_the_same(saved, tmp_path, capsys):
    path = saved("spconv2")
    assert code_of(path, "--to", "native", "--dry-run", "--out", "a.pth") == 0
    dry = capsys.readouterr().out
    assert "nothing is written" in dry and list(tmp_path.iterdir()) == [path]
    assert code_of(path, "--to", "native", "--dry-run") == 0
    assert capsys.readouterr().out == dry
    assert code_of(path, "--to", "native", "--out", "a.pth") == 0
    wet = capsys.readouterr().out
    assert wet.splitlines()[:8] == dry.splitlines()[:8]


def test_json_has_all_of_it(saved, tmp_path):
    path = saved("minkowski")
    words = ["--to", "torchsparse14", "--out", "a.pt", "--json", "r.json", "--skip", "net.0"]
    assert code_of(path, *words) == 0
    said = json.loads((tmp_path / "r.json").read_text())
    assert said["written"] == "a.pt" and list(said["states"]) == ["state_dict"]
    report = said["states"]["state_dict"]
    assert report["source"] == "minkowski" and report["target"] == "torchsparse14"
    assert {"key": "net.0.kernel", "why": "skipped"} in report["left"]
    assert report["changed"][0] == {
        "key": "net.1.bn.weight",
        "to": "net.1.weight",
        "shape": [16],
        "to_shape": [16],
        "kernel": None,
        "what": "renamed",
    }
    assert report["back"]["source"] == "torchsparse14" and report["back"]["target"] == "minkowski"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["in.pth", "--to", "native"], "--out is missing"),
        (["in.pth", "--out", "a.pth"], "--to"),
        (["nowhere.pth", "--to", "native", "--out", "a.pth"], "no checkpoint nowhere.pth"),
        (["in.pth", "--to", "ours", "--out", "a.pth"], "target is 'ours'; wanted one of native"),
        (["in.pth", "--from", "me", "--to", "native", "--out", "a.pth"], "source is 'me'"),
        (["in.pth", "--to", "spconv2", "--out", "a.pth"], "--kernel 'net.conv_out.kernel=1x1x3'"),
        (["in.pth", "--to", "spconv2", "--out", "in.pth"], "the checkpoint itself"),
        (["in.pth", "--to", "spconv2", "--out", "a.onnx"], "wanted a name that ends in"),
        (["in.pth", "--to", "spconv2", "--out", "a.pth", "--kernel", "x"], "--kernel is 'x'"),
        (["in.pth", "--to", "native", "--out", "a.pth", "--kernel", "*=3x"], "--kernel is '*=3x'"),
        (
            ["in.pth", "--to", "native", "--out", "a.pth", "--kernel", "conv_out=3x1x1"],
            "'*conv_out*' fits net.conv_out.kernel",
        ),
        (["in.pth", "--to", "native", "--out", "a.pth", "--json", "a.pth"], "are both a.pth"),
        (["in.pth", "--to", "native", "--out", "a.pth", "--names", "x"], "names is 'x'"),
        (["in.pth", "--to", "native", "--out", "a.pth", "--ndim", "7"], "ndim is 7"),
    ],
    ids=lambda value: " ".join(value[1:]) if isinstance(value, list) else "",
)
def test_a_mistake_is_told_with_exit_code_2(words, said, saved, tmp_path, capsys):
    path = saved("torchsparse")
    assert code_of(*words) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [path]


def test_an_ambiguous_source_is_refused_with_its_candidates(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"a.kernel": torch.rand(8, 16, 16)}, "in.pth")
    assert code_of("in.pth", "--to", "spconv2", "--out", "a.pth") == 2
    told = capsys.readouterr().err
    assert "torchsparse or torchsparse14 or minkowski" in told and "--from" in told
    assert code_of("in.pth", "--from", "minkowski", "--to", "spconv2", "--out", "a.pth") == 0


def test_keys_with_brackets_are_shown_as_they_are(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"[red]a.kernel": torch.rand(27, 16, 16)}, "[bold].pth")
    assert code_of("[bold].pth", "--to", "native", "--out", "a.pth") == 0
    assert "[red]a.kernel" in capsys.readouterr().out
