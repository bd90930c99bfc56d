"""What TorchSparse 1.4's documentation promises and 2.1's does not; in a process of its own.

Coordinates are (x, y, z, batch) and stay in voxels of the input at every stride.
"""

import numpy as np
import pytest
import torch
from torch import nn

from tests.conformance.scenes import dice, features, voxels
from tests.conformance.windows import Site, Sites, assert_same, box, convolved, rounded, spread
from tests.conformance.windows import sites as batch_first

try:
    import torchsparse
except ImportError:
    pytest.skip("torchsparse is not here", allow_module_level=True)
if not torchsparse.__version__.startswith("1."):
    pytest.skip("TorchSparse 1.4 is in another process", allow_module_level=True)

import torchsparse.nn.functional as spf
from torchsparse import SparseTensor
from torchsparse import nn as spnn
from torchsparse.utils.collate import sparse_collate_fn
from torchsparse.utils.quantize import sparse_quantize

SHAPE = (12, 12, 12)
LAST = [1, 2, 3, 0]


def scene(channels: int = 3, seed: int = 0) -> SparseTensor:
    places = voxels(SHAPE, 20, seed=seed)[:, LAST]
    places = places[torch.randperm(40, generator=dice())].contiguous()
    return SparseTensor(coords=places, feats=features(40, channels, seed) - 0.5)


def at(x: SparseTensor) -> Sites:
    return batch_first(x.C[:, [3, 0, 1, 2]], x.F.detach())


def convolution(*how, **options) -> spnn.Conv3d:
    torch.manual_seed(0)
    return spnn.Conv3d(*how, **options).eval()


def offsets(size: int, step: int = 1) -> list[Site]:
    """In the order of weights: the first axis fastest for an odd volume, the last for an even."""
    found = box(size, 3, step)
    return found if size % 2 else [offset[::-1] for offset in found]


@torch.no_grad()
def run(layer: nn.Module, x: SparseTensor) -> SparseTensor:
    return layer(x)


def test_voxels_of_points_are_quantized_and_collated_with_the_batch_index_last():
    """The steps of the README, from float coordinates to a batch."""
    dataset, wanted = [], []
    for sample in (0, 1):
        points = np.random.default_rng(sample).uniform(-4, 4, (50, 3))
        points -= np.min(points, axis=0, keepdims=True)
        places, rows = sparse_quantize(points, 0.5, return_index=True)
        cells = np.floor(points / 0.5).astype(int)
        assert np.array_equal(places, cells[rows])
        assert {tuple(c) for c in places.tolist()} == {tuple(c) for c in cells.tolist()}
        places = torch.tensor(places, dtype=torch.int)
        feats = torch.tensor(points[rows], dtype=torch.float)
        dataset.append({"input": SparseTensor(coords=places, feats=feats)})
        wanted += [(*place, sample) for place in places.tolist()]
    x = sparse_collate_fn(dataset)["input"]
    assert [tuple(place) for place in x.C.tolist()] == wanted
    assert x.F.shape == (len(wanted), 3)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_a_convolution_of_stride_1_keeps_the_voxels_and_sums_over_neighbours(size):
    x, layer = scene(), convolution(3, 4, size)
    y = run(layer, x)
    assert torch.equal(y.C, x.C)
    assert_same(at(y), convolved(at(x), at(x), offsets(size), layer.kernel.reshape(-1, 3, 4)))


def test_strided_coordinates_stay_in_voxels_of_the_input():
    x, layers = scene(), [convolution(3, 3, 2, 2), convolution(3, 3, 2, 2)]
    for step, layer in zip((1, 2), layers, strict=True):
        y = run(layer, x)
        targets = {rounded(site, 2 * step) for site in at(x)}
        assert y.s == (2 * step,) * 3
        assert_same(at(y), convolved(at(x), targets, offsets(2, step), layer.kernel))
        x = y


