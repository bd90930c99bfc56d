"""Networks of the kinds that MinkowskiEngine is used for: they run, learn, and take every dtype."""

import copy
import pickle

import pytest
import torch
from torch import nn

import gossamer.compat.minkowski as ME
from gossamer.compat.minkowski.modules.resnet_block import BasicBlock, Bottleneck
from tests.compat.clouds_of_sites import cloud, coordinates

CLASSES = 3


def layer(inward, outward, size=3, stride=1, kind=ME.MinkowskiConvolution):
    """A convolution, a norm and a ReLU."""
    return nn.Sequential(
        kind(inward, outward, kernel_size=size, stride=stride, dimension=3),
        ME.MinkowskiBatchNorm(outward),
        ME.MinkowskiReLU(inplace=True),
    )


def stage(block, inward, planes, stride=1):
    """A residual block, with a way for its input where it does not fit."""
    wide, downsample = planes * block.expansion, None
    if stride != 1 or inward != wide:
        downsample = nn.Sequential(
            ME.MinkowskiConvolution(inward, wide, kernel_size=1, stride=stride, dimension=3),
            ME.MinkowskiBatchNorm(wide),
        )
    return block(inward, planes, stride=stride, downsample=downsample, dimension=3)


class UNet(ME.MinkowskiNetwork):
    """Down twice, and up again beside what there was."""

    def __init__(self, block=BasicBlock):
        super().__init__(3)
        up, wide = ME.MinkowskiConvolutionTranspose, 8 * block.expansion
        self.stem = layer(4, 8, size=5)
        self.down1 = nn.Sequential(layer(8, 8, 2, 2), stage(block, 8, 8))
        self.down2 = nn.Sequential(layer(wide, 8, 2, 2), stage(block, 8, 8))
        self.up1 = layer(wide, 8, 2, 2, up)
        self.after1 = stage(block, 8 + wide, 8)
        self.up2 = layer(wide, 8, 2, 2, up)
        self.after2 = stage(block, 16, 8)
        self.final = ME.MinkowskiConvolution(wide, CLASSES, kernel_size=1, bias=True, dimension=3)

    def forward(self, x):
        full = self.stem(x)
        half = self.down1(full)
        y = self.after1(ME.cat(self.up1(self.down2(half)), half))
        return self.final(self.after2(ME.cat(self.up2(y), full)))


class Classifier(ME.MinkowskiNetwork):
    """Down until one row a sample is left."""

    def __init__(self):
        super().__init__(3)
        self.body = nn.Sequential(
            ME.MinkowskiConvolution(4, 8, kernel_size=3, stride=2, dimension=3),
            ME.MinkowskiInstanceNorm(8),
            ME.MinkowskiReLU(inplace=True),
            ME.MinkowskiMaxPooling(kernel_size=2, stride=2, dimension=3),
            stage(Bottleneck, 8, 4, stride=2),
            ME.MinkowskiGELU(),
        )
        self.pool = ME.MinkowskiGlobalMaxPooling()
        self.final = ME.MinkowskiLinear(16, CLASSES)

    def forward(self, x):
        return self.final(self.pool(self.body(x)))


class Completion(ME.MinkowskiNetwork):
    """Down, and up again onto new sites, of which it learns which to keep."""

    def __init__(self):
        super().__init__(3)
        new = ME.MinkowskiGenerativeConvolutionTranspose
        self.stem, self.down1, self.down2 = layer(4, 8), layer(8, 8, 2, 2), layer(8, 8, 2, 2)
        self.up1, self.up2 = layer(8, 8, 2, 2, new), layer(8, 8, 2, 2, new)
        self.keep1, self.keep2 = (
            ME.MinkowskiConvolution(8, 1, kernel_size=1, bias=True, dimension=3) for _ in range(2)
        )
        self.pruning = ME.MinkowskiPruning()

    def forward(self, x, target_key):
        full = self.stem(x)
        half = self.down1(full)
        y, scores, targets = self.down2(half), [], []
        for up, skip, keep in ((self.up1, half, self.keep1), (self.up2, full, self.keep2)):
            y = up(y) + skip
            scores.append(keep(y))
            targets.append(self.wanted(y, target_key))
            kept = (scores[-1].F > 0).squeeze(1)
            y = self.pruning(y, kept | targets[-1] if self.training else kept)
        return scores, targets, y

    @torch.no_grad()
    def wanted(self, y, target_key):
        """Which rows lie where the target has something."""
        manager, wanted = y.coordinate_manager, torch.zeros(len(y), dtype=torch.bool)
        key = manager.stride(target_key, y.tensor_stride[0])
        for pairs in manager.kernel_map(y.coordinate_map_key, key, kernel_size=1).values():
            wanted[pairs[0].long()] = True
        return wanted


class FieldNetwork(ME.MinkowskiNetwork):
    """Layers on points, on their voxels, and back on the points."""

    def __init__(self):
        super().__init__(3)
        self.points = nn.Sequential(
            ME.MinkowskiSinusoidal(4, 8), ME.MinkowskiBatchNorm(8), ME.MinkowskiReLU(inplace=True)
        )
        self.voxels = layer(8, 8)
        self.final = ME.MinkowskiLinear(16, CLASSES)

    def forward(self, x):
        points = self.points(x)
        return self.final(self.voxels(points.sparse()).cat_slice(points))


def shapes(dtype=torch.float32, counts=(60, 45)):
    """A cloud, and a class for each site that follows from where it lies."""
    x = cloud(counts, dtype=dtype)
    return x, (x.C[:, 1] > 0).long() + (x.C[:, 2] > 1).long()


