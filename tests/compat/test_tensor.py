"""SparseConvTensor: what programs do with one, between layers and after them."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.fx import GraphModule, ProxyableClassMeta, Tracer

import gossamer.compat.spconv.pytorch as spconv
from gossamer.compat.spconv.core import ConvAlgo
from gossamer.compat.spconv.pytorch.core import ThrustSortAllocator, expand_nd, scatter_nd
from gossamer.compat.spconv.pytorch.modules import is_spconv_module
from gossamer.compat.spconv.tools import CUDAKernelTimer
from tests.compat.rows import ORDERS, tensor


def remade(x: spconv.SparseConvTensor, indices: torch.Tensor) -> spconv.SparseConvTensor:
    return spconv.SparseConvTensor(x.features, indices, x.spatial_shape, x.batch_size)


def unet(**options) -> spconv.SparseSequential:
    return spconv.SparseSequential(
        spconv.SubMConv3d(4, 6, 3, indice_key="fine", **options),
        spconv.SparseConv3d(6, 7, 3, 2, 1, indice_key="down", **options),
        spconv.SubMConv3d(7, 7, 3, indice_key="coarse", **options),
        spconv.SparseInverseConv3d(7, 6, 3, "down", **options),
        spconv.SubMConv3d(6, 5, 3, indice_key="fine", **options),
    )


def test_attributes_are_those_that_programs_read():
    x = tensor(3, 40, 4)
    grid, voxels, kept = torch.ones(2), torch.ones(3), {"key": 1}
    y = spconv.SparseConvTensor(x.features, x.indices, (5, 6, 7), 3, grid, voxels, kept)
    assert y.features is x.features is y._features and y.indices is x.indices
    assert (y.spatial_shape, y.batch_size) == ([5, 6, 7], 3)
    assert y.grid is grid and y.voxel_num is voxels and y.indice_dict is kept
    assert y.spatial_size == 210 and isinstance(y.spatial_size, np.integer)
    assert (y.benchmark, y.benchmark_record, y.thrust_allocator) == (False, {}, None)
    assert (y.int8_scale, y.force_algo, y.is_quantized) == (None, None, False)
    assert x.grid.numel() == 0 and x.indice_dict == {}
    assert repr(x) == "SparseConvTensor[shape=torch.Size([40, 4])]"
    assert "replace_feature" in x.__dir__()
    assert type(spconv.SparseConvTensor) is ProxyableClassMeta
    assert x.find_indice_pair(None) is x.find_indice_pair("key") is None
    assert y.find_indice_pair("key") == 1
    with pytest.raises(ValueError, match="quantized"):
        x.q_scale()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"features": torch.randn(5)}, "features"),
        ({"features": torch.randn(5, 4, 1)}, "features"),
        ({"indices": torch.zeros(5).int()}, "indices"),
        ({"indices": torch.zeros(5, 3).int()}, "spatial shape must equal to ndim"),
        ({"spatial_shape": [5, 5]}, "spatial shape must equal to ndim"),
        ({"indices": torch.zeros(5, 4).long()}, "only support int32"),
        ({"indices": torch.zeros(5, 4)}, "only support int32"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": -1}, "batch_size"),
    ],
)
def test_what_is_no_tensor_of_sites_is_an_assertion_error(changed, words):
    good = {"features": torch.randn(5, 4), "indices": torch.zeros(5, 4).int()}
    good |= {"spatial_shape": [5, 5, 5], "batch_size": 1}
    spconv.SparseConvTensor(**good)
    with pytest.raises(AssertionError, match=words):
        spconv.SparseConvTensor(**{**good, **changed})


def test_features_are_replaced_and_never_assigned():
    x = tensor(3, 40, 4)
    with pytest.raises(ValueError, match="replace_feature"):
        x.features = x.features * 2
    y = x.replace_feature(x.features * 2)
    assert y.indices is x.indices and y.indice_dict is x.indice_dict
    assert y.benchmark_record is x.benchmark_record and y._timer is x._timer
    assert torch.equal(y.features, 2 * x.features)


def test_replaced_features_may_have_other_rows_until_indices_follow():
    levels = [tensor(3, rows, 4, seed=rows) for rows in (40, 30, 1)]
    x = levels[0].replace_feature(torch.cat([level.features for level in levels]))
    assert x.features.shape == (71, 4)
    x.indices = torch.cat([level.indices for level in levels])
    expected = remade(x, x.indices.clone())
    for layer in (spconv.SparseConv3d(4, 5, 3), spconv.SubMConv3d(4, 5, 3)):
        assert torch.equal(layer(x).features, layer(expected).features)
    pooled = x.replace_feature(torch.randn(3, 9))  # one vector a sample
    assert pooled.features.shape == (3, 9)


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("order", ORDERS)
def test_indices_written_into_are_read_anew(order, inference):
    with torch.inference_mode(inference):
        x = tensor(3, 40, 4, order)
        conv = spconv.SparseConv3d(4, 5, 3, 2, 1)
        subm = spconv.SubMConv3d(5, 5, 3)
        y = subm(conv(x))
        before, dense = y.indices.clone(), y.dense()
        y.indices[:, 1:] *= 2
        y.spatial_shape = [2 * side for side in y.spatial_shape]
        fresh = remade(y, y.indices.clone())
        assert torch.equal(y.indices[:, 1:], 2 * before[:, 1:])
        assert torch.equal(y.dense()[:, :, ::2, ::2, ::2], dense)
        for layer in (subm, spconv.SparseMaxPool3d(2), spconv.SparseConv3d(5, 5, 3, 2, 1)):
            result, expected = layer(y), layer(fresh)
            assert torch.equal(result.indices, expected.indices)
            assert torch.equal(result.features, expected.features)
        # The layer that made it is not misled when it meets the input again.
        assert torch.equal(subm(conv(x)).indices, before)


@pytest.mark.parametrize("inference", [False, True])
def test_a_submanifold_rulebook_of_sites_that_moved_is_not_used_again(inference):
    with torch.inference_mode(inference):
        x = tensor(3, 40, 4)
        layer = spconv.SubMConv3d(4, 4, 3, indice_key="key")
        y = layer(x)
        assert torch.equal(layer(y).features, layer(remade(y, y.indices)).features)
        y.indices[3, 1:] = (y.indices[3, 1:] + 1) % 5
        with pytest.raises(ValueError, match="must have same indices"):
            layer(y)
        assert layer.indice_key in y.indice_dict
        y.indice_dict = {}
        assert torch.equal(layer(y).features, layer(remade(y, y.indices.clone())).features)


@pytest.mark.parametrize("what", ["edited", "reassigned"])
def test_an_inverse_layer_leads_back_to_the_rows_as_they_were(what):
    x = tensor(3, 40, 4, "repeated")
    down = spconv.SparseConv3d(4, 6, 3, 2, 1, indice_key="key")
    back = spconv.SparseInverseConv3d(6, 5, 3, "key")
    expected, before = back(down(x)), x.indices.clone()
    assert expected.indices is x.indices
    y = down(x)
    if what == "edited":
        x.indices[:, 1:] = 0
    else:
        x.indices = torch.zeros_like(x.indices)
    z = back(y)
    assert torch.equal(z.indices, before)
    assert torch.equal(z.features, expected.features)
    assert torch.equal(z.dense(), remade(expected, before).dense())


def test_an_inverse_layer_refuses_coarse_rows_that_moved():
    y = spconv.SparseConv3d(4, 6, 3, 2, 1, indice_key="key")(tensor(3, 40, 4))
    y.indices[0, 1:] = (y.indices[0, 1:] + 1) % 3
    with pytest.raises(ValueError, match="must have same indices"):
        spconv.SparseInverseConv3d(6, 5, 3, "key")(y)


def test_what_an_inverse_layer_returns_may_be_written_into():
    x = tensor(3, 40, 4)
    down = spconv.SparseConv3d(4, 6, 3, 2, 1, indice_key="key")
    back = spconv.SparseInverseConv3d(6, 5, 3, "key")
    y = down(x)
    z, before = back(y), x.indices.clone()
    z.indices[:, 1:] = 0
    again = back(y)
    assert torch.equal(again.indices, before)
    assert torch.equal(again.features, z.features)


def test_rulebooks_travel_with_outputs_and_never_appear_on_inputs():
    x = tensor(3, 40, 4, "repeated")
    kept = x.indice_dict
    stages, net = [x], unet()
    for layer in net:
        stages.append(layer(stages[-1]))
    found = [list(stage.indice_dict) for stage in stages]
    both, every = ["fine", "down"], ["fine", "down", "coarse"]
    assert found == [[], ["fine"], both, every, every, every]
    assert x.indice_dict is kept
    assert stages[-1].indices is x.indices
    assert stages[-1].indice_dict["fine"] is stages[1].indice_dict["fine"]
    # Another tensor on the same rows may be given the rulebooks of this one.
    other = spconv.SparseConvTensor(
        x.features, x.indices.clone(), x.spatial_shape, 3, indice_dict=stages[1].indice_dict
    )
    assert torch.equal(net[0](other).features, stages[1].features)
    coarse = spconv.SparseConvTensor(
        stages[3].features, stages[3].indices.clone(), stages[3].spatial_shape, 3
    )
    coarse.indice_dict = stages[3].indice_dict
    assert torch.equal(net[3](coarse).features, stages[4].features)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("how", ["pickle", "deepcopy", "copy", "save"])
def test_a_copy_goes_on_like_the_original(order, how, tmp_path):
    net = unet(algo=ConvAlgo.Native)
    with torch.no_grad():
        y = net[2](net[1](net[0](tensor(3, 40, 4, order))))
    if how == "save":
        torch.save(y, tmp_path / "y.pt")
        other = torch.load(tmp_path / "y.pt", weights_only=False)
    else:
        copies = {"pickle": lambda t: pickle.loads(pickle.dumps(t))}
        other = {**copies, "deepcopy": copy.deepcopy, "copy": copy.copy}[how](y)
    assert (other.spatial_shape, other.batch_size) == (y.spatial_shape, y.batch_size)
    assert torch.equal(other.indices, y.indices) and torch.equal(other.dense(), y.dense())
    z, expected = net[4](net[3](other)), net[4](net[3](y))
    assert torch.equal(z.indices, expected.indices)
    assert torch.equal(z.features, expected.features)
    found, wanted = (t.indice_dict["fine"].indice_pairs for t in (other, y))
    assert torch.equal(found, wanted)


def test_a_copied_layer_is_independent():
    net = unet()
    other = pickle.loads(pickle.dumps(copy.deepcopy(net)))
    x = tensor(3, 40, 4)
    assert torch.equal(net(x).features, other(x).features)
    with torch.no_grad():
        other[0].weight.zero_()
    assert net[0].weight.any()


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("sites", [0, 1, 20])
def test_dense_has_the_last_row_of_a_site(ndim, order, sites):
    x = tensor(ndim, sites, 3, order, uneven=True, dtype=torch.float64)
    expected, writer = torch.zeros(3, *x.spatial_shape, 3).double(), {}
    for i, row in enumerate(x.indices.tolist()):
        expected[tuple(row)] = x.features[i]
        writer[tuple(row)] = i
    leaf = x.features.clone().requires_grad_()
    y = x.replace_feature(leaf)
    last, first = y.dense(channels_first=False), y.dense()
    assert torch.equal(last, expected) and last.is_contiguous()
    assert torch.equal(first, expected.movedim(-1, 1)) and first.is_contiguous()
    weights = torch.randn_like(last)
    (last * weights).sum().backward()
    gradient = torch.zeros_like(leaf)
    for row, i in writer.items():
        gradient[i] = weights[row]
    assert torch.equal(leaf.grad, gradient)
    assert spconv.ToDense()(x).shape == first.shape


def test_sums_are_of_features_on_the_same_sites():
    x = tensor(3, 40, 4)
    y = x.replace_feature(torch.randn(40, 4))
    kept, features = x, x.features
    assert torch.equal((x + y).features, features + y.features)
    assert torch.equal((x + y.features).features, features + y.features)
    assert torch.equal((y.features[0] + x).features, features + y.features[0])
    assert torch.equal(x.minus().features, -features)
    x += y
    assert x is kept and torch.equal(x.features, features + y.features)
    assert features is not x.features  # whoever holds the old ones keeps them
    with pytest.raises(AssertionError):
        x + 1
    with pytest.raises(ValueError, match="different indices"):
        x + remade(x, x.indices.flip(0))
    with pytest.raises(ValueError, match="different indices"):
        x += tensor(3, 30, 4)


@pytest.mark.parametrize("how", ["mask", "numbers", "slice"])
def test_some_rows_are_selected(how):
    x = spconv.SubMConv3d(4, 4, 3, indice_key="key")(tensor(3, 40, 4, "repeated"))
    mask = torch.arange(60) % 3 > 0
    rows = {"mask": mask, "numbers": mask.nonzero()[:, 0].flip(0), "slice": slice(3, 20)}[how]
    y = x.select_by_index(rows)
    assert torch.equal(y.features, x.features[rows]) and torch.equal(y.indices, x.indices[rows])
    assert y.indice_dict == {} and list(x.indice_dict) == ["key"]
    layer = spconv.SubMConv3d(4, 4, 3, indice_key="key")
    expected = layer(spconv.SparseConvTensor(y.features, y.indices, x.spatial_shape, 3))
    assert torch.equal(layer(y).features, expected.features)


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
def test_from_dense_takes_the_cells_that_are_not_zero(ndim):
    x = tensor(ndim, 20, 3, uneven=True)
    grid = x.dense(channels_first=False).requires_grad_()
    y = spconv.SparseConvTensor.from_dense(grid)
    assert (y.spatial_shape, y.batch_size) == (x.spatial_shape, 3)
    assert y.indices.dtype == torch.int32
    assert torch.equal(y.indices, x.indices.unique(dim=0))
    assert torch.equal(y.dense(channels_first=False), grid)
    y.features.sum().backward()
    assert torch.equal(
        grid.grad, (grid.detach() != 0).any(-1, keepdim=True).expand_as(grid).float()
    )


def test_a_shadow_copy_shares_everything():
    x = tensor(3, 40, 4)
    y = x.shadow_copy()
    assert y is not x and type(y) is spconv.SparseConvTensor
    for name in ("features", "indices", "spatial_shape", "indice_dict", "grid", "benchmark_record"):
        assert getattr(y, name) is getattr(x, name)


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_quantized_features_say_their_scale():
    x = tensor(3, 40, 4)
    y = x.replace_feature(torch.quantize_per_tensor(x.features, 0.5, 0, torch.qint8))
    assert y.is_quantized and y.q_scale() == 0.5
    assert (y.dequantize().features - x.features).abs().max() <= 0.25


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = unet()
        self.head = nn.Linear(5, 2)

    def forward(self, features, indices):
        x = spconv.SparseConvTensor(features, indices, [5, 5, 5], 3)
        x = self.net(x)
        x = x.replace_feature(self.head(x.features))
        return x.dense()


class LeafTracer(Tracer):
    def is_leaf_module(self, m, name):
        return is_spconv_module(m) or super().is_leaf_module(m, name)


def test_a_network_that_makes_its_tensor_is_traced_by_fx():
    net, x = Net(), tensor(3, 40, 4)
    graph = LeafTracer().trace(net)
    made = [node for node in graph.nodes if node.target is spconv.SparseConvTensor]
    assert [node.op for node in made] == ["call_function"]
    traced = GraphModule(net, graph)
    torch.testing.assert_close(
        traced(x.features, x.indices), net(x.features, x.indices), rtol=0, atol=0
    )


def test_times_are_recorded_by_the_names_of_layers():
    x = tensor(3, 40, 4)
    net = spconv.SparseSequential(
        spconv.SubMConv3d(4, 6, 3, indice_key="key", name="first"),
        spconv.SparseMaxPool3d(2, name="pool"),
    )
    fast = net(x)
    x.benchmark = True
    for runs in (1, 2):
        y = net(x)
        assert torch.equal(y.features, fast.features)
        assert list(y.benchmark_record) == ["first", "pool"]
        record = y.benchmark_record["first"]
        assert record["type"] == "SparseConvolution"
        assert record["params"]["kernel_size"] == [3, 3, 3]
        assert record["num_points"] == [40] * runs and record["num_out_points"] == [40] * runs
        assert y.benchmark_record["pool"]["num_out_points"] == [len(y.indices)] * runs
        for what in ("time", "indice_gen_time"):
            assert len(record[what]) == runs and min(record[what]) >= 0
    with pytest.raises(ValueError, match="name"):
        spconv.SparseConv3d(4, 6, 3)(x)


def test_layers_are_timed_by_their_places_in_the_network():
    x = tensor(3, 40, 4)
    net = nn.Sequential(unet())
    spconv.assign_name_for_sparse_modules(net)
    assert net[0]._sparse_unique_name == "0" and net[0][3]._sparse_unique_name == "0.3"
    timed = spconv.SparseConvTensor(x.features, x.indices, x.spatial_shape, 3, enable_timer=True)
    y = net(timed)
    times = y._timer.get_all_pair_time()
    assert y._timer is timed._timer and isinstance(y._timer, CUDAKernelTimer)
    assert list(times) == [f"0.{place}" for place in range(5)] and min(times.values()) > 0
    assert torch.equal(y.features, net(x).features)
    assert x._timer.get_all_pair_time() == {}


def test_helpers_of_the_core_module():
    assert expand_nd(3, 2) == expand_nd(3, np.int64(2)) == [2, 2, 2]
    assert expand_nd(2, (1, 2)) == expand_nd(2, np.array([1, 2])) == [1, 2]
    with pytest.raises(AssertionError):
        expand_nd(3, [1, 2])
    allocator = ThrustSortAllocator(torch.device("cpu"))
    assert allocator.alloc(100) == allocator.alloc(50) != 0
    x = tensor(3, 4, 2)
    kept = spconv.SparseConvTensor(
        x.features, x.indices, x.spatial_shape, 3, permanent_thrust_allocator=True
    )
    assert isinstance(kept.thrust_allocator, ThrustSortAllocator)
    places, updates = torch.tensor([[0, 1], [2, 0], [0, 1]]), torch.tensor([1.0, 2, 3])
    expected = torch.tensor([[0.0, 3], [0, 0], [2, 0]])
    assert torch.equal(scatter_nd(places, updates, [3, 2]), expected)
    with pytest.raises(IndexError):
        scatter_nd(places + 2, updates, [3, 2])
