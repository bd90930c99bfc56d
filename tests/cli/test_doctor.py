"""`gossamer doctor`: facts that are checked against another source of the same fact."""

import os
import platform
import subprocess
import sys
from types import ModuleType

import numba
import pytest
import torch

from gossamer import doctor
from gossamer.cli import main
from gossamer.ops.dispatch import BACKENDS, FAMILIES


def told_by(capsys, *words: str) -> str:
    with pytest.raises(SystemExit) as left:
        main(("doctor", *words))
    assert left.value.code == 0
    return capsys.readouterr().out


def test_doctor_tells_versions_devices_every_family_and_every_backend(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    told = told_by(capsys)
    for word in (platform.python_version(), torch.__version__, numba.__version__, *FAMILIES):
        assert word in told
    for word in (*BACKENDS, "Devices", "Compiled kernels"):
        assert word in told


def test_a_backend_that_is_refused_is_told_with_its_reason(capsys, monkeypatch):
    reasons = {"conv": {"reference": "", "triton": "no [CUDA] device"}}
    monkeypatch.setattr("gossamer.cli.doctor.explain_backends", lambda: reasons)
    told = told_by(capsys)
    assert "not triton: no [CUDA] device" in told
    assert "not reference" not in told


def test_warm_compiles_first_and_reports_every_kernel(capsys, monkeypatch):
    done = []

    def warm(report):
        for i, name in enumerate(("rulebooks", "conv"), 1):
            report(name, i, 2)
            done.append(name)

    module = ModuleType("gossamer.ops.warm")
    module.warm = warm  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gossamer.ops.warm", module)
    assert "2/2" in told_by(capsys, "--warm")
    assert done == ["rulebooks", "conv"]


def test_an_extra_is_known_by_the_name_that_pip_wants():
    found = {extra.package: extra for extra in doctor.extras()}
    if not found:
        pytest.skip("gossamer is not installed, so its metadata lists nothing")
    assert found["laspy"].extra == "io"
    assert found["typer"].extra == "cli"
    assert found["typer"].version
    assert "pytest" not in found and "gossamer" not in found


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no processor affinity here")
def test_cores_are_those_that_this_process_may_use():
    program = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from gossamer.doctor import processor; print(processor().cores)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == ["1"]


def test_the_kernel_cache_is_where_numba_writes(tmp_path):
    program = (
        "from pathlib import Path\nfrom gossamer.doctor import kernel_cache\n"
        "before = kernel_cache()\n"
        "import importlib.util, sys\n"
        "spec = importlib.util.spec_from_file_location('kernel', sys.argv[1])\n"
        "module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)\n"
        "module.twice(1)\n"
        "after = kernel_cache()\n"
        "print(after.folder, before.files, after.files, after.size)\n"
    )
    kernel = tmp_path / "kernel.py"
    kernel.write_text(
        "from numba import njit\n@njit(cache=True)\ndef twice(x):\n    return 2 * x\n"
    )
    cache = tmp_path / "cache"
    done = subprocess.run(
        [sys.executable, "-c", program, str(kernel)],
        capture_output=True,
        text=True,
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache)},
    )
    folder, before, after, size = done.stdout.split()
    assert (folder, before, after) == (str(cache), "0", "2")
    assert int(size) > 0
