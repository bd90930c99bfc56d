"""Checks for the environment that `run` makes; in any other there is nothing here to collect."""

import importlib.util
import os
import subprocess
import sys

import pytest
import torch

from tests.conformance.libraries import LIBRARY, prepare

collect_ignore_glob = [] if LIBRARY else ["test_*.py"]
# Looked for before the name means another library.
SPCONV_IS_HERE = bool(LIBRARY) and importlib.util.find_spec("spconv") is not None
if LIBRARY:
    prepare(LIBRARY)


@pytest.fixture(scope="session")
def theirs(tmp_path_factory):
    """For each network the weights it starts with and its outputs, on the real spconv."""
    if not SPCONV_IS_HERE:
        pytest.skip("spconv is not installed: pip install 'gossamer[bench]'")
    path = tmp_path_factory.mktemp("spconv") / "outputs.pt"
    # With more threads, spconv's sums race on a CPU and come out wrong.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    program = [sys.executable, "-m", "tests.conformance.on_spconv", str(path)]
    subprocess.run(program, env=environment, check=True)
    return torch.load(path)


@pytest.fixture
def double():
    """Numbers are float64 where nobody says otherwise."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
