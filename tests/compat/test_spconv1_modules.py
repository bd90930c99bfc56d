"""The tensor, containers and checkpoints of spconv 1.2, and `import spconv` in its style."""

import copy
import os
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import gossamer.compat.spconv1 as spconv
from gossamer.compat.spconv1.modules import is_sparse_conv, is_spconv_module
from gossamer.compat.spconv1.spatial import RemoveDuplicate
from tests.compat.test_spconv1 import scene

ROOT = Path(__file__).resolve().parents[2]


def test_features_are_assigned_and_added_to_in_place():
    x = scene([5, 6, 7])
    before = x.features.clone()
    x.features = x.features * 2
    x.features += 1
    assert x.features.equal(before * 2 + 1)
    y = spconv.SubMConv3d(3, 4, 3).double()(x)
    y.features = nn.functional.relu(y.features)
    assert y.dense().min() == 0 and y.features.shape == (len(before), 4)


def test_a_residual_block_as_programs_write_it():
    class Block(spconv.SparseModule):
        def __init__(self):
            super().__init__()
            layers = [nn.BatchNorm1d(4), nn.ReLU(), spconv.SubMConv3d(4, 4, 3, indice_key="a")]
            self.branch = spconv.SparseSequential(*layers)

        def forward(self, x):
            identity = spconv.SparseConvTensor(x.features, x.indices, x.spatial_shape, x.batch_size)
            out = self.branch(x)
            out.features += identity.features
            return out

    x = scene([5, 6, 7], channels=4)
    start, block = x.features.clone(), Block().double()
    norm, relu, conv = block.branch
    alone = spconv.SparseConvTensor(relu(norm(start)), x.indices, [5, 6, 7], 2)
    wanted = conv(alone).features + start
    torch.testing.assert_close(block(x).features, wanted)


@pytest.mark.parametrize("training", [True, False])
def test_a_chain_assigns_the_features_of_its_input_where_it_does_not_begin_with_a_sparse_one(
    training,
):
    x = scene([5, 6, 7], channels=4)
    start = x.features
    chain = spconv.SparseSequential(nn.BatchNorm1d(4), nn.ReLU()).double().train(training)
    other = copy.deepcopy(chain)
    assert chain(x) is x
    torch.testing.assert_close(x.features, other[1](other[0](start)))
    y = spconv.SparseSequential(spconv.SubMConv3d(4, 4, 3), nn.ReLU()).double()(x)
    assert y is not x and x.features.shape == start.shape


def test_the_sparity_of_a_tensor_and_of_what_a_chain_saw():
    x = scene([4, 5, 5], count=30)
    assert x.sparity == pytest.approx(len(x.indices) / 200)
    assert x.spatial_size == 100
    chain = spconv.SparseSequential(
        OrderedDict(a=spconv.SubMConv3d(3, 4, 3), b=nn.ReLU(), c=spconv.ToDense())
    ).double()
    chain(x)
    assert set(chain.sparity_dict) == {"a", "c"} and chain.sparity_dict["a"] == x.sparity


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_a_fused_chain_computes_what_the_chain_does_in_eval_mode(bias, affine):
    chain = spconv.SparseSequential(
        spconv.SubMConv3d(3, 4, 3, bias=bias, indice_key="a"),
        nn.BatchNorm1d(4, affine=affine),
        nn.ReLU(),
        spconv.SparseConv3d(4, 5, 3, 2, 1, bias=bias),
        nn.BatchNorm1d(5, affine=affine),
    ).double()
    for seed in range(3):
        chain(scene([5, 6, 7], seed=seed))
    fused = chain.eval().fused()
    assert [type(m).__name__ for m in fused] == ["SubMConv3d", "ReLU", "SparseConv3d"]
    assert fused[0].fused_bn and not chain[0].fused_bn
    x = scene([5, 6, 7], seed=9)
    wanted = chain(scene([5, 6, 7], seed=9)).features
    torch.testing.assert_close(fused(x).features, wanted)
    with torch.no_grad():
        torch.testing.assert_close(chain(scene([5, 6, 7], seed=9)).features, wanted)


def test_what_counts_as_sparse():
    conv = spconv.SubMConv3d(3, 4, 3)
    assert is_sparse_conv(conv) and is_spconv_module(conv) and is_spconv_module(spconv.ToDense())
    assert not is_spconv_module(nn.ReLU()) and not is_sparse_conv(spconv.ToDense())


def test_tables_grid_and_duplicates():
    x = scene([5, 6, 7])
    table = spconv.ConcatTable().add(spconv.Identity()).add(spconv.SubMConv3d(3, 3, 3).double())
    one, two = table(x)
    assert spconv.JoinTable()([one, two]).features.shape[1] == 6
    torch.testing.assert_close(spconv.AddTable()([one, two]).features, x.features + two.features)
    x = spconv.SparseConvTensor(x.features, x.indices, np.array([5, 6, 7])[::-1][::-1], 2, "grid")
    assert x.grid == "grid" and spconv.SubMConv3d(3, 4, 3).double()(x).grid == "grid"
    assert spconv.RemoveGrid()(x).grid is None and x.spatial_shape == [5, 6, 7]
    repeated = scene([3, 3], count=40, repeat=True)
    assert len(RemoveDuplicate()(repeated).indices) == len(repeated.indices.unique(dim=0))


