"""A whole run: who is measured beside whom, on what, and in which form it is told."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from gossamer.bench import ours, run
from gossamer.bench.agreement import DisagreementError
from gossamer.bench.cases import CASES, LAYER_CASES, NETWORK_CASES, ORDERS, Problem, Work
from gossamer.bench.plan import FEWEST_ROUNDS, Plan
from gossamer.bench.results import Results
from gossamer.bench.run import measure
from tests.bench.clouds import scan_file

FIELDS = (
    "case kind channels threads order voxels pairs ours_ms peer peer_ms ratio gflops "
    "sgemm_gflops share ours_min_ms peer_min_ms"
).split()


@pytest.fixture(scope="module", autouse=True)
def made_small():
    """Two threads can be asked for wherever this runs, and what says nothing takes no time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gossamer.bench.plan.processor", lambda: SimpleNamespace(cores=2))
        patch.setattr("gossamer.bench.plan.SECOND_GRID", (41, 32, 32))
        patch.setattr("gossamer.bench.plan.FEWEST_ROUNDS", 2)
        for module in ("run", "timing"):
            patch.setattr(f"gossamer.bench.{module}.SGEMM", 16)
        yield


@pytest.fixture(scope="module")
def plan(tmp_path_factory) -> Plan:
    scan = scan_file(tmp_path_factory.mktemp("scan"))
    return Plan(scan, (0.6, 0.6, 0.6), (3, 8), (1, 2), rounds=2)


def peer(name: str = "other 1.0", safe: int | None = None, factor: float = 1.0, reason: str = ""):
    """A library that does what gossamer does, `factor` times as much."""

    def work(problem: Problem) -> Work:
        right = ours.work(problem)

        def values(result):
            return {name: value * factor for name, value in right.values(result).items()}

        return Work(right.run, values)

    return SimpleNamespace(
        NAME=name, SAFE_THREADS=safe, CASES=("forward",), refuses=lambda _: reason, work=work
    )


def measured(monkeypatch, plan: Plan, **peers) -> Results:
    monkeypatch.setattr(run, "installed", lambda: (peers, []))
    return measure(replace(plan, cases=("forward",), channels=(3,)))


@pytest.fixture(scope="module")
def results(plan) -> Results:
    """Everything that can be measured here, on a scan of a room."""
    return measure(plan)


def test_the_file_has_a_machine_and_rows_of_exactly_these_fields(results):
    told = json.loads(json.dumps(results.as_json()))
    assert list(told) == ["machine", "rows"]
    assert all(list(row) == FIELDS for row in told["rows"])
    for name in ("cpu", "cores", "torch", "gossamer", "scan", "voxel_size_m", "rounds"):
        assert told["machine"][name]


def test_every_case_kind_width_thread_count_and_order_has_a_row(results):
    found = {(r.case, r.kind, r.channels, r.threads, r.order) for r in results.rows}
    layers = [(kind, c) for kind in ("submanifold", "strided") for c in (3, 8)]
    wanted = {
        "rulebook": [("submanifold", 0), ("strided", 0)],
        **{case: layers for case in LAYER_CASES},
        **{case: [("minkunet", 16), ("second", 16)] for case in NETWORK_CASES},
    }
    assert found == {
        (case, *which, threads, order)
        for case in CASES
        for which in wanted[case]
        for threads in (1, 2)
        for order in ORDERS
    }


def test_figures_of_a_row_fit_together(results):
    for row in results.rows:
        assert 0 < row.ours_min_ms <= row.ours_ms and row.voxels > 0 and row.pairs > 0
        assert row.sgemm_gflops > 0
        assert (row.gflops is None) == (row.share is None) == (row.case == "rulebook")
        if row.gflops is not None:
            assert row.share == pytest.approx(row.gflops / row.sgemm_gflops)
        if row.peer is None:
            assert row.peer_ms is None and row.peer_min_ms is None and row.ratio is None
        else:
            assert 0 < row.peer_min_ms <= row.peer_ms
            assert row.ratio == pytest.approx(row.peer_ms / row.ours_ms)


