"""Checkpoints as files: what surrounds a model, what is refused, and what is left behind."""

import os
import pickle
from argparse import Namespace
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from gossamer import nn as native
from gossamer.convert import Options, Request, convert_file, convert_state_dict
from gossamer.errors import FormatError
from tests.convert.libraries import Layer, checkpoint, same

NETWORK = [
    Layer("net.0", (3, 3, 3), (4, 16), bias=True, norm="net.1"),
    Layer("net.3", (2, 2, 2), (16, 24), norm="net.4"),
]
STATE = checkpoint(NETWORK, "spconv2")
WANTED = checkpoint(NETWORK, "minkowski")


def converted(path: Path, out: Path, target: str = "minkowski", **options):
    unsafe = options.pop("unsafe", False)
    return convert_file(Request(path, None, target, out, Options(**options), unsafe))


@pytest.fixture
def saved(tmp_path):
    """Saves a value, and gives its path."""

    def save(value, name: str = "in.pth") -> Path:
        torch.save(value, tmp_path / name)
        return tmp_path / name

    return save


@pytest.mark.parametrize(
    "place",
    [
        (),
        ("state_dict",),
        ("model_state",),
        ("model_state_dict",),
        ("model",),
        ("net",),
        ("anything",),
        ("state", "model"),
    ],
)
@pytest.mark.parametrize("out", ["out.pth", "out.pt"])
def test_a_state_dict_is_found_and_everything_around_it_kept(place, out, saved, tmp_path):
    value, around = dict(STATE), {"epoch": 3, "meta": {"classes": ["car"], "lr": 0.1}}
    for name in reversed(place):
        value = {**around, name: value}
    report = converted(saved(value), tmp_path / out)
    new = torch.load(tmp_path / out)
    for name in place:
        assert {key: new[key] for key in around} == around
        new = new[name]
    assert same(new, WANTED)
    assert list(report.states) == [".".join(place) or "the file itself"] and not report.notes


def test_copies_of_a_model_are_converted_too(saved, tmp_path):
    averaged = {f"module.{key}": value for key, value in STATE.items()}
    averaged["steps"] = torch.tensor(5)
    extra = {"loss.weight": torch.rand(3, 3), "b": torch.rand(3)}
    path = saved({"state_dict": STATE, "ema_state_dict": averaged, "loss": extra})
    report = converted(path, tmp_path / "out.pth")
    new = torch.load(tmp_path / "out.pth")
    assert same(new["state_dict"], WANTED)
    assert new["ema_state_dict"].pop("steps") == 5
    assert same(new["ema_state_dict"], {f"module.{k}": v for k, v in WANTED.items()})
    assert same(new["loss"], extra)
    assert list(report.states) == ["state_dict", "ema_state_dict"]
    assert any("loss stays as it is" in note for note in report.notes)


def test_the_part_with_convolutions_is_the_model_whatever_it_is_called(saved, tmp_path):
    path = saved({"model": {"a.weight": torch.rand(3, 3)}, "backbone": STATE})
    report = converted(path, tmp_path / "out.pth")
    assert list(report.states) == ["backbone"]
    assert same(torch.load(tmp_path / "out.pth")["backbone"], WANTED)


def test_versions_of_modules_are_carried_along(saved, tmp_path):
    state = OrderedDict(STATE)
    versions = {"": 1, "net": 1, "net.0": 2, "net.1": 7}
    state._metadata = OrderedDict({name: {"version": n} for name, n in versions.items()})
    converted(saved(state), tmp_path / "out.pth")
    metadata = torch.load(tmp_path / "out.pth")._metadata
    assert metadata["net.0"] == {"version": 1} and metadata["net.1.bn"] == {"version": 7}
    assert metadata[""] == metadata["net"] == {"version": 1}


