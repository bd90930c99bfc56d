"""A training program written for spconv learns alike on gossamer and on spconv itself."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.conformance.conftest import SPCONV_IS_HERE
from tests.conformance.libraries import LIBRARY

PROGRAM = Path(__file__).resolve().parents[2] / "examples" / "spconv_digits.py"
EPOCHS = 6
# spconv's CPU wheel asks for a CUDA stream in its gradients, which a torch without CUDA refuses.
WITHOUT_CUDA = (
    "import runpy, sys; from spconv.pytorch import ops; ops.get_current_stream = lambda: 0;"
    "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
)


def learned(*start: str, checkpoint: Path) -> tuple[list[float], list[float]]:
    """The loss and the accuracy on held-out digits after each epoch."""
    words = [str(PROGRAM), "--epochs", str(EPOCHS), "--checkpoint", str(checkpoint)]
    # With more threads, spconv's sums race on a CPU and come out wrong.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *start, *words], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = re.findall(r"loss ([\d.]+)  accuracy ([\d.]+)", done.stdout)
    assert len(found) == EPOCHS, done.stdout
    losses, accuracies = zip(*found, strict=True)
    return list(map(float, losses)), list(map(float, accuracies))


@pytest.mark.skipif(LIBRARY != "gossamer", reason="this compares the two")
def test_an_unedited_program_learns_as_it_does_on_spconv(tmp_path):
    ours = tmp_path / "ours.pt"
    run = ("-m", "gossamer", "run", "--as", "spconv")
    losses, accuracies = learned(*run, checkpoint=ours)
    assert accuracies[-1] > 0.85
    if not SPCONV_IS_HERE:
        pytest.skip("it learns; spconv is not installed to compare with")
    theirs = tmp_path / "theirs.pt"
    their_losses, their_accuracies = learned("-c", WITHOUT_CUDA, checkpoint=theirs)
    # The same weights, batches and sums up to rounding: alike at first, and later as two runs are.
    assert losses[:2] == pytest.approx(their_losses[:2], rel=5e-3)
    assert losses == pytest.approx(their_losses, rel=0.2)
    assert accuracies[-1] == pytest.approx(their_accuracies[-1], abs=0.06)
    mine, other = torch.load(ours), torch.load(theirs)
    assert {name: t.shape for name, t in mine.items()} == {n: t.shape for n, t in other.items()}