def test_plain_torch_is_always_a_peer_with_as_many_threads(results):
    for row in results.rows:
        if (row.peer or "").startswith("torch"):
            assert row.peer.endswith(f", {row.threads} thread{'s' * (row.threads > 1)}")
    assert {row.case for row in results.rows if (row.peer or "").startswith("torch")} == {
        "rulebook",
        *LAYER_CASES,
    }


def test_spconv_is_measured_at_one_thread_and_marked_as_wrong_at_two(results):
    pytest.importorskip("spconv")
    beside = {(row.case, row.threads, row.peer) for row in results.rows if "spconv" in row.peer}
    for case in CASES:
        labels = {label for c, threads, label in beside if (c, threads) == (case, 2)}
        one, two = sorted(labels)
        assert one.endswith(", 1 thread") and two.endswith(", 2 threads (wrong results)")
        assert {label for c, threads, label in beside if (c, threads) == (case, 1)} == {one}


def test_without_a_peer_gossamer_is_measured_alone(monkeypatch, plan):
    rows = measured(monkeypatch, plan).rows
    assert len(rows) == 2 * 2 * 2 and all(row.peer is None for row in rows)


def test_a_peer_that_refuses_is_left_out_with_its_reason(monkeypatch, plan):
    found = measured(monkeypatch, plan, other=peer(reason="too large"))
    assert all(row.peer is None for row in found.rows)
    assert len(found.notes) == 1
    assert found.notes[0].startswith("other 1.0: too large; left out of forward submanifold C=3")


def test_a_peer_that_computes_something_else_is_not_timed(monkeypatch, plan):
    with pytest.raises(DisagreementError, match=r"forward submanifold C=3, sorted, other 1\.0: "):
        measured(monkeypatch, plan, other=peer(factor=1.001))


def test_what_a_peer_computes_with_more_threads_than_are_safe_is_not_looked_at(monkeypatch, plan):
    liar = peer(safe=1)
    right = liar.work
    liar.work = lambda problem: (
        peer(factor=2).work(problem) if torch.get_num_threads() > 1 else right(problem)
    )
    labels = {(row.threads, row.peer) for row in measured(monkeypatch, plan, other=liar).rows}
    assert labels == {
        (1, "other 1.0, 1 thread"),
        (2, "other 1.0, 1 thread"),
        (2, "other 1.0, 2 threads (wrong results)"),
    }


def test_the_caller_keeps_its_threads(monkeypatch, plan):
    before = torch.get_num_threads()
    measured(monkeypatch, plan)
    assert torch.get_num_threads() == before


def test_progress_is_told_from_none_to_all(monkeypatch, plan):
    monkeypatch.setattr(run, "installed", lambda: ({}, []))
    told = []
    measure(replace(plan, cases=("rulebook",)), lambda *step: told.append(step))
    assert [done for _, done, _ in told] == list(range(5))
    assert {total for _, _, total in told} == {4}
    assert told[0][0] == "rulebook submanifold, sorted"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": (16, 0)}, r"channels is \(16, 0\); wanted 1 or more"),
        ({"channels": ()}, r"channels is \(\); wanted at least one value"),
        ({"channels": (16, 16)}, r"channels is \(16, 16\); wanted .* each once"),
        ({"threads": (0,)}, r"threads is \(0,\); wanted 1 or more"),
        ({"threads": (3,)}, r"threads is \(3,\); this process may use 2 cores"),
        ({"cases": ("backward",)}, "cases is 'backward'; wanted one of 'rulebook'"),
        ({"voxel_size": (0.1, 0.0, 0.1)}, r"voxel_size is \(0.1, 0.0, 0.1\); wanted three"),
        ({"voxel_size": (0.1, float("nan"), 0.1)}, "voxel_size is .*; wanted three"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Plan(**options)


def test_a_median_of_fewer_than_seven_rounds_is_refused(monkeypatch):
    monkeypatch.setattr("gossamer.bench.plan.FEWEST_ROUNDS", FEWEST_ROUNDS)
    assert Plan(rounds=7).rounds == 7
    with pytest.raises(ValueError, match="rounds is 6; wanted 7 or more"):
        Plan(rounds=6)


def test_a_scan_that_does_not_exist_is_told_before_anything_runs(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        Plan(tmp_path / "none.npz")