@pytest.mark.parametrize("source", ["spconv1", "torchsparse"])
def test_mmdetection3d_finds_its_marks(source, saved, tmp_path):
    converted(saved(checkpoint(NETWORK, source)), tmp_path / "out.pth", "mmdet3d")
    new = torch.load(tmp_path / "out.pth")
    assert same(new, STATE)
    assert new._metadata == {
        "": {"version": 1},
        "net.0": {"version": 2},
        "net.3": {"version": 2},
    }
    with pytest.raises(ValueError, match=r"mmdetection3d knows spconv 2's layout by marks"):
        converted(saved(STATE), tmp_path / "out.safetensors", "mmdet3d")


class Net(nn.Module):
    """A network whose taps, channels and gradients all differ."""

    def __init__(self):
        super().__init__()
        self.one = native.SubMConv3d(4, 16, 3)
        self.norm = native.BatchNorm(16)
        self.two = native.SubMConv3d(16, 16, 3, bias=False)
        self.head = nn.Linear(16, 5)


def trained(make=torch.optim.Adam, **options) -> tuple[Net, torch.optim.Optimizer]:
    net = Net()
    optimizer = make(net.parameters(), lr=0.1, **options)
    for at, parameter in enumerate(net.parameters()):
        parameter.grad = torch.rand_like(parameter) + at
    optimizer.step()
    return net, optimizer


