"""Layers that the real spconv pickled whole run here with its results."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from gossamer.compat.cumm.tensorview.gemm import Activation
from gossamer.compat.layers.activation import number

ROOT = Path(__file__).resolve().parents[2]
NETWORK = """
import sys, torch
from torch import nn
import spconv.pytorch as sp
from cumm import tensorview as tv
torch.manual_seed(0)
torch.set_num_threads(1)
net = sp.SparseSequential(
    sp.SubMConv3d(4, 8, 3, indice_key="a"),
    nn.BatchNorm1d(8),
    nn.ReLU(),
    sp.SparseConv3d(8, 8, 3, 2, 1, indice_key="b"),
    sp.SparseInverseConv3d(8, 6, 3, indice_key="b"),
    nn.ReLU(),  # because the real pooling's least maximum is 0
    sp.SparseMaxPool3d(2, 2),
    sp.ToDense(),
).eval()
"""
SCENE = """
indices = torch.randperm(216, generator=torch.Generator().manual_seed(0))[:60]
indices = torch.stack([indices * 0, indices // 36, indices // 6 % 6, indices % 6], 1).int()
features = torch.randn(60, 4, generator=torch.Generator().manual_seed(1))
x = sp.SparseConvTensor(features, indices, [6, 6, 6], 1)
"""
# Without a GPU the real one runs neither a fused bias nor an activation, but it pickles them.
SAVED = (
    NETWORK
    + SCENE
    + """
net.train()[1].eval()
y = net(x).detach()
net.eval()
net[0].act_type = tv.gemm.Activation.ReLU
torch.save((net, y), sys.argv[1])
"""
)
LOADED = (
    """
import sys, torch
from gossamer.compat import install
install("spconv")
import spconv.pytorch as sp
from cumm import tensorview as tv
torch.set_num_threads(1)
net, y = torch.load(sys.argv[1], weights_only=False)
assert net[0].act_type == tv.gemm.Activation.ReLU
net[0].act_type = tv.gemm.Activation.None_
"""
    + SCENE
    + """
torch.testing.assert_close(net(x), y)
again = sp.SparseSequential(*net)
again.load_state_dict(net.state_dict())
again.train()(x).sum().backward()
assert all(p.grad is not None for p in again.parameters())
"""
)

# A grid with no two axes alike.
TOOLS = """
import sys, torch
from spconv.pytorch.utils import PointToVoxel
from spconv.tools import CUDAKernelTimer
torch.set_num_threads(1)
points = torch.rand(50, 4, generator=torch.Generator().manual_seed(0)) * 8 - 1
"""
SAVED_TOOLS = (
    TOOLS
    + """
voxelizer = PointToVoxel([0.5, 1.0, 2.0], [0.0, -1.0, 1.0, 4.0, 5.0, 7.0], 4, 30, 3)
# Voxelized before, and then pickled: what it holds is written over.
voxels = [part.clone() for part in voxelizer(points)]
torch.save((voxelizer, voxels, CUDAKernelTimer()), sys.argv[1])
"""
)
LOADED_TOOLS = (
    "from gossamer.compat import install; install('spconv')\n"
    + TOOLS
    + """
voxelizer, voxels, timer = torch.load(sys.argv[1], weights_only=False)
for mine, theirs in zip(voxelizer(points), voxels, strict=True):
    torch.testing.assert_close(mine, theirs)
timer.enable = True  # which the real one never is without a GPU
with timer.namespace("outer"), timer.record("inner"):
    pass
assert list(timer.get_all_pair_time()) == ["outer.inner"]
"""
)


def done(program: str, file: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", program, str(file)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr


def test_a_network_that_the_real_one_pickled_gives_its_results(tmp_path):
    pytest.importorskip("spconv")
    done(SAVED, tmp_path / "network.pt")
    done(LOADED, tmp_path / "network.pt")


def test_a_voxelizer_and_a_timer_that_the_real_one_pickled_work(tmp_path):
    pytest.importorskip("spconv")
    done(SAVED_TOOLS, tmp_path / "tools.pt")
    done(LOADED_TOOLS, tmp_path / "tools.pt")


@pytest.mark.parametrize("member", Activation.__members__.values(), ids=str)
def test_an_activation_is_read_as_upstream_writes_it(member):
    module = Activation.__module__.encode()
    # A new object without arguments, then its number for its state.
    written = b"\x80\x02c%s\nActivation\n)\x81K%cb." % (module, int(member))
    read = pickle.loads(written)
    assert read == member
    assert {member: "found"}[read] == "found"
    assert (read.name, read.value, number(read)) == (member.name, member.value, int(member))
    assert [read == other for other in Activation.__members__.values()].count(True) == 1


def test_an_activation_of_no_name_is_refused():
    with pytest.raises(ValueError, match="value is 4; wanted an int from 0 to 3"):
        Activation(4)
