"""The layers of spconv 1.2 against dense grids."""

from itertools import product
from math import prod, sqrt

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

import gossamer.compat.spconv1 as spconv
from gossamer.compat.spconv1 import conv as convs
from gossamer.compat.spconv1 import pool as pools

CONV = {2: spconv.SparseConv2d, 3: spconv.SparseConv3d, 4: spconv.SparseConv4d}
SUBM = {2: spconv.SubMConv2d, 3: spconv.SubMConv3d, 4: spconv.SubMConv4d}
BATCH = 2


def scene(shape, channels=3, count=25, seed=0, repeat=False, dtype=torch.float64):
    """A tensor with rows in no order."""
    dice = torch.Generator().manual_seed(seed)
    cells = torch.randint(0, BATCH * prod(shape), (count,), generator=dice)
    if not repeat:
        cells = cells.unique()
        cells = cells[torch.randperm(len(cells), generator=dice)]
    rows = torch.stack(torch.unravel_index(cells, (BATCH, *shape)), dim=1).int()
    features = torch.randn(len(rows), channels, generator=dice, dtype=dtype)
    return spconv.SparseConvTensor(features, rows, list(shape), BATCH)


def dense_conv(grid: Tensor, weight: Tensor, stride, padding, dilation) -> Tensor:
    """[B, C_out, ...]: a convolution as a sum of slices, for a weight [*k, C_in, C_out]."""
    grid = functional.pad(grid, [p for p in reversed(padding) for _ in range(2)])
    *size, _, _ = weight.shape
    axes = zip(grid.shape[2:], size, stride, dilation, strict=True)
    out = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in axes]
    total = 0
    for tap in product(*map(range, size)):
        corner = zip(tap, out, stride, dilation, strict=True)
        seen = grid[(..., *[slice(t * d, t * d + (n - 1) * s + 1, s) for t, n, s, d in corner])]
        total = total + torch.einsum("bi...,io->bo...", seen, weight[tap])
    return total


def test_the_sum_of_slices_is_the_convolution_of_torch():
    grid, weight = torch.randn(2, 3, 7, 8, 9), torch.randn(3, 2, 3, 3, 4)
    options = ([2, 1, 3], [1, 0, 2], [1, 2, 1])
    wanted = functional.conv3d(grid, weight.permute(4, 3, 0, 1, 2), None, *options)
    torch.testing.assert_close(dense_conv(grid, weight, *options), wanted)


def ints(data, ndim, low, high):
    return data.draw(st.lists(st.integers(low, high), min_size=ndim, max_size=ndim))


@given(
    ndim=st.integers(2, 4), count=st.sampled_from([0, 1, 25]), repeat=st.booleans(), data=st.data()
)
def test_a_convolution_is_that_of_the_dense_grid_where_repeated_rows_add_up(
    ndim, count, repeat, data
):
    size, stride = ints(data, ndim, 1, 3), ints(data, ndim, 1, 3)
    padding, dilation = ints(data, ndim, 0, 2), ints(data, ndim, 1, 2)
    if prod(size) == 1:
        return
    x = scene([5, 6, 7, 5][:ndim], count=count, repeat=repeat)
    layer = CONV[ndim](3, 4, size, stride, padding, dilation, bias=False).double()
    grid = torch.zeros(BATCH, 3, *x.spatial_shape, dtype=torch.float64)
    batch, *places = x.indices.long().unbind(1)
    grid = grid.movedim(1, -1).index_put((batch, *places), x.features, accumulate=True)
    y = layer(x)
    wanted = dense_conv(grid.movedim(-1, 1), layer.weight, stride, padding, dilation)
    torch.testing.assert_close(y.dense(), wanted)
    assert y.spatial_shape == list(wanted.shape[2:])


def around_rows(x, layer) -> Tensor:
    """[N, C_out]: what a submanifold layer makes of rows that do not repeat."""
    places = {tuple(row): number for number, row in enumerate(x.indices.tolist())}
    weight = layer.weight.reshape(-1, *layer.weight.shape[-2:])
    y = x.features.new_zeros(len(x.features), weight.shape[2])
    for tap, offset in enumerate(product(*map(range, layer.kernel_size))):
        move = [
            t * d - k // 2
            for t, d, k in zip(offset, layer.dilation, layer.kernel_size, strict=True)
        ]
        if tap == len(weight) // 2:
            move = [0] * len(move)
        for (batch, *place), row in places.items():
            seen = (batch, *[p + m for p, m in zip(place, move, strict=True)])
            if seen in places:
                y[row] += x.features[places[seen]] @ weight[tap]
    return y


