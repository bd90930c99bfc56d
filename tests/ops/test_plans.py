"""The choice of a plan: what it depends on, what it may not, and what measuring changes."""

import json
import warnings
from dataclasses import replace

import pytest
import torch

from gossamer.ops import plans
from gossamer.ops.plans import Choice, Demand, Tile, architecture, choose, store, use
from gossamer.ops.plans.chips import CHIPS, INTERPRETER, chip
from gossamer.ops.plans.precision import precision

GPUS = [arch for arch in CHIPS if arch != INTERPRETER]
DTYPES = (torch.float16, torch.bfloat16, torch.float32)
ROWS = (0, 1, 500, 4_000, 9_000, 20_000, 50_000, 100_000, 3_000_000)
CHANNELS = (1, 3, 16, 17, 32, 64, 96, 128, 200, 256, 512)
TILE = Tile(32, 16, 16, 4, 3)


def demand(op="conv", arch="sm_90", dtype=torch.float16, inputs=64, outputs=64, taps=27):
    return Demand(op, arch, dtype, inputs, outputs, taps)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Nothing was measured, and what will be is kept in `tmp_path`."""
    monkeypatch.setenv("GOSSAMER_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(plans, "device_name", lambda arch: f"a card of {arch}")
    plans.forget()
    yield tmp_path
    plans.forget()


@pytest.fixture
def setting():
    before = torch.get_float32_matmul_precision()
    yield torch.set_float32_matmul_precision
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("arch", GPUS)
@pytest.mark.parametrize("op", ["conv", "weight_grad"])
def test_every_problem_has_a_plan_that_fits_its_channels(arch, op):
    for dtype in DTYPES:
        for inputs, outputs in zip(CHANNELS, reversed(CHANNELS), strict=True):
            for rows in ROWS:
                choice = choose(demand(op, arch, dtype, inputs, outputs), rows)
                tile = choice.tile
                for size in (tile.rows, tile.columns, tile.channels, tile.warps):
                    assert size & (size - 1) == 0
                assert tile.columns >= 16 and tile.channels >= 16 and tile.rows >= 16
                assert tile.columns < max(32, 2 * outputs) and tile.channels < max(32, 2 * inputs)
                assert 0 <= choice.limit < 27
                assert (choice.parts > 0) == (op == "weight_grad")
                if op == "conv":
                    assert 256 % tile.rows == 0  # slots are a multiple of 256


def test_dataflow_and_precision_do_not_depend_on_rows():
    for arch in GPUS:
        for dtype in DTYPES:
            for channels in CHANNELS:
                wanted = demand(arch=arch, dtype=dtype, inputs=channels, outputs=channels)
                found = {(c.dataflow, c.precision) for c in (choose(wanted, n) for n in ROWS)}
                assert len(found) == 1


def test_a_convolution_and_its_gradient_want_the_same_table():
    for inputs in CHANNELS:
        for outputs in CHANNELS:
            if 1 not in (inputs, outputs):
                there = choose(demand(inputs=inputs, outputs=outputs), 1000)
                back = choose(demand(inputs=outputs, outputs=inputs), 1000)
                assert there.dataflow == back.dataflow


@pytest.mark.parametrize(
    ("how", "dataflow"),
    [
        ({"taps": 1}, "natural"),
        ({"inputs": 1, "outputs": 1}, "natural"),
        ({}, "sorted"),
        ({"inputs": 128, "outputs": 128}, "planes"),
        ({"inputs": 128, "outputs": 64}, "sorted"),
        ({"inputs": 128, "outputs": 128, "taps": 8}, "sorted"),
        ({"inputs": 128, "outputs": 128, "taps": 125}, "planes"),
        ({"dtype": torch.float32, "inputs": 32, "outputs": 32}, "planes"),
        ({"dtype": torch.float32, "inputs": 16, "outputs": 16}, "sorted"),
    ],
)
def test_planes_are_for_wide_or_dear_products_of_cubes(how, dataflow):
    assert choose(demand(**how), 1000).dataflow == dataflow


@pytest.mark.parametrize(
    ("arch", "exact", "fast"),
    [
        ("sm_80", "tf32x3", "tf32"),
        ("sm_86", "ieee", "tf32"),
        ("sm_89", "ieee", "tf32"),
        ("sm_90", "tf32x3", "tf32"),
        ("sm_100", "tf32x3", "tf32"),
        ("sm_120", "ieee", "tf32"),
        ("gfx942", "ieee", "ieee"),
        (INTERPRETER, "ieee", "ieee"),
    ],
)
def test_float32_is_as_exact_as_torch_was_told(arch, exact, fast, setting):
    wanted = demand(arch=arch, dtype=torch.float32)
    for told, found in (("highest", exact), ("high", fast), ("medium", fast)):
        setting(told)
        assert choose(wanted, 1000).precision == found
        assert choose(demand(arch=arch), 1000).precision == "ieee"


def test_the_newer_way_to_tell_torch_counts_too(setting):
    before = torch.backends.cuda.matmul.fp32_precision
    try:
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        assert choose(demand(dtype=torch.float32), 1000).precision == "tf32"
    finally:
        torch.backends.cuda.matmul.fp32_precision = before
    assert precision("hopper", torch.float32, "highest") == "tf32x3"


@pytest.mark.parametrize(
    ("unknown", "nearest"),
    [("sm_103", "sm_100"), ("sm_87", "sm_86"), ("sm_121", "sm_120"), ("gfx1250", "gfx1201")],
)
def test_an_unknown_architecture_is_taken_for_the_nearest_before_it(unknown, nearest):
    assert chip(unknown) == chip(nearest)
    assert choose(demand(arch=unknown), 1000) == choose(demand(arch=nearest), 1000)


@pytest.mark.parametrize("arch", ["sm_75", "gfx803", "xe", "sm_x", ""])
def test_an_older_or_foreign_architecture_is_refused(arch):
    with pytest.raises(ValueError, match="wanted sm_80"):
        chip(arch)


def test_a_cpu_is_the_interpreters():
    assert architecture(torch.device("cpu")) == INTERPRETER


def test_a_crowded_problem_is_not_divided_and_a_small_one_is():
    assert choose(demand(), 3_000_000).limit == 0
    few, some = choose(demand(), 500).limit, choose(demand(), 100_000).limit
    assert 0 < few < some < 27
    assert choose(demand(taps=8), 500).limit == 0


def test_more_rows_never_make_fewer_parts():
    for channels in CHANNELS:
        wanted = demand("weight_grad", inputs=channels, outputs=channels)
        parts = [choose(wanted, rows).parts for rows in ROWS]
        assert parts == sorted(parts) and parts[-1] * channels**2 < 1 << 24


def test_inside_use_the_change_decides_and_outside_it_does_not():
    usual = choose(demand(), 1000)
    asked = []

    def change(wanted: Demand, choice: Choice) -> Choice:
        asked.append(wanted)
        return replace(choice, dataflow="planes")

    with use(change):
        assert choose(demand(), 1000) == replace(usual, dataflow="planes")
    assert asked == [demand()] and choose(demand(), 1000) == usual


def keep(folder, measured: store.Measured) -> None:
    store.path("a card of sm_90").write_text(json.dumps(measured.as_json()))
    plans.forget()


def test_what_was_measured_comes_before_the_table(folder):
    better = Choice("natural", TILE, 5, 0, "ieee")
    keep(folder, store.Measured({}, {store.name(demand(), "ieee", store.scale(1000)): better}))
    usual = choose(demand(), 100_000)
    assert choose(demand(), 1000) == replace(better, dataflow=usual.dataflow)
    assert choose(demand(), 1023) == choose(demand(), 512) == choose(demand(), 1000)
    assert choose(demand(), 2000).tile == TILE, "twice as many rows are near enough"
    assert usual.tile != TILE
    for other in ({"outputs": 32}, {"arch": "sm_80"}, {"dtype": torch.bfloat16}, {"taps": 9}):
        assert choose(demand(**other), 1000).tile != TILE


def test_a_measured_dataflow_holds_for_every_number_of_rows_and_both_directions(folder):
    narrow = demand(inputs=32)
    keep(folder, store.Measured({store.flow_name(narrow, "ieee"): "planes"}, {}))
    for rows in ROWS:
        assert choose(narrow, rows).dataflow == "planes"
        assert choose(demand(outputs=32), rows).dataflow == "planes"
    assert choose(demand(), 1000).dataflow == "sorted"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"dataflows": {}}',
        '{"dataflows": {"a": "sideways"}, "choices": {}}',
        '{"dataflows": {}, "choices": {"a": {"tile": 3}}}',
        json.dumps(
            {
                "dataflows": {},
                "choices": {
                    "a": {
                        "dataflow": "sorted",
                        "tile": {"rows": 0, "columns": 1, "channels": 1, "warps": 1, "stages": 1},
                        "limit": 0,
                        "parts": 0,
                        "precision": "ieee",
                    }
                },
            }
        ),
    ],
)
def test_a_damaged_file_is_told_once_and_nothing(folder, text):
    usual = choose(demand(), 1000)
    store.path("a card of sm_90").write_text(text)
    plans.forget()
    with pytest.warns(UserWarning, match="no file of measured choices.*tune again"):
        assert choose(demand(), 1000) == usual
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choose(demand(), 5) == choose(demand(), 5)


def test_a_file_says_what_was_written():
    value = store.Measured({"a": "planes"}, {"b": Choice("sorted", TILE, 7, 3, "tf32")})
    assert store.parsed(json.loads(json.dumps(value.as_json()))) == value


@pytest.mark.parametrize(
    ("name", "number"), [("rows", 512), ("rows", 48), ("columns", 8), ("warps", 3), ("stages", 0)]
)
def test_a_tile_that_no_kernel_takes_is_damage(name, number):
    """Rows of more than a table is padded to would be read behind its end."""
    value = store.Measured({}, {"b": Choice("sorted", TILE, 7, 3, "tf32")}).as_json()
    value["choices"]["b"]["tile"][name] = number
    with pytest.raises(ValueError, match=f"{number}"):
        store.parsed(value)


def test_of_two_measurements_the_newer_counts():
    first, second = (Choice("sorted", TILE, limit, 0, "ieee") for limit in (1, 2))
    older = store.Measured({"a": "planes", "b": "sorted"}, {"x": first, "y": first})
    merged = older.merged(store.Measured({"b": "natural"}, {"y": second}))
    assert merged == store.Measured({"a": "planes", "b": "natural"}, {"x": first, "y": second})


def test_another_card_triton_or_gossamer_has_another_file(monkeypatch):
    paths = {store.path("NVIDIA H200"), store.path("NVIDIA H100 80GB HBM3")}
    monkeypatch.setattr(store, "_triton_version", lambda: "99.0")
    paths.add(store.path("NVIDIA H200"))
    monkeypatch.setattr(store, "__version__", "99.0")
    paths.add(store.path("NVIDIA H200"))
    assert len(paths) == 4
    assert all(set(path.name) & set("/ :") == set() for path in paths)


def test_without_a_folder_of_its_own_the_users_cache_is_taken(monkeypatch, tmp_path):
    monkeypatch.delenv("GOSSAMER_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("sys.platform", "linux")
    assert store.folder() == tmp_path / "cache" / "gossamer"
