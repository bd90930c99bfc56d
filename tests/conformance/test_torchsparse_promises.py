"""What TorchSparse 2.1's documentation promises: README, examples, docstrings, names of torch.

The layers are "very similar to PyTorch", so each is held against torch's own or a dictionary.
"""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from tests.conformance.scenes import dice, features, voxels
from tests.conformance.windows import Sites, assert_same, box, convolved, sites, spread

try:
    import torchsparse
except ImportError:
    pytest.skip("torchsparse is not here", allow_module_level=True)
if torchsparse.__version__.startswith("1."):
    pytest.skip("TorchSparse 2.1 is in another process", allow_module_level=True)

import torchsparse.nn.functional as spf
from torchsparse import SparseTensor
from torchsparse import nn as spnn
from torchsparse.utils import tensor_cache
from torchsparse.utils.collate import sparse_collate, sparse_collate_fn
from torchsparse.utils.quantize import sparse_quantize

SHAPE = (12, 12, 12)


def scene(channels: int = 3, samples: int = 2) -> SparseTensor:
    """Two samples in no order; both reach the ends of a grid of even extents."""
    places = voxels(SHAPE, 20, samples)
    ends = [[b, *corner] for b in range(samples) for corner in ((5, 5, 5), (4, 4, 4))]
    places = torch.unique(torch.cat([places, torch.tensor(ends)]), dim=0).int()
    places = places[torch.randperm(len(places), generator=dice())]
    return SparseTensor(coords=places, feats=features(len(places), channels) - 0.5)


def at(x: SparseTensor) -> Sites:
    return sites(x.C, x.F.detach())


def convolution(*how, **options) -> spnn.Conv3d:
    torch.manual_seed(0)
    return spnn.Conv3d(*how, **options)


def offsets(size: int) -> list[tuple]:
    """In the order of weights: the first axis fastest for an odd volume, the last for an even."""
    found = box(size, 3)
    return found if size % 2 else [offset[::-1] for offset in found]