@given(ndim=st.integers(2, 4), count=st.sampled_from([0, 1, 25]), data=st.data())
def test_a_submanifold_kernel_is_centred_before_it_is_dilated_and_sees_itself(ndim, count, data):
    size, dilation = ints(data, ndim, 1, 3), ints(data, ndim, 1, 2)
    if prod(size) == 1:
        return
    x = scene([5, 4, 4, 3][:ndim], count=count)
    layer = SUBM[ndim](3, 4, size, 2, 1, dilation, bias=False).double()
    y = layer(x)
    torch.testing.assert_close(y.features, around_rows(x, layer))
    assert y.indices is x.indices and y.spatial_shape == x.spatial_shape


def test_a_submanifold_kernel_of_odd_size_is_the_convolution_of_the_dense_grid():
    x = scene([9, 8, 7], count=80)
    layer = spconv.SubMConv3d(3, 4, 3).double()
    wanted = dense_conv(x.dense(), layer.weight, [1] * 3, [1] * 3, [1] * 3)
    batch, *places = x.indices.long().unbind(1)
    rows = wanted.movedim(1, -1)[(batch, *places)] + layer.bias
    torch.testing.assert_close(layer(x).features, rows)


def test_of_repeated_rows_neighbours_see_the_first_and_each_sees_itself():
    rows = torch.tensor([[0, 2, 2], [0, 2, 2], [0, 2, 3]]).int()
    x = spconv.SparseConvTensor(torch.tensor([[1.0], [10.0], [100.0]]), rows, [5, 5], 1)
    layer = spconv.SubMConv2d(1, 1, 3, bias=False)
    nn.init.ones_(layer.weight)
    assert layer(x).features.flatten().tolist() == [101, 110, 101]


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize(
    ("size", "stride", "padding"), [(3, 2, 1), (2, 2, 0), (3, 1, 0), (2, 3, 0)]
)
def test_a_transposed_convolution_is_that_of_torch(ndim, size, stride, padding):
    x = scene([5, 6, 4][:ndim])
    kind = {2: spconv.SparseConvTranspose2d, 3: spconv.SparseConvTranspose3d}[ndim]
    layer = kind(3, 4, size, stride, padding, bias=False).double()
    dense = {2: functional.conv_transpose2d, 3: functional.conv_transpose3d}[ndim]
    wanted = dense(x.dense(), layer.weight.movedim((-2, -1), (0, 1)), None, stride, padding)
    torch.testing.assert_close(layer(x).dense(), wanted)


@pytest.mark.parametrize("ndim", [2, 3])
def test_an_inverse_convolution_is_a_transposed_one_on_the_rows_it_goes_back_to(ndim):
    x = scene([9, 7, 5][:ndim])
    inverse = {2: spconv.SparseInverseConv2d, 3: spconv.SparseInverseConv3d}[ndim]
    down = CONV[ndim](3, 4, 3, 2, 1, indice_key="down").double()
    up = inverse(4, 5, 3, "down").double()
    y = up(down(x))
    dense = {2: functional.conv_transpose2d, 3: functional.conv_transpose3d}[ndim]
    weight = up.weight.movedim((-2, -1), (0, 1))
    wanted = dense(down(x).dense(), weight, None, 2, 1).movedim(1, -1)
    batch, *places = x.indices.long().unbind(1)
    torch.testing.assert_close(y.features, wanted[(batch, *places)] + up.bias)
    assert torch.equal(y.indices, x.indices) and y.spatial_shape == x.spatial_shape


@pytest.mark.parametrize("layer", [spconv.SparseMaxPool3d(2), spconv.SparseMaxPool3d(3, 2, 1)])
def test_a_pooling_is_that_of_torch_also_of_negative_values(layer):
    x = scene([6, 7, 5], count=60)
    x.features = x.features - 3
    y = layer(x)
    low = x.dense().masked_fill(x.dense() == 0, -torch.inf)
    wanted = functional.max_pool3d(low, layer.kernel_size, layer.stride, layer.padding)
    torch.testing.assert_close(y.dense(), wanted.masked_fill(wanted == -torch.inf, 0))


def test_a_submanifold_pooling_is_the_maximum_over_a_kernel_around_each_row():
    x = scene([6, 7], channels=2, count=30)
    y = pools.SparseMaxPool(2, 3, dilation=2, subm=True)(x)
    grid = torch.full((BATCH, 6 + 8, 7 + 8, 2), -torch.inf, dtype=torch.float64)
    batch, i, j = x.indices.long().unbind(1)
    grid[batch, i + 4, j + 4] = x.features
    # Tap r of 3 looks at 2 * r - 1; a pooling has no weight for the row itself.
    taps = product((3, 5, 7), repeat=2)
    highest = torch.stack([grid[batch, i + a, j + b] for a, b in taps]).amax(0)
    torch.testing.assert_close(y.features, highest.masked_fill(highest == -torch.inf, 0))
    assert not highest.isinf().all()


