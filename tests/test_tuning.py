"""gossamer.tune: what it asks, what it tries, and what it leaves on disk. The clock is made up."""

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import pytest
import torch
from torch import nn

from gossamer import tuning
from gossamer.ops import plans
from gossamer.ops.plans import Choice, Demand, Tile, choose, store
from gossamer.tuning import keeping, recording, tune
from gossamer.tuning.keeping import keep
from gossamer.tuning.search import neighbours

pytest.importorskip("triton")

TAPS, ROWS, SLOTS = 27, 40, 256
DEMAND = Demand("conv", "sm_90", torch.float32, 32, 64, TAPS)
TILE = Tile(128, 64, 32, 8, 5)


def table(flow: str) -> list[torch.Tensor]:
    """A rulebook in which every tap leads each row to itself, arranged for a dataflow."""
    orders = 3 if flow == "planes" else 1
    slots = torch.full((SLOTS,), -1, dtype=torch.int32)
    slots[:ROWS] = torch.arange(ROWS)
    masks = torch.zeros(orders, 1, SLOTS // 32, dtype=torch.int32)
    masks[:, :, : -(-ROWS // 32)] = (1 << TAPS // orders) - 1
    places = torch.arange(ROWS, dtype=torch.int32).repeat(orders, 1)
    rows = torch.arange(ROWS, dtype=torch.int32).repeat(TAPS)
    starts = torch.arange(TAPS + 1) * ROWS
    sources, order = slots.repeat(TAPS, 1), slots.repeat(orders, 1)
    return [sources, order, masks, places, torch.arange(0), rows, rows.clone(), starts]


class Layer(nn.Module):
    """A convolution over a table in the dataflow that is chosen."""

    def __init__(self, inputs: int, outputs: int, groups: int = 1):
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(torch.zeros(TAPS, inputs // groups, outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inputs, outputs = self.weight.shape[1], self.weight.shape[2] // self.groups
        demand = Demand("conv", "sm_90", x.dtype, inputs, outputs, TAPS)
        lists = table(choose(demand, 0).dataflow)
        return torch.ops.gossamer.conv(x, self.weight, lists, lists, ROWS, self.groups)


class Network(nn.Module):
    """Three convolutions, two of them of one size, and a batch norm that counts."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            Layer(16, 32), nn.BatchNorm1d(32), Layer(32, 32), Layer(32, 32), Layer(32, 32, 32)
        )

    def forward(self, x: torch.Tensor) -> dict:
        return {"scores": self.layers(x)}


def cost(demand: Demand, choice: Choice) -> float:
    """A made-up time: least at 32 rows, 16 columns, 4 stages, planes and a limit of 14."""
    tile = choice.tile
    away = abs(tile.rows.bit_length() - 6) + abs(tile.columns.bit_length() - 5)
    away += abs(tile.stages - 4) + (choice.limit != 14 and choice.dataflow != "planes")
    return 1.0 + away + 2.0 * (choice.dataflow != "planes") + abs(choice.parts - 64) / 64


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    """A CPU that is taken for an H200: ops give zeros, and a call takes what `cost` says."""
    import gossamer.ops.launch as launch

    monkeypatch.setenv("GOSSAMER_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(launch, "unusable", lambda device, index: "")
    for module in (recording, plans):
        monkeypatch.setattr(module, "architecture", lambda device: "sm_90")
    monkeypatch.setattr(plans, "device_name", lambda arch: "NVIDIA H200" if arch == "sm_90" else "")
    ran: list[tuple[Demand, Choice]] = []

    class Backend:
        """What runs a convolution: nothing, but it asks for the choice as a backend does."""

        @staticmethod
        def conv(x, weight, lists, rows, groups, epilogue):
            taps, inputs, outputs = weight.shape
            demand = Demand("conv", "sm_90", x.dtype, inputs, outputs // groups, taps)
            ran.append((demand, choose(demand, rows)))
            assert (len(lists[1]) == 3) == (ran[-1][1].dataflow == "planes")
            return x.new_zeros(rows, outputs)

        @staticmethod
        def conv_weight_grad(x, grad, lists, groups):
            widths = x.shape[1] // groups, grad.shape[1] // groups
            demand = Demand("weight_grad", "sm_90", x.dtype, *widths, TAPS)
            ran.append((demand, choose(demand, grad.shape[0])))
            return x.new_zeros(TAPS, widths[0], grad.shape[1])

    monkeypatch.setattr("gossamer.ops.conv.select", lambda *_: Backend)

    class Clock:
        def __init__(self, device):
            self.device = device

        def __call__(self, run):
            run()
            return cost(*ran[-1])

    monkeypatch.setattr(tuning, "Clock", Clock)
    plans.forget()
    yield ran
    plans.forget()


def batches(count: int = 1) -> list[torch.Tensor]:
    return [torch.randn(ROWS, 16) for _ in range(count)]


def problems(tuned: tuning.Tuned) -> dict[str, tuning.Finding]:
    return {found.problem: found for found in tuned.findings}


@pytest.mark.usefixtures("gpu")
def test_each_size_of_layer_is_a_problem_once_and_depthwise_ones_are_none():
    found = problems(tune(Network(), batches(2)))
    assert set(found) == {
        "conv float32 tf32x3 16->32 taps 27 rows 2^6",
        "conv float32 tf32x3 32->32 taps 27 rows 2^6",
    }


@pytest.mark.usefixtures("gpu")
def test_in_training_gradients_are_problems_too():
    found = problems(tune(Network(), batches(), training=True))
    assert "weight_grad float32 tf32x3 32->32 taps 27 rows 2^6" in found
    assert "weight_grad float32 tf32x3 16->32 taps 27 rows 2^6" in found
    # The features of the first layer want no gradient.
    assert "conv float32 tf32x3 32->16 taps 27 rows 2^6" not in found


@pytest.mark.usefixtures("gpu")
def test_a_fused_convolution_is_the_problem_that_it_would_be_alone():
    x, weight = torch.zeros(ROWS, 16), torch.zeros(TAPS, 16, 32)
    with recording.Recorder() as recorder:
        nothing = (None, None, None, "none", 0.0)
        torch.ops.gossamer.conv_fused(x, weight, table("sorted"), ROWS, 1, *nothing)
    assert list(recorder.calls) == [(replace(DEMAND, inputs=16, outputs=32), 6)]


@pytest.mark.usefixtures("gpu")
def test_what_is_found_is_never_slower_and_is_chosen_from_then_on():
    before = choose(Demand("conv", "sm_90", torch.float32, 32, 32, TAPS), ROWS)
    tuned = tune(Network(), batches(), training=True)
    for found in tuned.findings:
        assert found.after < found.before and found.tried > 5
    after = choose(Demand("conv", "sm_90", torch.float32, 32, 32, TAPS), ROWS)
    assert after == problems(tuned)["conv float32 tf32x3 32->32 taps 27 rows 2^6"].choice != before
    assert after.tile.rows == 32 and after.tile.columns == 16 and after.dataflow == "planes"
    assert store.read(tuned.file).choices.keys() == problems(tuned).keys()
    assert choose(Demand("conv", "sm_80", torch.float32, 32, 32, TAPS), ROWS).tile != after.tile


@pytest.mark.usefixtures("gpu")
def test_the_dataflow_is_settled_for_a_kind_of_layer_not_for_a_number_of_rows():
    tuned = tune(Network(), batches())
    kept = store.read(tuned.file).dataflows
    assert kept["float32 tf32x3 16,32 taps 27"] == "planes", "measured to be best, not the table's"
    assert choose(Demand("conv", "sm_90", torch.float32, 32, 16, TAPS), 10**6).dataflow == "planes"


@pytest.mark.usefixtures("gpu")
def test_the_model_stays_as_it_was():
    network = Network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    tune(network, batches(), training=True)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(p.grad is None for p in network.parameters())


@pytest.mark.usefixtures("gpu")
def test_progress_is_told_from_nothing_to_all():
    told = []
    tuned = tune(Network(), batches(), report=lambda *step: told.append(step))
    names = [found.problem for found in tuned.findings]
    steps = [(name, at, 2) for at, name in enumerate(names)]
    assert told == [("dataflows", 0, 2), *steps, ("done", 2, 2)]


@pytest.mark.usefixtures("gpu")
def test_a_choice_that_does_not_fit_the_gpu_is_passed_over(monkeypatch):
    from triton.runtime.errors import OutOfResources

    class Refusing(tuning.Clock):
        def __call__(self, run):
            rows = choose(DEMAND, ROWS).tile.rows
            if rows > 128:
                raise RuntimeError("Triton Error [CUDA]: too many resources")
            if rows < 64:
                raise OutOfResources(1, 0, "shared memory")
            return super().__call__(run)

    monkeypatch.setattr(tuning, "Clock", Refusing)
    for found in tune(Network(), batches()).findings:
        assert found.choice.tile.rows in (64, 128)


@pytest.mark.usefixtures("gpu")
def test_an_error_of_what_is_chosen_now_is_told(monkeypatch):
    class Broken(tuning.Clock):
        def __call__(self, run):
            raise RuntimeError("no such card")

    monkeypatch.setattr(tuning, "Clock", Broken)
    with pytest.raises(RuntimeError, match="no such card"):
        tune(Network(), batches())


@pytest.mark.usefixtures("gpu")
def test_a_model_without_a_choice_is_an_error():
    with pytest.raises(ValueError, match="nothing to tune"):
        tune(nn.Linear(16, 3), batches())


def test_without_a_gpu_it_says_what_is_missing(monkeypatch):
    monkeypatch.setattr("gossamer.ops.launch.interpreted", lambda: False)
    import gossamer.ops.launch as launch

    launch.unusable.cache_clear()
    with pytest.raises(ValueError, match=r"model is on cpu.*move it to a GPU"):
        tune(nn.Linear(2, 2), [])


def test_neighbours_differ_in_one_thing_and_fit_the_contract():
    for op, choice in (
        ("conv", Choice("sorted", TILE, 14, 0, "tf32x3")),
        ("conv", Choice("planes", TILE, 0, 0, "tf32x3")),
        ("weight_grad", Choice("sorted", TILE, 0, 264, "tf32x3")),
    ):
        found = list(neighbours(replace(DEMAND, op=op), choice))
        assert len(found) == len(set(found)) >= 7 and choice not in found
        for other in found:
            differences = sum(
                getattr(other, name) != getattr(choice, name) for name in ("limit", "parts")
            )
            sizes = ("rows", "columns", "channels", "warps", "stages")
            differences += sum(getattr(other.tile, n) != getattr(TILE, n) for n in sizes)
            assert differences == 1
            assert 256 % other.tile.rows == 0 and other.tile.columns <= 64
            assert (other.dataflow, other.precision) == (choice.dataflow, "tf32x3")


def _keep(file, number: int) -> None:
    choice = Choice("sorted", TILE, number, 0, "ieee")
    keep(file, store.Measured({f"flow {number}": "planes"}, {f"problem {number}": choice}))


def test_several_processes_keep_what_each_found(tmp_path):
    file = tmp_path / "folder" / "card.json"
    with ProcessPoolExecutor(4) as pool:
        list(pool.map(_keep, [file] * 12, range(12)))
    kept = store.read(file)
    assert set(kept.choices) == {f"problem {n}" for n in range(12)} and len(kept.dataflows) == 12
    assert sorted(path.name for path in file.parent.iterdir()) == ["card.json", "card.lock"]


def test_a_damaged_file_is_begun_anew(tmp_path):
    file = tmp_path / "card.json"
    file.write_text("{")
    _keep(file, 3)
    assert set(store.read(file).choices) == {"problem 3"}


def test_where_files_cannot_be_locked_they_are_written_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(keeping, "fcntl", None)
    _keep(tmp_path / "card.json", 1)
    assert json.loads((tmp_path / "card.json").read_text())["dataflows"] == {"flow 1": "planes"}
