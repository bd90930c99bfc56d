"""The script for a GPU runs to its end in Triton's interpreter, and survives what goes wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.interpreter

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SCRIPT = BENCHMARKS / "gpu.py"
# Tasks that end in every way that a task can, dealt out as the script deals out its own.
ENDINGS = """
import json, os, sys, time
sys.path.insert(0, {benchmarks!r})
from on_gpu import apart, scenes
from on_gpu.tasks import MissingError, Order, Task

def fails(clock):
    raise AssertionError("wanted: the truth")

def lacks(clock):
    raise MissingError("no such library")

def tasks(setting):
    ends = lambda clock: {{"ms": 1.0}}, lambda clock: os._exit(9), fails, lacks, lambda clock: None
    return [Task(name, end) for name, end in zip("abcde", ends)]

if "--child" in sys.argv:
    apart.be_a_child({{"ends": tasks}})
else:
    scenes.save({scenes!r}, {{}})
    order = Order("ends", list("abcde"), "tiny", {scenes!r}, time.time() + 100, False, 90.0)
    print(json.dumps(list(apart.run_apart(order, 1))))
"""


def run(*words: str | Path, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        cwd=BENCHMARKS.parent,
        env={**os.environ, "PYTHONPATH": str(BENCHMARKS.parent)} | environment,
    )


def test_every_section_runs_and_every_law_holds(tmp_path):
    file = tmp_path / "gpu.json"
    done = run(SCRIPT, "--quick", "--processes", "0", "--json", file)
    assert done.returncode == 0, done.stdout + done.stderr
    sections = json.loads(file.read_text())["sections"]
    assert list(sections) == [
        *("machine", "laws", "rulebooks", "layers", "networks", "questions", "peers", "choices")
    ]
    ends = {each["name"]: each["status"] for found in sections.values() for each in found}
    assert set(ends.values()) <= {"ok", "missing"}
    missing = {name for name, end in ends.items() if end == "missing"}
    assert missing <= {"several devices", "launching", "spconv: facts", "spconv-triton: facts"}
    law = next(each for each in sections["laws"] if each["name"].startswith("conv"))
    assert 0 < max(law["share_of_allowed_error"].values()) <= 1
    assert "0 failed or crashed, 0 left out" in done.stdout


def test_a_task_that_dies_fails_or_lacks_something_takes_no_other_along(tmp_path):
    script = tmp_path / "ends.py"
    names = {"benchmarks": str(BENCHMARKS), "scenes": str(tmp_path / "scenes.pt")}
    script.write_text(ENDINGS.format(**names))
    done = run(script)
    assert done.returncode == 0, done.stderr
    outcomes = {each["name"]: each for each in json.loads(done.stdout.splitlines()[-1])}
    ends = {name: each["status"] for name, each in outcomes.items()}
    assert ends == {"a": "ok", "b": "crashed", "c": "failed", "d": "missing", "e": "ok"}
    assert outcomes["a"]["ms"] == 1.0
    assert "exit code 9" in outcomes["b"]["message"]
    assert "the truth" in outcomes["c"]["message"]


def test_without_a_gpu_the_script_says_so_and_what_can_be_done():
    done = run(SCRIPT, "--json", "never.json", TRITON_INTERPRET="0", CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 1
    assert "no GPU" in done.stderr
    assert "TRITON_INTERPRET=1" in done.stderr


def figures(milliseconds: float) -> dict:
    return {"ms": milliseconds}


def layer(name: str, **times: float) -> dict:
    return {"name": name, "status": "ok", **{key: figures(ms) for key, ms in times.items()}}


def test_the_table_compares_with_the_ceiling_the_goal_and_the_peers(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from on_gpu import report

    name, times = "street submanifold C=64 fp16", ("forward", "step", "cold_step")
    ours = layer(name, **dict(zip(times, (0.026, 0.1, 0.2), strict=True)))
    ours |= {"voxels": 100_000, "flops": 1e9, "least_bytes": 26e6, "plan": {"dataflow": "sorted"}}
    ours["flows"] = {"sorted": {"forward": figures(0.026)}, "planes": {"forward": figures(0.04)}}
    theirs = layer(f"spconv: {name}", **dict(zip(times, (0.052, 0.3, 0.5), strict=True)))
    machine = [
        {"name": "copy", "status": "ok", "gb_s": 2000.0},
        {"name": "matmul fp16", "status": "ok", "tflops": 500.0},
    ]
    lost = {"name": "conv", "status": "failed", "message": "AssertionError: bits"}
    sections = {"machine": machine, "layers": [ours], "peers": [theirs], "laws": [lost]}
    lines = list(report.lines({"sections": sections}))
    row = next(line for line in lines if name in line and "ours" not in line)
    # 26 MB at 2000 GB/s are 13 us; the goal is 1.6 times 13 us.
    assert "26.0*" in row
    assert "50 %" in row
    assert "| 1.25 |" in row
    assert "spconv 2.00 3.00 2.50" in row
    assert any("failed: conv: AssertionError: bits" in line for line in lines)