@pytest.mark.parametrize(
    "layer",
    [
        spconv.SubMConv3d(3, 4, 1),
        spconv.SparseConv3d(3, 4, 1, 2, 1),
        spconv.SparseConvTranspose3d(3, 4, 1, 2),
        spconv.SparseInverseConv3d(3, 4, 1, "nobody has it"),
    ],
)
@pytest.mark.parametrize("repeat", [False, True])
def test_one_tap_is_a_product_of_the_rows_whatever_the_kind_and_stride(layer, repeat):
    x = scene([5, 6, 7], repeat=repeat, dtype=torch.float32)
    y = layer(x)
    assert y.indices is x.indices and y.spatial_shape == x.spatial_shape
    torch.testing.assert_close(
        y.features, x.features @ layer.weight.reshape(3, 4) + layer.bias, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("kind", [spconv.SubMConv3d, spconv.SparseConv3d])
@pytest.mark.parametrize("bias", [True, False])
def test_parameters_start_as_torch_would_draw_them_for_that_shape(kind, bias):
    torch.manual_seed(5)
    layer = kind(6, 10, (1, 3, 5), bias=bias)
    torch.manual_seed(5)
    weight = nn.init.kaiming_uniform_(torch.empty(1, 3, 5, 6, 10), a=sqrt(5))
    assert layer.weight.equal(weight)
    if bias:
        assert layer.bias.equal(torch.empty(10).uniform_(-1 / sqrt(90), 1 / sqrt(90)))
    assert list(layer.state_dict()) == (["weight", "bias"] if bias else ["weight"])


def test_arguments_have_upstreams_order_and_attributes_its_names():
    layer = spconv.SparseConv3d(2, 3, 3, 2, 1, 1, 1, False, "key", True, spconv.ConvAlgo.Batch)
    assert (layer.indice_key, layer.use_hash, layer.bias) == ("key", True, None)
    assert (layer.stride, layer.padding, layer.dilation) == ([2] * 3, [1] * 3, [1] * 3)
    whole = convs.SparseConvolution(
        3, 2, 3, 3, 1, 0, 1, 1, True, True, 0, False, False, "key", True, True
    )
    assert (whole.subm, whole.indice_key, whole.fused_bn, whole.use_hash) == (
        True,
        "key",
        True,
        True,
    )
    assert [a.value for a in spconv.ConvAlgo] == [0, 1, 2]
    assert pools.SparseMaxPool3d(3).stride == [3, 3, 3]


@pytest.mark.parametrize("training", [True, False])
def test_gradients_are_those_of_the_dense_grid(training):
    x = scene([5, 6, 7])
    net = nn.ModuleList([spconv.SubMConv3d(3, 4, 3), spconv.SparseConv3d(4, 2, 3, 2, 1)])
    net.double().train(training)
    x.features.requires_grad_()
    y = net[1](net[0](x))
    y.features.square().sum().backward()
    mine = [x.features.grad, *(p.grad for p in net.parameters())]
    for parameter in net.parameters():
        parameter.grad = None
    batch, *places = x.indices.long().unbind(1)
    leaf = x.features.detach().requires_grad_()
    grid = leaf.new_zeros(BATCH, *x.spatial_shape, 3).index_put((batch, *places), leaf)
    one, two = [1] * 3, [2] * 3
    middle = dense_conv(grid.movedim(-1, 1), net[0].weight, one, one, one).movedim(1, -1)
    rows = middle[(batch, *places)] + net[0].bias
    again = rows.new_zeros(BATCH, *x.spatial_shape, 4).index_put((batch, *places), rows)
    out = dense_conv(again.movedim(-1, 1), net[1].weight, two, one, one).movedim(1, -1)
    batch, *places = y.indices.long().unbind(1)
    (out[(batch, *places)] + net[1].bias).square().sum().backward()
    for got, wanted in zip(mine, [leaf.grad, *(p.grad for p in net.parameters())], strict=True):
        torch.testing.assert_close(got, wanted)


def test_a_network_learns_on_the_cpu():
    torch.manual_seed(0)
    net = spconv.SparseSequential(
        spconv.SubMConv3d(3, 8, 3, indice_key="a"),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        spconv.SparseConv3d(8, 8, 3, 2, 1, indice_key="down"),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        spconv.SparseInverseConv3d(8, 8, 3, "down"),
        spconv.SubMConv3d(8, 1, 3, indice_key="a"),
    )
    start = scene([9, 9, 9], count=150, dtype=torch.float32)
    wanted = start.features.prod(1, keepdim=True)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    losses = []
    for _ in range(40):
        x = spconv.SparseConvTensor(start.features, start.indices, [9, 9, 9], BATCH)
        loss = (net(x).features - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 5
