"""Choosing configurations by measuring: what is measured, kept, read, and given to layers."""

import os
import sys
import types

import pytest
import torch
from torch import nn

from gossamer.compat.torchsparse import SparseTensor
from gossamer.compat.torchsparse import nn as spnn
from gossamer.compat.torchsparse.nn.functional import Dataflow, conv_config
from gossamer.compat.torchsparse.tuning import configs, keeping, timing
from gossamer.compat.torchsparse.utils.tune import tune


class Network(nn.Module):
    """Four groups: two layers at full resolution, down and back, one in the middle."""

    def __init__(self):
        super().__init__()
        self.first = spnn.Conv3d(4, 6, 3)
        self.pointwise = spnn.Conv3d(6, 6, 1)
        self.down = spnn.Conv3d(6, 8, 2, stride=2)
        self.norm = spnn.BatchNorm(8)
        self.middle = spnn.Conv3d(8, 8, 3)
        self.up = spnn.Conv3d(8, 6, 2, stride=2, transposed=True)
        self.last = spnn.Conv3d(6, 6, 3)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        x = x["input"] if isinstance(x, dict) else x
        y = self.middle(self.norm(self.down(self.pointwise(self.first(x)))))
        return self.last(self.up(y)).F


FULL = ((1, 1, 1), (3, 3, 3), (1, 1, 1), 1)
DOWN = ((1, 1, 1), (2, 2, 2), (2, 2, 2), 1)
HALF = ((2, 2, 2), (3, 3, 3), (1, 1, 1), 1)
GROUPS = {"first": FULL, "down": DOWN, "middle": HALF, "up": DOWN, "last": FULL}


def scene(seed=0):
    dice = torch.Generator().manual_seed(seed)
    places = torch.randint(0, 12, (90, 3), generator=dice)
    batch = torch.randint(0, 2, (90, 1), generator=dice)
    rows = torch.unique(torch.cat([batch, places], 1), dim=0).int()
    return SparseTensor(torch.randn(len(rows), 4, generator=dice), rows)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(timing, "WARM_UPS", 1)


@pytest.fixture
def choosing(monkeypatch, quick):
    """As on a GPU: there is something to choose, and how long it takes is known before."""
    seconds = {}

    def time(watch, sample):
        watch.run(timing.moved(sample, watch.device, watch.half))
        modules = dict(watch.model.named_modules())
        total = 0
        for name in GROUPS:
            config = modules[name]._config if name in modules else None
            key = [(config or {}).get(part) for part in ("dataflow", "ifsort", "split_mask_num")]
            total += seconds.get((name, *key), 1.0)
        return total

    monkeypatch.setattr(timing.Stopwatch, "__call__", time)
    choices = configs.choices
    monkeypatch.setattr(configs, "choices", lambda _, flows: choices(torch.device("cuda"), flows))
    return seconds


def choice_of(module):
    return tuple(
        (module._config or {}).get(key) for key in ("dataflow", "ifsort", "split_mask_num")
    )


def test_on_a_cpu_it_measures_says_so_and_keeps_a_file(tmp_path, quick, capsys):
    net = Network()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    tune(net, [scene(0), scene(1), scene(2)], n_samples=2, save_dir=str(tmp_path / "a" / "b"))
    names, chosen = torch.load(tmp_path / "a" / "b" / "temp", weights_only=False)
    assert names == GROUPS
    assert set(chosen) == {FULL, DOWN, HALF}
    default = conv_config.get_default_conv_config()
    for group in chosen.values():
        assert set(group) == set(configs.CHOSEN)
        assert group == {key: default[key] for key in configs.CHOSEN}
    said = capsys.readouterr().out
    assert "on a CPU there is one way to compute" in said
    assert "5 convolutions in 3 groups" in said
    assert "sample 2 of 2" in said and "sample 3" not in said
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert net.calls == 0 and os.listdir(tmp_path / "a" / "b") == ["temp"]
    assert net.first._config == net.last._config is not net.first._config
    assert net.pointwise._config is None


def test_each_group_gets_what_was_fastest_for_it(tmp_path, choosing):
    flow = Dataflow.ImplicitGEMM
    choosing.update(
        {("first", flow, True, 1): 0.5, ("last", flow, True, 1): 0.9, ("last", flow, True, 3): 0.8}
    )
    choosing.update({("middle", flow, True, 3): 0.2, ("middle", flow, False, 1): 0.4})
    net = Network()
    tune(net, [scene()], save_dir=str(tmp_path), verbose=False)
    assert choice_of(net.first) == choice_of(net.last) == (flow, True, 1)
    assert choice_of(net.middle) == (flow, True, 3)
    assert choice_of(net.down) == choice_of(net.up) == (flow, False, 1)
    assert net(scene()).shape[1] == 6


