"""TorchSparse 2.1's maps seen from above, against loops over voxels in plain Python."""

import pytest
import torch

from gossamer.compat.torchsparse import SparseTensor
from gossamer.compat.torchsparse import nn as spnn

SHAPE = (5, 4, 6)
AXES = (0, 1, 2)


def scene(dtype=torch.float64, samples=2, channels=3, stride=1, spatial_range=None, seed=0):
    dice = torch.Generator().manual_seed(seed)
    columns = [torch.randint(0, size, (50,), generator=dice) for size in (samples, *SHAPE)]
    rows = torch.unique(torch.stack(columns, 1), dim=0)
    rows = rows[torch.randperm(len(rows), generator=dice)].int()
    feats = torch.randn(len(rows), channels, generator=dice, dtype=torch.float64).to(dtype)
    return SparseTensor(feats, rows, stride, spatial_range)


def filled(layer):
    """The layer with a bias, if it has one, that is not zero."""
    if isinstance(layer.bias, torch.nn.Parameter):
        torch.nn.init.uniform_(layer.bias)
    return layer.double()


def others(dim):
    return [axis for axis in AXES if axis != dim]


def dense_by_hand(layer, x, offset=(0, 0, 0)):
    b, h, w = int(x.C[:, 0].max()) + 1, *(SHAPE[axis] for axis in others(layer.dim))
    grid = torch.zeros(b, layer.out_channels, h, w, dtype=torch.float64)
    for (batch, *place), feature in zip(x.C.tolist(), x.F, strict=True):
        i, j = (place[axis] - offset[axis] for axis in others(layer.dim))
        y = feature.double() @ layer.kernel[place[layer.dim]].double()
        grid[batch, :, i, j] += y + (layer.bias[0] if isinstance(layer.bias, torch.Tensor) else 0)
    return grid


@pytest.mark.parametrize("dim", AXES)
@pytest.mark.parametrize("bias", [True, False])
def test_a_dense_map_sums_voxels_times_the_weight_of_their_height(cpu_backend, dim, bias):
    layer, x = filled(spnn.ToDenseBEVConvolution(3, 4, SHAPE, dim=dim, bias=bias)), scene()
    torch.testing.assert_close(layer(x), dense_by_hand(layer, x))


def test_layers_go_along_the_middle_axis_and_have_no_bias_by_default():
    layer = spnn.ToDenseBEVConvolution(3, 4, SHAPE)
    assert (layer.dim, layer.n_kernels, layer.bias, layer.bev_dims) == (1, 4, 0, [0, 2])
    assert layer.bev_shape.tolist() == [5, 6]
    assert [m.dim for m in (spnn.ToBEVReduction(), spnn.ToBEVConvolution(1, 1, 4))] == [1, 1]
    assert spnn.ToBEVHeightCompression(3, SHAPE).dim == 1
    assert sorted(layer.state_dict()) == ["kernel", "offset", "shape"]
    assert layer.offset.tolist() == [[0, 0, 0, 0]] and layer.shape.tolist() == list(SHAPE)
    assert layer.kernel.abs().max() <= 3**-0.5 < 2 * layer.kernel.abs().max()