@pytest.mark.parametrize("target", ["minkowski", "torchsparse", "spconv1", "spconv2"])
@pytest.mark.parametrize(
    ("make", "options"),
    [(torch.optim.Adam, {}), (torch.optim.SGD, {"momentum": 0.9}), (torch.optim.AdamW, {})],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_what_an_optimizer_keeps_follows_its_weights(
    target, make, options, wrapped, saved, tmp_path
):
    net, optimizer = trained(make, **options)
    states = [optimizer.state_dict()] if wrapped else optimizer.state_dict()
    path = saved({"model": net.state_dict(), "optimizer_states": states})
    report = converted(path, tmp_path / "out.pth", target)
    new = torch.load(tmp_path / "out.pth")
    moments = new["optimizer_states"][0] if wrapped else new["optimizer_states"]
    assert moments["param_groups"] == optimizer.state_dict()["param_groups"]
    names = [name for name, _ in net.named_parameters()]
    for number, kept in optimizer.state_dict()["state"].items():
        for what, value in kept.items():
            # As if what it keeps were the weight.
            if not torch.is_tensor(value) or value.numel() == 1:
                assert moments["state"][number][what] == value
                continue
            state = {**net.state_dict(), names[number]: value}
            turned, _ = convert_state_dict(state, "native", target)
            wanted = list(turned.values())[list(state).index(names[number])]
            assert torch.equal(moments["state"][number][what], wanted)
    assert any("follows it" in note for note in report.notes)


def test_an_optimizer_that_does_not_fit_is_left_out_and_said(saved, tmp_path):
    net, _ = trained()
    other = torch.optim.Adam(list(net.parameters())[1:])
    path = saved({"model": net.state_dict(), "optimizer": other.state_dict(), "epoch": 2})
    report = converted(path, tmp_path / "out.pth")
    assert set(torch.load(tmp_path / "out.pth")) == {"model", "epoch"}
    assert any("optimizer is left out" in note for note in report.notes)
    shuffled = torch.optim.Adam(list(net.parameters())[::-1])
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    shuffled.step()
    path = saved({"model": net.state_dict(), "optimizer": shuffled.state_dict()})
    assert any("has not the shape" in n for n in converted(path, tmp_path / "out.pth").notes)


def test_an_optimizer_does_not_outlive_entries_that_are_left_out(saved, tmp_path):
    net, optimizer = trained()
    path = saved({"model": net.state_dict(), "optimizer": optimizer.state_dict()})
    report = converted(path, tmp_path / "out.pth", drop=("head",))
    assert set(torch.load(tmp_path / "out.pth")) == {"model"}
    assert any("entries of the model were left out" in note for note in report.notes)


def test_an_optimizer_counts_tied_weights_once(saved, tmp_path):
    net, _ = trained()
    net.twin = native.SubMConv3d(16, 16, 3, bias=False)
    net.twin.weight = net.two.weight
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net.two.weight.grad = torch.rand_like(net.two.weight)
    optimizer.step()
    path = saved({"model": net.state_dict(), "optimizer": optimizer.state_dict()})
    converted(path, tmp_path / "out.pth", "torchsparse")
    assert "optimizer" in torch.load(tmp_path / "out.pth")


@pytest.mark.parametrize("groups", [[{"lr": 1}], ["all"], [{"params": ["one.weight"]}]])
def test_an_optimizer_of_another_kind_is_left_out(groups, saved, tmp_path):
    net, _ = trained()
    other = {"state": {"one.weight": torch.rand(2)}, "param_groups": groups}
    report = converted(saved({"model": net.state_dict(), "optim": other}), tmp_path / "out.pth")
    assert set(torch.load(tmp_path / "out.pth")) == {"model"}
    assert any("optim is left out" in note for note in report.notes)


def test_an_optimizer_with_names_is_followed_by_name(saved, tmp_path):
    net, _ = trained()
    named = list(net.named_parameters())
    optimizer = torch.optim.Adam([{"params": named[3:]}, {"params": named[:3]}])
    for parameter in net.parameters():
        parameter.grad = torch.rand_like(parameter)
    optimizer.step()
    path = saved({"model": net.state_dict(), "optimizer": optimizer.state_dict()})
    converted(path, tmp_path / "out.pth", "torchsparse")
    new = torch.load(tmp_path / "out.pth")["optimizer"]
    told = [name for group in new["param_groups"] for name in group["param_names"]]
    assert "two.kernel" in told and "two.weight" not in told
    groups = optimizer.state_dict()["param_groups"]
    names = [name for group in groups for name in group["param_names"]]
    ids = [number for group in groups for number in group["params"]]
    two = ids[names.index("two.weight")]
    moment = optimizer.state_dict()["state"][two]["exp_avg"]
    wanted, _ = convert_state_dict({"two.weight": moment}, "native", "torchsparse")
    assert torch.equal(new["state"][two]["exp_avg"], wanted["two.kernel"])


def test_safetensors_in_and_out(saved, tmp_path):
    flat = {key: value.contiguous() for key, value in STATE.items()}
    save_file(flat, tmp_path / "in.safetensors", {"format": "pt", "mine": "text"})
    report = converted(tmp_path / "in.safetensors", tmp_path / "out.safetensors")
    new = load_file(tmp_path / "out.safetensors")
    assert new.keys() == WANTED.keys() and all(torch.equal(new[k], WANTED[k]) for k in new)
    with safe_open(tmp_path / "out.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt", "mine": "text"}
    assert not report.notes
    report = converted(tmp_path / "in.safetensors", tmp_path / "out.pth")
    assert any("mine" in note for note in report.notes)
    new = torch.load(tmp_path / "out.pth")
    assert all(torch.equal(new[key], WANTED[key]) for key in WANTED)


def test_what_safetensors_cannot_hold_is_said(saved, tmp_path):
    net, optimizer = trained()
    state = {**net.state_dict(), "twin.weight": net.one.weight.detach(), "_extra_state": {"a": 1}}
    state["part"] = torch.arange(10)[::2]
    path = saved({"state_dict": state, "optimizer": optimizer.state_dict(), "epoch": 1})
    report = converted(path, tmp_path / "out.safetensors", "spconv2")
    new = load_file(tmp_path / "out.safetensors")
    assert torch.equal(new["twin.weight"], new["one.weight"]) and "_extra_state" not in new
    assert new["part"].tolist() == [0, 2, 4, 6, 8]
    told = "\n".join(report.notes)
    assert "holds tensors alone: optimizer, epoch" in told
    assert "_extra_state" in told and "twin.weight was tied to one.weight" in told


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int8])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_dtypes_stay(dtype, suffix, saved, tmp_path):
    layers = [Layer("a", (3, 3, 3), (12, 16), dtype=dtype)]
    converted(saved(checkpoint(layers, "spconv2")), tmp_path / f"out{suffix}", "native")
    read = load_file if suffix == ".safetensors" else torch.load
    assert read(tmp_path / f"out{suffix}")["a.weight"].dtype == dtype