def test_what_a_layer_was_told_of_its_maps_stays(tmp_path, choosing):
    net = Network()
    net.down._config = {"kmap_mode": "hashmap", "ifsort": True}
    tune(net, [scene()], save_dir=str(tmp_path), verbose=False)
    assert net.down._config["kmap_mode"] == "hashmap"
    assert choice_of(net.down) == (Dataflow.ImplicitGEMM, False, 1)
    assert "kmap_mode" not in net.middle._config


def test_the_median_of_samples_counts(tmp_path, choosing, monkeypatch):
    flow = Dataflow.ImplicitGEMM
    time, held_up = timing.Stopwatch.__call__, []

    def held_up_once(watch, sample):
        if choice_of(watch.model.middle) == (flow, True, 3) and not held_up:
            held_up.append(True)
            return 100.0
        return time(watch, sample)

    monkeypatch.setattr(timing.Stopwatch, "__call__", held_up_once)
    choosing["middle", flow, True, 3] = 0.9
    net = Network()
    tune(net, [scene()] * 3, save_dir=str(tmp_path), verbose=False)
    assert choice_of(net.middle) == (flow, True, 3)


def test_pruning_chooses_the_dataflow_before_the_rest(tmp_path, choosing):
    gemm, fetch = Dataflow.ImplicitGEMM, Dataflow.FetchOnDemand
    # One configuration of it is the fastest, but on the whole it is slow.
    choosing.update({("middle", gemm, True, 3): 0.1, ("middle", gemm, True, 1): 9.0})
    choosing["middle", fetch, False, 1] = 0.3
    for prune, expected in ((False, (gemm, True, 3)), (True, (fetch, False, 1))):
        net = Network()
        tune(
            net,
            [scene()],
            save_dir=str(tmp_path),
            tune_tag=str(prune),
            dataflow_range=[gemm, fetch],
            dataflow_prune=prune,
            verbose=False,
        )
        assert choice_of(net.middle) == expected


def test_what_is_there_is_read_and_measured_again_only_by_force(tmp_path, choosing, capsys):
    flow, where = Dataflow.ImplicitGEMM, str(tmp_path)
    choosing["middle", flow, True, 1] = 0.5
    tune(Network(), [scene()], save_dir=where, tune_tag="mine", verbose=False)
    choosing["middle", flow, True, 3] = 0.1
    net = Network()
    tune(net, [], save_dir=where, tune_tag="mine")
    assert choice_of(net.middle) == (flow, True, 1)
    assert "load tuned group configs" in capsys.readouterr().out
    tune(net, [scene()], save_dir=where, tune_tag="mine", force_retune=True)
    assert choice_of(net.middle) == (flow, True, 3)


def test_a_file_about_another_network_is_not_used(tmp_path, choosing):
    other = nn.Sequential(spnn.Conv3d(4, 4, 3), spnn.ReLU())
    tune(other, [scene()], save_dir=str(tmp_path), verbose=False)
    net = Network()
    tune(net, [scene()], save_dir=str(tmp_path), verbose=False)
    assert torch.load(tmp_path / "temp", weights_only=False)[0] == GROUPS


def test_a_file_that_upstream_wrote_is_read(tmp_path, quick, monkeypatch):
    net = Network()
    config = {key: conv_config.get_default_conv_config()[key] for key in configs.CHOSEN}
    config.update(ifsort=True, split_mask_num=4)
    with monkeypatch.context() as patch:
        # Under upstream's name, as it stands in a pickle.
        *packages, name = keeping.UPSTREAM.split(".")[:-1]
        for depth in range(len(packages) + 1):
            whole = ".".join([*packages, name][: depth + 1])
            patch.setitem(sys.modules, whole, types.ModuleType(whole))
        sys.modules[whole].Dataflow = Dataflow
        patch.setattr(Dataflow, "__module__", whole)
        torch.save((GROUPS, {group: config for group in GROUPS.values()}), tmp_path / "temp")
    tune(net, [], save_dir=str(tmp_path), verbose=False)
    assert choice_of(net.up) == (Dataflow.ImplicitGEMM, True, 4)


@pytest.mark.parametrize("content", [b"", b"nothing", None])
def test_a_broken_file_is_named_and_left_alone(tmp_path, quick, content):
    file = tmp_path / "temp"
    if content is None:
        torch.save((GROUPS, {FULL: {"ifsort": True}}), file)
    else:
        file.write_bytes(content)
    before = file.read_bytes()
    with pytest.raises(ValueError, match=r"temp is not what tune\(\) writes.*force_retune=True"):
        tune(Network(), [scene()], save_dir=str(tmp_path), verbose=False)
    assert file.read_bytes() == before
    tune(Network(), [scene()], save_dir=str(tmp_path), force_retune=True, verbose=False)
    assert torch.load(file, weights_only=False)[0] == GROUPS