def test_a_window_counts_in_strides_of_the_tensor():
    x = run(convolution(3, 3, 2, 2), scene())
    layer = convolution(3, 4, 3)
    assert_same(at(run(layer, x)), convolved(at(x), at(x), offsets(3, 2), layer.kernel))


def test_a_transposed_convolution_goes_back_to_the_voxels_before_the_stride():
    x = scene()
    down = run(convolution(3, 4, 2, 2), x)
    layer = convolution(4, 5, 2, 2, transposed=True)
    y = run(layer, down)
    assert y.s == (1, 1, 1) and torch.equal(y.C, x.C)
    assert_same(at(y), spread(at(down), at(x), offsets(2), layer.kernel))


def test_tensors_of_a_network_share_their_maps():
    x = scene()
    y = run(nn.Sequential(convolution(3, 4, 3), convolution(4, 4, 2, 2), spnn.ReLU()), x)
    assert y.cmaps is x.cmaps and y.kmaps is x.kmaps
    assert torch.equal(y.cmaps[y.s], y.C)


def test_down_sampling_rounds_to_multiples_of_the_new_stride():
    x = scene()
    rows = spf.spdownsample(x.C, 2, 2, 1)
    wanted = {rounded(site, 2) for site in at(x)}
    assert {(b, *place) for *place, b in rows.tolist()} == wanted and len(rows) == len(wanted)


@pytest.mark.parametrize(("name", "like"), [("ReLU", nn.ReLU), ("LeakyReLU", nn.LeakyReLU)])
def test_a_pointwise_layer_is_that_of_torch_on_features(name, like):
    torch.testing.assert_close(getattr(spnn, name)()(scene()).F, like()(scene().F))
    torch.testing.assert_close(spnn.BatchNorm(3)(scene()).F, nn.BatchNorm1d(3)(scene().F))


@pytest.mark.parametrize(("name", "how"), [("avg", torch.mean), ("max", torch.amax)])
def test_global_pooling_gives_one_row_a_sample(name, how):
    x = scene()
    wanted = torch.stack([how(x.F[x.C[:, 3] == sample], 0) for sample in (0, 1)])
    torch.testing.assert_close(getattr(spf, f"global_{name}_pool")(x), wanted)


def test_tensors_are_added_and_concatenated_by_features():
    x = scene()
    y = spnn.ReLU()(x)
    torch.testing.assert_close((x + y).F, x.F + y.F)
    assert torch.equal(torchsparse.cat([x, y]).F, torch.cat([x.F, y.F], 1))


def test_a_hash_query_finds_the_row_of_each_voxel_or_minus_1():
    x = scene()
    order = torch.randperm(40, generator=dice())
    found = spf.sphashquery(spf.sphash(torch.cat([x.C[order], x.C + 100])), spf.sphash(x.C))
    assert torch.equal(found.long(), torch.cat([order, torch.full((40,), -1)]))


def test_voxelizing_gives_each_voxel_the_mean_of_its_points():
    voxel, rows = torch.randint(0, 5, (40,), generator=dice()).int(), features(40, 3)
    counts = spf.spcount(voxel, 5)
    wanted = torch.stack([rows[voxel == v].mean(0) for v in range(5)])
    torch.testing.assert_close(spf.spvoxelize(rows, voxel, counts), wanted)


@pytest.mark.parametrize("scale", [1, 2])
def test_devoxelizing_a_linear_field_is_exact(scale):
    """Weights come [8, N] and go in [N, 8]; those of a point sum to 1."""
    corners = scale * torch.tensor(box(2, 3)).flip(1)  # x, y, z with z fastest
    places = torch.rand(30, 3, generator=dice()) * scale
    rows = torch.arange(8).expand(30, 8).contiguous()
    weights = spf.calc_ti_weights(places, rows.T, scale=scale)
    torch.testing.assert_close(weights.sum(0), torch.ones(30))
    y = spf.spdevoxelize(corners.float(), rows.int(), weights.T)
    torch.testing.assert_close(y, places)