def learns(network, loss_of, steps=8, rate=0.02):
    """The first and last loss of a few steps."""
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    losses = []
    for _ in range(steps):
        loss = loss_of(network)
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None for p in network.parameters())
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_a_unet_learns_the_class_of_each_site(block):
    x, classes = shapes()
    network = UNet(block)
    y = network(x)
    assert torch.equal(y.C, x.C)
    assert y.coordinate_map_key == x.coordinate_map_key
    losses = learns(network, lambda n: nn.functional.cross_entropy(n(x).F, classes))
    assert losses[-1] < 0.7 * losses[0]


def test_a_unet_treats_sites_alike_in_whatever_order_they_come():
    (x, _), network = shapes(), UNet().eval()
    order = torch.randperm(len(x))
    other = ME.SparseTensor(x.F[order], x.C[order])
    torch.testing.assert_close(network(other).F, network(x).F[order], rtol=1e-4, atol=1e-5)


def test_samples_of_a_batch_do_not_meet():
    (x, _), network = shapes(), UNet().eval()
    rows = x.C[:, 0] == 1
    places = x.C[rows].clone()
    places[:, 0] = 0
    alone = network(ME.SparseTensor(x.F[rows], places))
    torch.testing.assert_close(alone.F, network(x).F[rows], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_a_unet_computes_in_every_dtype(dtype):
    (x, classes), network = shapes(), UNet()
    expected = copy.deepcopy(network)(x).F
    narrow = ME.SparseTensor(x.F.to(dtype), x.C)
    network = network.to(dtype)
    y = network(narrow)
    assert y.F.dtype == dtype
    torch.testing.assert_close(y.F.float(), expected, rtol=0.2, atol=0.2)
    nn.functional.cross_entropy(y.F.float(), classes).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_unet_learns_under_autocast(dtype):
    x, classes = shapes()

    def loss_of(network):
        with torch.autocast("cpu", dtype=dtype):
            y = network(x)
        assert y.F.dtype == dtype
        return nn.functional.cross_entropy(y.F.float(), classes)

    losses = learns(UNet(), loss_of)
    assert losses[-1] < 0.8 * losses[0]


def test_a_unet_in_eval_has_gradients():
    (x, _), network = shapes(), UNet().eval()
    x.requires_grad_()
    network(x).F.square().sum().backward()
    assert all(p.grad is not None for p in network.parameters())
    assert x.F.grad.abs().sum() > 0


def test_a_classifier_learns_the_class_of_each_sample():
    x = cloud((40, 50, 30, 45))
    classes = torch.tensor([0, 1, 2, 1])
    network = Classifier()
    assert network(x).F.shape == (4, CLASSES)
    losses = learns(network, lambda n: nn.functional.cross_entropy(n(x).F, classes))
    assert losses[-1] < 0.7 * losses[0]


def test_a_completion_network_learns_which_sites_to_keep():
    x = cloud((30, 25))
    goal = coordinates((60, 50), seed=2)

    def loss_of(network):
        # Each step inserts the target into the input's own manager, as training programs do.
        given = ME.SparseTensor(x.F, x.C)
        key, _ = given.coordinate_manager.insert_and_map(goal, string_id="target")
        scores, targets, y = network(given, key)
        assert y.tensor_stride == [1, 1, 1]
        assert len(y) >= targets[-1].sum()
        terms = [
            nn.functional.binary_cross_entropy_with_logits(score.F.squeeze(1), wanted.float())
            for score, wanted in zip(scores, targets, strict=True)
        ]
        return sum(terms)

    losses = learns(Completion(), loss_of, steps=12)
    assert losses[-1] < 0.8 * losses[0]


def test_what_a_completion_network_wants_is_where_the_target_is():
    x, goal = cloud((30, 25)), coordinates((60, 50), seed=2)
    key, _ = x.coordinate_manager.insert_and_map(goal, string_id="target")
    _, _, y = Completion()(x, key)
    wanted = Completion().wanted(y, key)
    places = set(map(tuple, goal.tolist()))
    assert wanted.tolist() == [tuple(row) in places for row in y.C.tolist()]


def test_a_network_of_points_and_voxels_learns_the_class_of_each_point():
    places = coordinates((80, 60)).float()
    places[:, 1:] += torch.rand(len(places), 3)
    features = torch.randn(len(places), 4)
    classes = (places[:, 1] > 0).long() + (features[:, 0] > 0).long()

    def output(network):
        return network(ME.TensorField(features, places))

    network = FieldNetwork()
    y = output(network)
    assert isinstance(y, ME.TensorField)
    assert torch.equal(y.C, places)
    losses = learns(network, lambda n: nn.functional.cross_entropy(output(n).F, classes))
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("counts", [(0,), (1,), (1, 0, 2)])
@pytest.mark.parametrize("training", [True, False])
def test_a_unet_takes_hardly_any_sites(counts, training):
    x, network = cloud(counts), UNet().train(training)
    y = network(x)
    assert y.F.shape == (sum(counts), CLASSES)
    y.F.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("make", [UNet, Classifier, FieldNetwork, Completion])
def test_a_network_loads_what_it_saved(make, tmp_path):
    network, other = make(), make()
    torch.save(network.state_dict(), tmp_path / "network.pt")
    other.load_state_dict(torch.load(tmp_path / "network.pt"))
    mine, its = network.state_dict(), other.state_dict()
    assert all(torch.equal(mine[name], its[name]) for name in mine)


def test_a_whole_network_is_pickled_and_copied():
    (x, _), network = shapes(), UNet().eval()
    for other in (pickle.loads(pickle.dumps(network)), copy.deepcopy(network)):
        assert torch.equal(other(x).F, network(x).F)