class Runs:
    """A pickle that makes a folder when it is read."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_a_pickle_that_runs_code_is_refused_unless_it_is_trusted(saved, tmp_path):
    made, out = tmp_path / "made", tmp_path / "out.pth"
    path = saved({"state_dict": STATE, "more": Runs(made)})
    with pytest.raises(FormatError, match=r"asks for \w+\.mkdir.*--unsafe"):
        converted(path, out)
    assert not made.exists() and not out.exists()
    converted(path, out, unsafe=True)
    assert made.exists()


def test_plain_objects_need_trust_too_and_survive(saved, tmp_path):
    path = saved({"state_dict": STATE, "args": Namespace(lr=0.1)})
    with pytest.raises(FormatError, match=r"asks for argparse\.Namespace.*--unsafe"):
        converted(path, tmp_path / "out.pth")
    converted(path, tmp_path / "out.pth", unsafe=True)
    assert torch.load(tmp_path / "out.pth", weights_only=False)["args"] == Namespace(lr=0.1)


def test_an_object_whose_program_is_missing_is_said(saved, tmp_path):
    path = saved({"state_dict": STATE, "args": Namespace(lr=0.1)})
    content = path.read_bytes().replace(b"argparse", b"argpurse")
    path.write_bytes(content)
    with pytest.raises(FormatError, match=r"not installed|cannot be read"):
        converted(path, tmp_path / "out.pth", unsafe=True)


def whole(path: Path) -> None:
    torch.save(nn.Linear(2, 2), path)


def truncated(path: Path) -> None:
    torch.save(STATE, path)
    path.write_bytes(path.read_bytes()[:-900])


def old_truncated(path: Path) -> None:
    torch.save(STATE, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:-90])


NONSENSE = {
    "empty": lambda path: path.touch(),
    "text": lambda path: path.write_text("hello"),
    "picture": lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256))),
    "truncated": truncated,
    "old truncated": old_truncated,
    "another pickle": lambda path: path.write_bytes(pickle.dumps({"a": 1}, protocol=4)),
    "program": lambda path: torch.jit.save(torch.jit.script(nn.Linear(2, 2)), path),
    "module": whole,
    "number": lambda path: torch.save(3, path),
    "list": lambda path: torch.save([torch.ones(2)], path),
    "tensor": lambda path: torch.save(torch.ones(2), path),
    "dense": lambda path: torch.save(nn.Conv2d(16, 16, 3).state_dict(), path),
    "none": lambda path: torch.save({}, path),
    "folder": lambda path: path.mkdir(),
    "missing": lambda path: None,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("unsafe", [False, True])
@pytest.mark.parametrize("what", NONSENSE)
def test_nonsense_is_a_sentence_and_leaves_nothing(what, unsafe, suffix, tmp_path):
    path, out = tmp_path / f"in{suffix}", tmp_path / "out.pth"
    NONSENSE[what](path)
    before = set(tmp_path.iterdir())
    with pytest.raises((ValueError, FileNotFoundError)) as told:
        converted(path, out, unsafe=unsafe)
    assert str(path) in str(told.value) and len(str(told.value)) > 30
    assert set(tmp_path.iterdir()) == before


def test_a_file_is_never_written_over_itself(saved, tmp_path):
    path = saved(STATE)
    content = path.read_bytes()
    (tmp_path / "link.pth").symlink_to(path)
    for out in (path, tmp_path / "link.pth", tmp_path / "." / "in.pth"):
        with pytest.raises(ValueError, match="the checkpoint itself"):
            converted(path, out)
    assert path.read_bytes() == content


def test_an_older_result_survives_a_failure(saved, tmp_path, monkeypatch):
    out = tmp_path / "out.pth"
    out.write_text("older")

    def fail(_, path):
        Path(path).write_text("half of it")
        raise OSError("disk full")

    path = saved(STATE)
    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        converted(path, out)
    assert out.read_text() == "older" and len(list(tmp_path.iterdir())) == 2


def test_a_suffix_that_says_nothing(saved, tmp_path):
    with pytest.raises(ValueError, match=r"wanted a name that ends in \.pth, \.pt, \.safetensors"):
        converted(saved(STATE), tmp_path / "out.onnx")
