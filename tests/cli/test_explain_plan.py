"""`gossamer explain --plan`: what a GPU would do, told without one."""

import pytest
import torch

import gossamer.cli as cli
from gossamer.explain.plan import Layer, built_in_layers, plans_of
from gossamer.models import MinkUNet, SECONDEncoder
from gossamer.nn.conv import SparseConvolution
from gossamer.ops import plans
from gossamer.ops.plans import DATAFLOWS, Demand, choose


@pytest.fixture(autouse=True)
def plain(monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv("GOSSAMER_CACHE_DIR", str(tmp_path))
    plans.forget()
    yield
    plans.forget()


def leave(*words: object) -> int | str | None:
    with pytest.raises(SystemExit) as left:
        cli.main(["explain", *map(str, words)])
    return left.value.code


def told(capsys, *words: object) -> str:
    assert leave("--plan", *words) == 0
    return capsys.readouterr().out


def mistake(capsys, *words: object) -> str:
    assert leave(*words) == 2
    seen = capsys.readouterr()
    assert not seen.out and seen.err.startswith("error: ")
    return seen.err


def line_of(text: str, start: str) -> list[str]:
    return next(line for line in text.splitlines() if line.strip().startswith(start)).split()


def test_each_line_says_what_is_chosen(capsys):
    text = told(capsys, "--arch", "sm_80", "--channels", "48,256", "--dtype", "bfloat16")
    for width in (48, 256):
        words = line_of(text, f"{width}->{width}")
        demand = Demand("conv", "sm_80", torch.bfloat16, width, width, 27)
        few, many = choose(demand, 4_000), choose(demand, 100_000)
        assert words[1:3] == ["27", many.dataflow]
        for choice in (few, many):
            tile = choice.tile
            assert f"{tile.rows}x{tile.columns}/{tile.channels}" in words
            assert not choice.limit or f"L{choice.limit}" in words


def test_every_dataflow_comes_with_its_reason_and_float32_with_that_of_its_precision(capsys):
    text = told(capsys, "--arch", "sm_90", "--channels", "1,16,256", "--dtype", "float32")
    assert "tf32x3: three TF32 products err as little" in " ".join(text.replace("│", "").split())
    reasons = text[text.index("Why these dataflows") :]
    for flow in DATAFLOWS:
        assert flow in reasons
    assert "under 32 channels" in reasons and "from 32 channels" in reasons


@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_100", "gfx942"])
def test_it_fits_a_terminal_and_a_pipe(capsys, arch):
    for dtype in ("float16", "float32"):
        text = told(capsys, "--arch", arch, "--dtype", dtype)
        assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
        assert "…" not in text


def test_by_default_the_layers_are_those_of_the_built_in_networks(capsys):
    text = told(capsys)
    layers = built_in_layers()
    for layer in layers:
        assert f"{layer.inputs}->{layer.outputs}" in text
    wanted = {
        (c.in_channels, c.out_channels)
        for model in (MinkUNet(4, 19), SECONDEncoder(4))
        for c in model.modules()
        if isinstance(c, SparseConvolution)
    }
    assert {(layer.inputs, layer.outputs) for layer in layers} == wanted
    assert {layer.taps for layer in layers} == {27, 8, 3}


def test_without_a_gpu_it_is_about_an_h200(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "on sm_90" in told(capsys)


def test_with_a_gpu_it_is_about_that(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("gossamer.cli.explain.architecture", lambda device: "sm_89")
    assert "on sm_89" in told(capsys)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("--plan", "--arch", "sm_75"), "wanted sm_80"),
        (("--plan", "--dtype", "int8"), "wanted one of 'float16', 'bfloat16', 'float32'"),
        (("--plan", "--channels", "many"), "wanted one whole number"),
        (("--plan", "--channels", "0"), "wanted numbers from 1"),
        (("--plan", "scan.bin"), "leave the rest out"),
        (("--plan", "--page", "a.html"), "leave the rest out"),
        (("--plan", "--kind", "regular"), "leave the rest out"),
        (("--plan", "--stride", "2"), "leave the rest out"),
        (("--arch", "sm_90"), "add --plan"),
        (("--dtype", "float16"), "add --plan"),
        (("--channels", "3"), "add --plan"),
    ],
)
def test_a_mistake_is_told_with_the_way_out(capsys, words, wanted):
    assert wanted in mistake(capsys, *words)


def test_a_plan_has_what_backends_will_choose():
    (plan,) = plans_of("sm_90", torch.float16, [Layer(64, 32, 27)])
    assert plan.gradient == choose(Demand("weight_grad", "sm_90", torch.float16, 64, 32, 27), 10**5)
    assert plan.few.dataflow == plan.many.dataflow == "sorted"
