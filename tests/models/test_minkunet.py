"""MinkUNet: the published network, and the same as dense torch convolutions where all is full."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gossamer import SparseTensor
from gossamer.models import MinkUNet
from gossamer.models.blocks import ResidualBlock
from tests.scenes import scene

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def network(ndim: int = 3, width: float = 0.125, dtype: torch.dtype = torch.float64) -> MinkUNet:
    """A small one whose batch norms have statistics worth applying."""
    torch.manual_seed(0)
    model = MinkUNet(4, 5, width, ndim).to(dtype)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.1, 0.1)
    return model.eval()


class Dense:
    """The same network as torch.nn has it, on whole grids [B, C, *extent]."""

    def __init__(self, model: MinkUNet):
        self.model, self.ndim = model, model.ndim

    def __call__(self, x: Tensor) -> Tensor:
        stem = self.model.stem
        x = self.conv(stem[3], self.conv(stem[0], x, stem[1]).relu(), stem[4]).relu()
        skips = []
        for down in self.model.down:
            skips.append(x)
            x = self.conv(down.coarsen[0], x, down.coarsen[1], stride=2).relu()
            x = self.blocks(down.blocks, x)
        for up in self.model.up:
            weight = self.weight(up.refine[0]).transpose(0, 1)
            x = TRANSPOSED[self.ndim](x, weight, stride=2)
            x = self.norm(up.refine[1], x).relu()
            x = self.blocks(up.blocks, torch.cat([x, skips.pop()], 1))
        return self.on_channels(self.model.head, x)

    def blocks(self, blocks: nn.Sequential, x: Tensor) -> Tensor:
        for block in blocks:
            y = self.conv(block.body[0], x, block.body[1]).relu()
            y = self.conv(block.body[3], y, block.body[4])
            if len(block.around):
                x = self.norm(block.around[1], self.on_channels(block.around[0], x))
            x = (x + y).relu()
        return x

    def conv(self, layer, x: Tensor, norm: nn.BatchNorm1d, stride: int = 1) -> Tensor:
        padding = 1 if stride == 1 else 0
        return self.norm(
            norm, CONV[self.ndim](x, self.weight(layer), stride=stride, padding=padding)
        )

    def weight(self, layer) -> Tensor:
        """[C_out, C_in, *kernel] of our [K, C_in, C_out]."""
        side = round(len(layer.weight) ** (1 / self.ndim))
        return layer.weight.permute(2, 1, 0).unflatten(2, (side,) * self.ndim)

    def norm(self, norm: nn.BatchNorm1d, x: Tensor) -> Tensor:
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)

    def on_channels(self, linear: nn.Linear, x: Tensor) -> Tensor:
        return linear(x.movedim(1, -1)).movedim(-1, 1)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_on_a_full_grid_it_is_the_dense_network(ndim):
    grid = torch.randn(2, 4, *(32, 16, 16)[:ndim], dtype=torch.float64)
    model = network(ndim)
    with torch.no_grad():
        sparse = model(SparseTensor.from_dense(grid)).dense()
        torch.testing.assert_close(sparse, Dense(model)(grid))


def test_it_has_the_published_number_of_parameters():
    # 21.7 million is what the paper's table gives; counted for its 4 inputs and 19 classes.
    count = sum(parameter.numel() for parameter in MinkUNet(4, 19).parameters())
    assert round(count / 1e6, 1) == 21.7


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
def test_the_scores_lie_on_the_sites_of_the_input_in_any_dimension(ndim):
    x = scene(ndim, channels=4, bounded=False, dtype=torch.float64)
    y = network(ndim)(x)
    assert torch.equal(y.coords, x.coords)
    assert y.features.shape == (len(x), 5) and y.features.isfinite().all()


def test_a_scan_is_scored_alike_alone_and_in_a_batch():
    model, x = network(), scene(3, channels=4, dtype=torch.float64)
    together = model(x).features
    for sample in range(3):
        here = x.coords[:, 0] == sample
        alone = SparseTensor(x.features[here], x.coords[here], x.spatial_shape, 3)
        torch.testing.assert_close(model(alone).features, together[here])


def test_moving_a_scan_by_sixteen_voxels_moves_its_scores():
    model, x = network(), scene(3, channels=4, bounded=False, dtype=torch.float64)
    moved = SparseTensor(x.features, x.coords + torch.tensor([0, 16, -32, 48]), None, 3)
    torch.testing.assert_close(model(moved).features, model(x).features)


def test_every_site_takes_part_on_the_way_down_also_the_last_row_of_an_odd_grid():
    model, x = network(), scene(3, channels=4, side=5, dtype=torch.float64)
    y = model.stem(x)
    for down in model.down:
        halves = y.coords // torch.tensor([1, 2, 2, 2])
        y = down(y)
        assert torch.equal(y.coords, halves.unique(dim=0))


def test_every_parameter_gets_a_gradient():
    model = network().train()
    model(scene(3, channels=4, dtype=torch.float64)).features.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_no_sites_have_no_scores():
    nothing = SparseTensor(torch.zeros(0, 4), torch.zeros(0, 4, dtype=torch.int32), batch_size=1)
    for model in (network(dtype=torch.float32), network(dtype=torch.float32).train()):
        scores = model(nothing).features
        scores.sum().backward()
        assert scores.shape == (0, 5)


def test_the_way_around_a_block_is_the_identity_where_it_can_be():
    assert len(ResidualBlock(8, 8).around) == 0
    assert [p.shape for p in ResidualBlock(4, 8).around[0].parameters()] == [(8, 4)]


def test_a_width_without_channels_is_refused():
    with pytest.raises(ValueError, match=r"width is 0\.01; wanted at least"):
        MinkUNet(4, 5, 0.01)


@pytest.mark.parametrize("ndim", [0, 5])
def test_a_dimension_without_layers_is_refused(ndim):
    with pytest.raises(ValueError, match=f"ndim is {ndim}; wanted 1 to 4"):
        MinkUNet(4, 5, ndim=ndim)


def test_a_wrong_channel_count_is_told():
    with pytest.raises(ValueError, match="has 3 channels; this layer was built for 4"):
        network()(scene(3, channels=3, dtype=torch.float64))