def halves(x: SparseTensor) -> set[tuple]:
    return {(b, *(c // 2 for c in place)) for b, *place in x.C.tolist()}


def doubled(x: Sites) -> Sites:
    """The same, with places in voxels of the input."""
    return {(b, *(2 * c for c in place)): f for (b, *place), f in x.items()}


@pytest.mark.parametrize("voxel", [0.5, (0.5, 1.0, 2.0)])
def test_sparse_quantize_floors_by_the_voxel_size_and_removes_duplicates(voxel):
    points = np.random.default_rng(0).uniform(0, 3, (80, 3))
    cells = np.floor(points / voxel).astype(int)
    found, index, inverse = sparse_quantize(points, voxel, return_index=True, return_inverse=True)
    assert len(found) == len(np.unique(cells, axis=0))
    assert np.array_equal(found, cells[index]) and np.array_equal(found[inverse], cells)
    assert np.array_equal(sparse_quantize(points, voxel), found)


def test_sparse_collate_fn_makes_a_batch_of_what_a_dataset_gives():
    """Sparse tensors get a batch index first, arrays are stacked, dicts gone into."""
    dataset = [
        {
            "input": SparseTensor(features(n, 2, n), voxels(SHAPE, n, 1, n)[:, 1:]),
            "array": np.full(2, n),
            "tensor": torch.full((3,), n),
            "name": str(n),
            "more": {"tensor": torch.tensor(n)},
        }
        for n in (3, 5)
    ]
    (batch,) = DataLoader(dataset, batch_size=2, collate_fn=sparse_collate_fn)
    parts = [sample["input"] for sample in dataset]
    places = torch.cat(
        [torch.tensor([0] * 3 + [1] * 5)[:, None], torch.cat([p.C for p in parts])], 1
    )
    assert torch.equal(batch["input"].C, places.int())
    assert torch.equal(batch["input"].F, torch.cat([p.F for p in parts]))
    assert torch.equal(sparse_collate(parts).C, batch["input"].C)
    assert torch.equal(batch["array"], torch.tensor([[3, 3], [5, 5]]))
    assert torch.equal(batch["tensor"], torch.tensor([[3] * 3, [5] * 3]))
    assert batch["name"] == ["3", "5"] and batch["more"]["tensor"].tolist() == [3, 5]


def test_a_tensor_has_short_names_for_what_it_holds():
    x = scene()
    assert x.F is x.feats and x.C is x.coords and x.s == x.stride == (1, 1, 1)
    x.F, x.s = x.F * 2, 4
    assert x.feats is x.F and x.stride == (4, 4, 4)


def test_a_dense_tensor_has_the_features_at_their_coordinates():
    x = scene()
    x = SparseTensor(x.F, x.C, spatial_range=(2, *SHAPE))
    grid = x.dense()
    assert grid.shape == (2, *SHAPE, 3)
    assert torch.equal(grid[tuple(x.C.long().T)], x.F)
    assert grid.count_nonzero() == x.F.count_nonzero()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [1, 3, 5])
def test_a_convolution_of_stride_1_keeps_the_voxels_and_sums_over_neighbours(size, bias):
    x, layer = scene(), convolution(3, 4, size, bias=bias)
    kernel = layer.kernel.reshape(size**3, 3, 4)
    wanted = convolved(at(x), at(x), offsets(size), kernel)
    shift = layer.bias.detach() if bias else torch.zeros(4)
    assert_same(at(layer(x)), {site: f + shift for site, f in wanted.items()})
    assert torch.equal(layer(x).C, x.C)


def test_a_convolution_of_stride_2_halves_coordinates_and_doubles_the_stride():
    x, layer = scene(), convolution(3, 4, 2, stride=2)
    y = layer(x)
    targets = {(b, *(2 * c for c in place)) for b, *place in halves(x)}
    assert y.s == (2, 2, 2)
    assert_same(doubled(at(y)), convolved(at(x), targets, offsets(2), layer.kernel))


def test_a_transposed_convolution_goes_back_to_the_voxels_before_the_stride():
    x = scene()
    down = convolution(3, 4, 2, stride=2)(x)
    layer = convolution(4, 5, 2, stride=2, transposed=True)
    y = layer(down)
    assert y.s == (1, 1, 1) and torch.equal(y.C, x.C)
    assert_same(at(y), spread(doubled(at(down)), at(x), offsets(2), layer.kernel))


def test_dilation_widens_the_window():
    x, layer = scene(), convolution(3, 4, 3, dilation=2)
    assert_same(at(layer(x)), convolved(at(x), at(x), box(3, 3, 2), layer.kernel))


def test_the_results_of_the_conv_modes_agree():
    x, net = scene(), nn.Sequential(convolution(3, 4, 3), convolution(4, 5, 2, stride=2))
    found, before = [], spf.get_conv_mode()
    for mode in (0, 1, 2):
        spf.set_conv_mode(mode)
        found.append(at(net(SparseTensor(x.F, x.C))))
    spf.set_conv_mode(before)
    for other in found[1:]:
        assert_same(other, found[0])


def test_down_sampling_by_minkowskis_rule_rounds_down_whatever_the_kernel():
    config = spf.get_default_conv_config()
    config.kmap_mode, config.downsample_mode = "hashmap", "minkowski"
    x, layer = scene(), convolution(3, 4, 3, stride=2, padding=1, config=config)
    targets = {(b, *(2 * c for c in place)) for b, *place in halves(x)}
    assert_same(doubled(at(layer(x))), convolved(at(x), targets, box(3, 3), layer.kernel))


LIKE_TORCH = {
    "ReLU": nn.ReLU,
    "LeakyReLU": nn.LeakyReLU,
    "SiLU": nn.SiLU,
    "BatchNorm": lambda: nn.BatchNorm1d(3),
}


@pytest.mark.parametrize("name", LIKE_TORCH)
def test_a_pointwise_layer_is_that_of_torch_on_features(name):
    x = scene()
    layer = spnn.BatchNorm(3) if name == "BatchNorm" else getattr(spnn, name)()
    y = layer(x)
    torch.testing.assert_close(y.F, LIKE_TORCH[name]()(x.F))
    assert torch.equal(y.C, x.C) and y.s == x.s


@pytest.mark.parametrize(("name", "norm"), [("GroupNorm", (2, 4)), ("InstanceNorm", (4,))])
def test_a_norm_of_samples_is_that_of_torch_on_each(name, norm):
    x = scene(4)
    y = getattr(spnn, name)(*norm)(x)
    like = nn.GroupNorm(*norm) if name == "GroupNorm" else nn.InstanceNorm1d(*norm)
    for sample in (0, 1):
        own = x.C[:, 0] == sample
        torch.testing.assert_close(y.F[own], like(x.F[own].T[None])[0].T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "how"), [("Avg", torch.mean), ("Max", torch.amax)])
def test_global_pooling_gives_one_row_a_sample(name, how):
    x = scene()
    wanted = torch.stack([how(x.F[x.C[:, 0] == sample], 0) for sample in (0, 1)])
    torch.testing.assert_close(getattr(spnn, f"Global{name}Pool")()(x), wanted)


def test_tensors_are_added_and_concatenated_by_features():
    x = scene()
    y = spnn.ReLU()(x)
    torch.testing.assert_close((x + y).F, x.F + y.F)
    assert torch.equal(torchsparse.cat([x, y]).F, torch.cat([x.F, y.F], 1))


def test_a_crop_keeps_the_voxels_inside():
    x = scene()
    inside = ((x.C[:, 1:] >= 1) & (x.C[:, 1:] < 3)).all(1)
    y = spnn.SparseCrop((1, 1, 1), (3, 3, 3))(x)
    assert_same(at(y), sites(x.C[inside], x.F[inside]))


def test_a_hash_query_finds_the_row_of_each_voxel_or_minus_1():
    x = scene()
    order = torch.randperm(len(x.C), generator=dice())
    asked = torch.cat([x.C[order], x.C + 100])
    found = spf.sphashquery(spf.sphash(asked), spf.sphash(x.C))
    assert torch.equal(found.long(), torch.cat([order, torch.full((len(x.C),), -1)]))


def test_voxelizing_gives_each_voxel_the_mean_of_its_points():
    voxel, rows = torch.randint(0, 5, (40,), generator=dice()).int(), features(40, 3)
    counts = spf.spcount(voxel, 5)
    assert torch.equal(counts.long(), voxel.long().bincount(minlength=5))
    wanted = torch.stack([rows[voxel == v].mean(0) for v in range(5)])
    torch.testing.assert_close(spf.spvoxelize(rows, voxel, counts), wanted)


def test_devoxelizing_a_linear_field_is_exact():
    """Trilinear weights of the eight voxels around a point sum to 1 and reproduce its place."""
    corners = torch.tensor(box(2, 3)).flip(1)  # x, y, z with z fastest
    places = torch.rand(30, 3, generator=dice())
    rows = torch.arange(8).expand(30, 8).contiguous()
    weights = spf.calc_ti_weights(places, rows, scale=1)
    torch.testing.assert_close(weights.sum(1), torch.ones(30))
    y = spf.spdevoxelize(corners.float(), rows.int(), weights)
    torch.testing.assert_close(y, places)


def test_a_bev_convolution_has_a_kernel_for_each_height_and_sums_over_them():
    x, layer = scene(), spnn.ToDenseBEVConvolution(3, 4, SHAPE, dim=2)
    wanted = torch.zeros(2, 4, *SHAPE[:2])
    for (b, i, j, height), row in at(x).items():
        wanted[b, :, i, j] += row @ layer.kernel[height].detach()
    torch.testing.assert_close(layer(x).detach(), wanted)


def test_height_compression_has_channels_times_heights():
    x, layer = scene(), spnn.ToBEVHeightCompression(3, SHAPE, dim=2)
    wanted = torch.zeros(2, *SHAPE[:2], SHAPE[2], 3)
    for site, row in at(x).items():
        wanted[site] = row
    assert torch.equal(layer(x), wanted.flatten(3).permute(0, 3, 1, 2))


def test_the_global_cache_is_one_for_all_tensors_until_it_is_cleared():
    assert tensor_cache.get_tensor_cache_mode() is (
        tensor_cache.TensorCacheMode.SEPARATE_TENSOR_CACHE
    )
    assert scene()._caches is not scene()._caches
    tensor_cache.set_tensor_cache_mode(tensor_cache.TensorCacheMode.GLOBAL_TENSOR_CACHE)
    try:
        first = scene()._caches
        assert scene()._caches is first
        tensor_cache.clear_global_tensor_cache()
        assert scene()._caches is not first
    finally:
        tensor_cache.clear_global_tensor_cache()
        tensor_cache.set_tensor_cache_mode(tensor_cache.TensorCacheMode.SEPARATE_TENSOR_CACHE)


def test_a_network_of_its_layers_learns_and_infers_in_half():
    torch.manual_seed(0)
    stages = [
        spnn.Conv3d(3, 8, 3),
        spnn.Conv3d(8, 16, 2, stride=2),
        spnn.Conv3d(16, 16, 2, stride=2, transposed=True),
    ]
    net = nn.Sequential()
    for stage in stages:
        net.extend([stage, spnn.BatchNorm(stage.out_channels), spnn.ReLU(True)])
    net.append(spnn.Conv3d(16, 5, 1))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    labels = torch.randint(0, 5, (len(scene().C),), generator=dice())
    losses = []
    for _ in range(20):
        loss = nn.functional.cross_entropy(net(scene()).F, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    net.eval()
    with torch.no_grad(), torch.autocast("cpu", torch.float16):
        y = net(scene().half()).F
    with torch.no_grad():
        torch.testing.assert_close(y.float(), net(scene()).F, rtol=0.05, atol=0.05)