def test_from_dense_and_back():
    grid = scene([5, 6, 7]).dense(channels_first=False)
    x = spconv.SparseConvTensor.from_dense(grid)
    assert isinstance(x, spconv.SparseConvTensor) and x.dense(channels_first=False).equal(grid)


def in_layout(weight, layout):
    """A weight [*k, C_in, C_out] as other versions have stored it, one of one tap as it lies."""
    out, inner = weight.shape[-1], weight.shape[-2]
    *size, _, _ = weight.shape
    shape = {"KRSC": (out, *size, inner), "RSKC": (*size, out, inner), "RSCK": (*size, inner, out)}
    if weight.numel() == out * inner:
        return weight.reshape(shape[layout])
    moved = {"KRSC": weight.movedim(-1, 0), "RSKC": weight.transpose(-1, -2), "RSCK": weight}
    return moved[layout].contiguous()


@pytest.mark.parametrize("size", [1, 3, (1, 3, 3)])
@pytest.mark.parametrize(
    ("layout", "channels"),
    # With as many channels in as out, RSKC looks like RSCK, and is taken for that.
    [("KRSC", (4, 6)), ("RSKC", (4, 6)), ("RSCK", (4, 6)), ("KRSC", (5, 5)), ("RSCK", (5, 5))],
)
def test_checkpoints_load_in_the_layout_of_any_version(layout, size, channels):
    net, other = (nn.Sequential(spconv.SubMConv3d(*channels, size)) for _ in range(2))
    state = net.state_dict()
    stored = OrderedDict(state, **{"0.weight": in_layout(state["0.weight"], layout)})
    other.load_state_dict(stored)
    for name, value in other.state_dict().items():
        assert value.equal(state[name]), name


def test_where_every_layout_fits_a_weight_is_taken_for_one_of_1_x():
    layer = spconv.SubMConv3d(3, 3, 3)
    weight = torch.randn(3, 3, 3, 3, 3)
    layer.load_state_dict({"weight": weight, "bias": torch.zeros(3)})
    assert layer.weight.equal(weight)


def test_a_weight_of_another_kernel_is_refused():
    with pytest.raises(RuntimeError, match="size mismatch"):
        spconv.SubMConv3d(4, 6, 3).load_state_dict(spconv.SubMConv3d(4, 6, 5).state_dict())


def test_wrong_input_is_said():
    x, layer = scene([5, 6, 7]), spconv.SubMConv3d(5, 4, 3).double()
    with pytest.raises(AssertionError, match="3 channels"):
        layer(x)
    with pytest.raises(TypeError, match="SparseConvTensor"):
        layer(x.features)
    with pytest.raises(AssertionError, match="int32"):
        spconv.SparseConvTensor(x.features, x.indices.long(), [5, 6, 7], 2)
    x.indices[0, 1] = 5
    with pytest.raises(ValueError, match="indices"):
        spconv.SubMConv3d(3, 4, 3).double()(x)


PROGRAM = """
from gossamer.compat import install
install("spconv", api="1.2")
import torch
import spconv
import spconv.functional as Fsp
from spconv import ops
from spconv.conv import SparseConvolution
from spconv.identity import Identity
from spconv.modules import SparseModule, SparseSequential
from spconv.pool import SparseMaxPool
from spconv.tables import JoinTable
from spconv.utils import VoxelGeneratorV2, rbbox_iou
assert spconv.__version__ == "1.2.1" and not hasattr(spconv, "pytorch")
made = VoxelGeneratorV2([1, 1, 1], [0, 0, 0, 8, 6, 4], 2).generate(torch.rand(90, 4).numpy() * 4)
rows = torch.nn.functional.pad(torch.from_numpy(made["coordinates"]), (1, 0))
features = torch.from_numpy(made["voxels"]).mean(1)
x = spconv.SparseConvTensor(features, rows, [4, 6, 8], 1)
net = SparseSequential(spconv.SubMConv3d(4, 8, 3, indice_key="a", use_hash=True), Identity())
y = net(x)
arrays = x.indice_dict["a"]
again = torch.ops.spconv.get_indice_pairs(rows, 1, [4, 6, 8], [4, 6, 8], [3] * 3, [1] * 3, [0] * 3,
                                          [1] * 3, [0] * 3, 1, 0, 0)
assert again[1].equal(arrays[2])
z = torch.ops.spconv.indice_conv(features, net[0].weight, again[1], again[2], len(rows), 0, 1, 0)
torch.testing.assert_close(z + net[0].bias, y.features)
"""


def test_a_program_in_the_style_of_1_2_runs_after_install():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
