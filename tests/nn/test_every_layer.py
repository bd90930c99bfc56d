"""What holds for all layers: on no site and on one, under autocast, and under symmetries."""

import inspect

import pytest
import torch
from torch import nn

from gossamer import SparseTensor
from gossamer import nn as gnn
from tests.nn.layers import CONVOLUTIONS, LAYERS, NORMS, POOLS, values
from tests.scenes import scene

STILL = [name for name in LAYERS if "Dropout" not in name and name != "RReLU"]


def test_every_layer_is_in_the_list():
    def kind(name: str) -> str:
        return name.rstrip("d").rstrip("1234") if name[-2] in "1234" else name

    used = {type(m).__name__ for make in LAYERS.values() for m in make().modules()}
    every = {n for n in gnn.__all__ if inspect.isclass(getattr(gnn, n))}
    assert {kind(n) for n in every} <= {kind(n) for n in used}


@pytest.mark.parametrize("sites", [0, 1])
@pytest.mark.parametrize("name", LAYERS)
def test_no_site_and_a_single_one_go_through_forwards_and_backwards(backend, name, sites):
    for train in (True, False):
        layer = LAYERS[name]().train(train)
        x = scene(2, sites)
        leaf = x.features.clone().requires_grad_()
        y = layer(x.with_features(leaf))
        assert values(y).isfinite().all()
        (values(y) ** 2).sum().backward()
        assert leaf.grad.shape == (sites, 4)
        assert leaf.grad.isfinite().all()
        for parameter in layer.parameters():
            assert parameter.grad.isfinite().all()
        if isinstance(y, SparseTensor):
            assert len(y) == len(y.coords)
            assert y.batch_size == 3


@pytest.mark.parametrize("name", [*CONVOLUTIONS, *POOLS])
def test_a_tensor_without_rows_and_samples_goes_through(backend, name):
    x = SparseTensor(torch.zeros(0, 4), torch.zeros(0, 3, dtype=torch.int64), (8, 8))
    assert x.batch_size == 0
    y = values(LAYERS[name]()(x))
    assert y.shape[0] == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_autocast_gives_its_dtype_and_gradients_in_that_of_the_parameters(
    backend, name, train, dtype
):
    layer = LAYERS[name]().train(train)
    x = scene(2)
    leaf = x.features.clone().requires_grad_()
    with torch.autocast("cpu", dtype):
        y = layer(x.with_features(leaf))
        narrow = values(y).float().square().sum()
    assert values(y).dtype == dtype
    narrow.backward()
    assert leaf.grad.dtype == torch.float32
    exact = values(layer(x))
    # Two layers at most, each of inputs, weights and outputs rounded once: sums of about unit size.
    assert (values(y) - exact).abs().max() <= 8 * torch.finfo(dtype).eps * exact.abs().max()
    for parameter in layer.parameters():
        assert parameter.grad.dtype == torch.float32
        assert parameter.grad.isfinite().all()


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_autocast_leaves_float64_alone(name):
    layer = LAYERS[name]().double()
    x = scene(2, dtype=torch.float64)
    with torch.autocast("cpu", torch.bfloat16):
        assert values(layer(x)).dtype == torch.float64


@pytest.mark.parametrize("name", [*POOLS, *NORMS])
def test_under_autocast_pools_and_norms_take_what_convolutions_give(backend, name):
    x = scene(2).bfloat16()
    layer = LAYERS[name]()
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert values(y).isfinite().all()
    assert values(y).dtype in (torch.bfloat16, torch.float32)


@pytest.mark.parametrize("name", STILL)
def test_shuffled_rows_give_the_same_result_at_every_site(backend, name):
    layer = LAYERS[name]()
    x = scene(2)
    order = torch.randperm(len(x))
    shuffled = SparseTensor(x.features[order], x.coords[order], x.spatial_shape, x.batch_size)
    y, z = layer(x), layer(shuffled)
    assert torch.equal(values(z), values(y))
    if isinstance(y, SparseTensor):
        assert torch.equal(z.coords, y.coords)


@pytest.mark.parametrize("name", [n for n in STILL if n not in ("to dense", "to BEV")])
def test_a_scene_moved_by_whole_voxels_gives_the_result_moved(backend, name):
    layer = LAYERS[name]()
    x = scene(2, bounded=False)
    step = torch.tensor([0, 4, -6], dtype=torch.int32)
    y, z = layer(x), layer(SparseTensor(x.features, x.coords + step, batch_size=x.batch_size))
    assert torch.equal(values(z), values(y))
    if isinstance(y, SparseTensor):
        moved = step * torch.tensor([1, 2, 2]) if name in ("transposed", "generative") else step
        assert torch.equal(z.coords, y.coords + moved // torch.tensor([1, *y.stride]))


@pytest.mark.parametrize("name", [n for n in STILL if "atch norm" not in n])
def test_a_batch_gives_what_its_samples_give_one_by_one(backend, name):
    layer = LAYERS[name]()
    x = scene(2)
    whole = layer(x)
    for sample in range(3):
        mine = x.sites.batch == sample
        rows = x.coords[mine].clone()
        rows[:, 0] = 0
        alone = layer(SparseTensor(x.features[mine], rows, x.spatial_shape, 1))
        if not isinstance(whole, SparseTensor):
            torch.testing.assert_close(alone[0], whole[sample])
            continue
        place = whole.sites.batch == sample
        assert torch.equal(alone.coords[:, 1:], whole.coords[place, 1:])
        torch.testing.assert_close(alone.features, whole.features[place])


@pytest.mark.parametrize("name", [*CONVOLUTIONS, *POOLS, *NORMS])
def test_the_same_input_gives_the_same_bits_every_time(backend, name):
    layer = LAYERS[name]()
    runs = []
    for _ in range(2):
        x = scene(2)
        leaf = x.features.clone().requires_grad_()
        layer.zero_grad()
        y = values(layer(x.with_features(leaf)))
        y.backward(torch.linspace(-1, 1, y.numel()).view_as(y))
        runs.append([y, leaf.grad, *(p.grad.clone() for p in layer.parameters())])
    for one, other in zip(*runs, strict=True):
        assert torch.equal(one, other)


def test_a_network_of_all_convolutions_trains(backend):
    torch.manual_seed(0)
    network = nn.Sequential(
        gnn.SubMConv2d(4, 8, 3),
        gnn.BatchNorm(8),
        gnn.ReLU(),
        gnn.SparseConv2d(8, 8, 3, 2, 1),
        gnn.ReLU(),
        gnn.SparseInverseConv2d(8, 1, 3),
    )
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    x = scene(2)
    wanted = x.features.sum(1, keepdim=True)
    losses = []
    for _ in range(40):
        loss = (network(x).features - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