def test_an_offset_counts_at_stride_one():
    x, offset = scene(stride=2), (2, 0, 4)
    x.coords[:, 1:] += torch.tensor([1, 0, 2]).int()
    layer = filled(spnn.ToDenseBEVConvolution(3, 4, SHAPE, offset=offset))
    torch.testing.assert_close(layer(x), dense_by_hand(layer, x, (1, 0, 2)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_dense_maps_in_other_types(dtype):
    layer, x = filled(spnn.ToDenseBEVConvolution(3, 4, SHAPE, bias=True)).to(dtype), scene(dtype)
    y = layer(x)
    assert y.dtype == dtype
    torch.testing.assert_close(y.double(), dense_by_hand(layer, x), atol=6e-2, rtol=3e-2)


@pytest.mark.parametrize("dim", AXES)
@pytest.mark.parametrize("stride", [1, 2])
def test_a_sparse_map_has_a_row_for_every_pillar(cpu_backend, dim, stride):
    layer = filled(spnn.ToBEVConvolution(3, 4, SHAPE[dim], stride=stride, dim=dim, bias=True))
    x = scene(stride=3, spatial_range=(2, *SHAPE))
    expected = {}
    for (batch, *place), feature in zip(x.C.tolist(), x.F, strict=True):
        cell = [p // stride for p in place]
        cell[dim] = 0
        y = feature @ layer.kernel[place[dim]] + layer.bias[0]
        expected[(batch, *cell)] = expected.get((batch, *cell), 0) + y
    y = layer(x)
    assert [tuple(row) for row in y.C.tolist()] == sorted(expected)
    torch.testing.assert_close(y.F, torch.stack([expected[row] for row in sorted(expected)]))
    assert y.s == (3 * stride,) * 3
    sizes = [1 if axis == dim else -(-SHAPE[axis] // stride) for axis in AXES]
    assert tuple(y.spatial_range) == (2, *sizes)


def test_cells_of_a_sparse_map_are_rounded_down_below_zero_too():
    rows = torch.tensor([[0, -1, 0, -4], [0, -2, 0, -3], [0, 0, 0, -5], [0, 1, 0, 3]]).int()
    layer = spnn.ToBEVConvolution(1, 1, 1, stride=2)
    torch.nn.init.ones_(layer.kernel)
    y = layer(SparseTensor(torch.tensor([[1.0], [2.0], [4.0], [8.0]]), rows))
    assert y.C.tolist() == [[0, -1, 0, -2], [0, 0, 0, -3], [0, 0, 0, 1]]
    assert y.F.tolist() == [[3], [4], [8]]


@pytest.mark.parametrize("dim", AXES)
def test_a_reduction_is_the_mean_of_each_pillar(dim):
    x = scene(stride=2, spatial_range=(2, *SHAPE))
    pillars = {}
    for (batch, *place), feature in zip(x.C.tolist(), x.F, strict=True):
        place[dim] = 0
        pillars.setdefault((batch, *place), []).append(feature)
    before = x.C.clone()
    y = spnn.ToBEVReduction(dim)(x)
    assert [tuple(row) for row in y.C.tolist()] == sorted(pillars)
    means = [torch.stack(pillars[row]).mean(0) for row in sorted(pillars)]
    torch.testing.assert_close(y.F, torch.stack(means))
    assert y.s == (2, 2, 2) and torch.equal(x.C, before)
    assert y.spatial_range[1 + dim] == 1


@pytest.mark.parametrize("dim", AXES)
def test_heights_follow_one_another_in_the_channels(dim):
    x = scene()
    y = spnn.ToBEVHeightCompression(3, SHAPE, dim=dim)(x)
    h, w = (SHAPE[axis] for axis in others(dim))
    expected = torch.zeros(2, SHAPE[dim] * 3, h, w, dtype=torch.float64)
    for (batch, *place), feature in zip(x.C.tolist(), x.F, strict=True):
        i, j = (place[axis] for axis in others(dim))
        expected[batch, 3 * place[dim] : 3 * place[dim] + 3, i, j] = feature
    assert torch.equal(y, expected) and y.is_contiguous()


def test_voxels_above_and_below_count_in_the_last_layers():
    rows = torch.tensor([[0, 0, 9, 0], [0, 0, 3, 0], [0, 0, -2, 0], [0, 1, 0, 5]]).int()
    x = SparseTensor(torch.tensor([[1.0], [2.0], [4.0], [8.0]]), rows)
    y = spnn.ToBEVHeightCompression(1, SHAPE)(x)
    assert y.shape == (1, 4, 5, 6)
    assert y[0, :, 0, 0].tolist() == [4, 0, 0, 3] and y[0, :, 1, 5].tolist() == [8, 0, 0, 0]


def test_maps_have_a_place_for_every_sample_of_the_range():
    x = scene(samples=1, spatial_range=(3, *SHAPE))
    assert spnn.ToBEVHeightCompression(3, SHAPE)(x).shape[0] == 3
    y = filled(spnn.ToDenseBEVConvolution(3, 4, SHAPE, bias=True))(x)
    assert y.shape == (3, 4, 5, 6) and not y[1:].any()
    empty = SparseTensor(torch.ones(0, 3).double(), torch.zeros(0, 4).int())
    assert filled(spnn.ToDenseBEVConvolution(3, 4, SHAPE))(empty).shape == (0, 4, 5, 6)
    assert len(filled(spnn.ToBEVConvolution(3, 4, 4))(empty).F) == 0
    assert len(spnn.ToBEVReduction()(empty).F) == 0


@pytest.mark.parametrize(
    "layer",
    [
        lambda: spnn.ToDenseBEVConvolution(3, 2, SHAPE, bias=True),
        lambda: spnn.ToBEVConvolution(3, 2, 4, stride=2, bias=True),
        lambda: spnn.ToBEVReduction(),
        lambda: spnn.ToBEVHeightCompression(3, SHAPE),
    ],
)
def test_gradients(layer):
    layer, x = layer().double(), scene()
    rows, feats = x.C[:9], x.F[:9].clone().requires_grad_()

    def run(feats, *parameters):
        names = [name for name, _ in layer.named_parameters()]
        x = SparseTensor(feats, rows)
        y = torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))
        return y if isinstance(y, torch.Tensor) else y.F

    assert torch.autograd.gradcheck(run, (feats, *layer.parameters()))


def test_layers_end_a_graph_that_is_compiled_and_the_rest_of_it_goes_on():
    net = torch.nn.Sequential(spnn.SparseCrop((0, 0, 0), (4, 4, 4)), spnn.ToBEVReduction(2))
    compiled = torch.compile(torch.nn.Sequential(*net, spnn.GlobalAvgPool()), backend="eager")
    expected = spnn.GlobalAvgPool()(net(scene()))
    torch.testing.assert_close(compiled(scene()), expected)


def test_an_error_names_the_layer():
    net = torch.nn.Sequential(spnn.ToBEVReduction(), spnn.ToBEVConvolution(3, 2, 3, dim=2))
    with pytest.raises(
        ValueError, match=r"in layer 1 \(ToBEVConvolution\): heights go from 0 to 5"
    ):
        net.double()(scene())


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (lambda: spnn.ToBEVConvolution(3, 2, 3), "heights go from 0 to 3, and there are 3 kernels"),
        (
            lambda: spnn.ToDenseBEVConvolution(3, 2, (4, 4, 6)),
            "axis 0 of the map has cells 0 to 3, and coords minus offset go from 0 to 4",
        ),
        (
            lambda: spnn.ToBEVHeightCompression(3, SHAPE, offset=(0, 0, 1)),
            "axis 1 of the map has cells 0 to 5, and coords minus offset go from -1 to 4",
        ),
        (lambda: spnn.ToBEVReduction(3), "dim is 3; wanted 0, 1 or 2"),
    ],
)
def test_what_lies_outside_of_the_map_is_an_error(layer, message):
    with pytest.raises(ValueError, match=message):
        layer().double()(scene())
