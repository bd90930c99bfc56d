"""The memory of a training step, in bytes a value that the network's layers put out."""

import subprocess
import sys

import pytest

from gossamer.training.memory import CLEAR, peak_of, peak_so_far

# In a process of its own: memory that an earlier test freed would be taken up again unseen.
PROGRAM = """
import torch
import gossamer
from gossamer.models import MinkUNet
from gossamer.nn import Linear
from gossamer.nn.conv import SparseConvolution
from gossamer.synthetic import simulate
from gossamer.training.memory import peak_of

positions = simulate(0).cloud.positions
values = 0

def count(layer, inputs, output):
    global values
    values += output.features.numel()

def step(model, positions):
    x, _ = gossamer.voxelize(positions, positions, 0.2)
    model(x).features.square().mean().backward()

model = MinkUNet(3, 12, 0.5)
step(MinkUNet(3, 12, 0.5), positions[::50])  # loads the kernels
peak = peak_of(lambda: step(model, positions))
for module in model.modules():
    if isinstance(module, (SparseConvolution, Linear)):
        module.register_forward_hook(count)
step(model, positions)
print(peak / values)
"""


@pytest.mark.skipif(not CLEAR.exists(), reason="only Linux tells the peak of one call")
def test_a_training_step_of_minkunet_takes_less_than_60_bytes_a_value():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True)
    taken = float(done.stdout)
    # Two float32 a value are kept for the backward pass; less would mean it was not measured.
    assert 4 < taken < 60


@pytest.mark.skipif(not CLEAR.exists(), reason="only Linux tells the peak of one call")
def test_the_peak_of_a_call_is_what_it_holds_at_most():
    size = 200_000_000

    def hold() -> None:
        held = bytearray(size)
        held[::4096] = b"1" * len(held[::4096])

    taken = peak_of(hold)
    assert taken is not None and 0.95 * size < taken < 1.2 * size
    before = peak_so_far()
    assert before is not None and before >= taken
    again = peak_of(lambda: None)
    assert again is not None and again < 0.1 * size