def test_a_file_that_runs_code_is_refused(tmp_path, quick):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "ran"),))

    torch.save((GROUPS, {FULL: Evil()}), tmp_path / "temp")
    with pytest.raises(ValueError, match="is not what tune"):
        tune(Network(), [scene()], save_dir=str(tmp_path), verbose=False)
    assert not (tmp_path / "ran").exists()


def test_who_is_interrupted_leaves_no_half_of_a_file(tmp_path, quick, monkeypatch):
    tune(Network(), [scene()], save_dir=str(tmp_path), verbose=False)
    before = (tmp_path / "temp").read_bytes()

    def torn(kept, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", torn)
    with pytest.raises(KeyboardInterrupt):
        tune(Network(), [scene()], save_dir=str(tmp_path), force_retune=True, verbose=False)
    assert (tmp_path / "temp").read_bytes() == before
    assert os.listdir(tmp_path) == ["temp"]


def test_the_backward_pass_counts_where_it_is_asked_for(tmp_path, quick, monkeypatch):
    ran = []
    backward = torch.autograd.backward
    monkeypatch.setattr(torch.autograd, "backward", lambda *a: ran.append(1) or backward(*a))
    net = Network()
    tune(net, [scene()], save_dir=str(tmp_path), verbose=False)
    assert not ran
    tune(
        net, [scene()], save_dir=str(tmp_path), verbose=False, force_retune=True, tune_with_bwd=True
    )
    assert len(ran) == 4  # to warm up, and for three groups
    assert all(p.grad is None for p in net.parameters())


def test_samples_of_any_form_come_to_the_network(tmp_path, quick):
    samples = [{"input": scene(), "label": torch.ones(3), "file": "a", "more": [scene(), (1, 2)]}]
    net = Network()
    tune(net, samples, save_dir=str(tmp_path), verbose=False)
    tune(net, samples, save_dir=str(tmp_path / "x"), collect_fn=lambda d: d["input"], verbose=False)
    moved = timing.moved(samples[0], torch.device("cpu"), half=True)
    assert moved["input"].F.dtype == torch.float16 and samples[0]["input"].F.dtype == torch.float32
    assert moved["input"]._caches is not samples[0]["input"]._caches
    assert moved["more"][1] == (1, 2) and moved["file"] == "a"


def test_half_precision_stays_in_the_copy(tmp_path, quick):
    net, x = Network().eval(), scene()
    expected = net(scene())
    tune(net, [x], save_dir=str(tmp_path), enable_fp16=True, verbose=False)
    assert all(p.dtype == torch.float32 for p in net.parameters())
    torch.testing.assert_close(net(x), expected)


def test_every_measurement_builds_its_maps_anew(tmp_path, quick, monkeypatch):
    fresh = []
    run = timing.Stopwatch.run
    monkeypatch.setattr(
        timing.Stopwatch,
        "run",
        lambda watch, x: (fresh.append((id(x), len(vars(x._caches)["kmaps"]))), run(watch, x))[1],
    )
    x = scene()
    Network()(x)
    assert x._caches.kmaps
    tune(Network(), [x, x], save_dir=str(tmp_path), verbose=False)
    assert len(fresh) == 7 and all(count == 0 for _, count in fresh)


def test_an_iterator_is_warned_of(tmp_path, quick):
    with pytest.warns(UserWarning, match="can be read once only"):
        tune(Network(), iter([scene()]), save_dir=str(tmp_path), verbose=False)


def test_silence_is_silence(tmp_path, quick, capsys, recwarn):
    tune(Network(), iter([scene()]), save_dir=str(tmp_path), verbose=False, skip_warning=True)
    assert capsys.readouterr().out == "" and not recwarn.list


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ({"n_samples": 0}, "n_samples is 0"),
        ({"data_loader": []}, "data_loader gave nothing"),
        ({"dataflow_range": []}, "dataflow_range is"),
        ({"dataflow_range": ["ImplicitGEMM"]}, "wanted a list of nn.functional.Dataflow"),
        ({"model": nn.Sequential(spnn.Conv3d(4, 4, 1))}, "nothing to tune"),
        (
            {"model": nn.Sequential(spnn.Conv3d(4, 4, 3)), "tune_with_bwd": True, "frozen": True},
            "nothing that the model returns has a gradient",
        ),
    ],
)
def test_bad_arguments_say_what_was_wanted(tmp_path, quick, how, error):
    how = dict(how)
    model, samples = how.pop("model", None) or Network(), how.pop("data_loader", [scene()])
    if how.pop("frozen", False):
        model.requires_grad_(False)
    with pytest.raises(ValueError, match=error):
        tune(model, samples, save_dir=str(tmp_path), verbose=False, **how)
    assert os.listdir(tmp_path) == []
