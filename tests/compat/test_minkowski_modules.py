"""ME.modules: residual blocks, and those that weigh channels."""

import pytest
import torch
from torch import nn

import gossamer.compat.minkowski as ME
from gossamer.compat.minkowski.modules import resnet_block, senet_block
from tests.compat.clouds_of_sites import cloud
from tests.compat.test_minkowski_norm import on

NORM = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]


def norm_keys(*names):
    return {f"{name}.bn.{key}" for name in names for key in NORM}


BASIC = {"conv1.kernel", "conv2.kernel"} | norm_keys("norm1", "norm2")
BOTTLENECK = BASIC | {"conv3.kernel"} | norm_keys("norm3")
SQUEEZE = {f"se.fc.{i}.linear.{key}" for i in (0, 2) for key in ("weight", "bias")}
KEYS = {
    resnet_block.BasicBlock: BASIC,
    resnet_block.Bottleneck: BOTTLENECK,
    senet_block.SEBasicBlock: BASIC | SQUEEZE,
    senet_block.SEBottleneck: BOTTLENECK | SQUEEZE,
}


def made(block, inplanes, planes, **options):
    """A block in three axes."""
    axes = "D" if block.__name__.startswith("SE") else "dimension"
    return block(inplanes, planes, **{axes: 3}, **options)


def by_steps(block, x):
    """What a block should compute, layer by layer."""
    y = block.norm1(block.conv1(x))
    y = block.norm2(block.conv2(on(y, y.F.relu())))
    if hasattr(block, "conv3"):
        y = block.norm3(block.conv3(on(y, y.F.relu())))
    features = y.F
    if hasattr(block, "se"):
        features = weighed(block.se, y.C, features)
    before = x if block.downsample is None else block.downsample(x)
    assert torch.equal(before.C, y.C)
    return (features + before.F).relu()


def weighed(layer, coordinates, features):
    """The features times the numbers of their samples."""
    weights = []
    for sample in coordinates[:, 0].unique():
        whole = features[coordinates[:, 0] == sample].mean(0)
        squeezed = layer.fc[0].linear(whole).relu()
        weights.append(layer.fc[2].linear(squeezed).sigmoid())
    return features * torch.stack(weights)[coordinates[:, 0].long()]


@pytest.mark.parametrize("block", KEYS)
def test_a_block_is_named_as_upstream_names_it(block):
    assert set(made(block, 32, 32).state_dict()) == KEYS[block]


@pytest.mark.parametrize("block", KEYS)
@pytest.mark.parametrize("dilation", [1, 2])
def test_a_block_adds_what_its_layers_make_to_its_input(block, dilation):
    x = cloud((40, 25), channels=16 * block.expansion)
    layers = made(block, x.shape[1], 16, dilation=dilation).eval()
    assert layers.conv2.kernel_generator.kernel_dilation == [dilation] * 3
    torch.testing.assert_close(layers(x).F, by_steps(layers, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("block", KEYS)
def test_a_strided_block_makes_its_input_fit(block):
    wide = 16 * block.expansion
    x = cloud((40, 25), channels=8)
    downsample = nn.Sequential(
        ME.MinkowskiConvolution(8, wide, 1, 2, dimension=3), ME.MinkowskiBatchNorm(wide)
    )
    layers = made(block, 8, 16, stride=2, downsample=downsample).eval()
    y = layers(x)
    assert y.tensor_stride == [2, 2, 2]
    torch.testing.assert_close(y.F, by_steps(layers, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("block", KEYS)
def test_a_block_learns_in_every_parameter(block):
    x = cloud((40, 25), channels=16 * block.expansion)
    layers = made(block, x.shape[1], 16)
    layers(x).F.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in layers.parameters())


@pytest.mark.parametrize("block", list(KEYS)[:2])
def test_a_block_needs_the_number_of_axes_and_takes_a_momentum(block):
    with pytest.raises(AssertionError, match="dimension is -1; wanted the number of axes"):
        block(4, 4)
    assert made(block, 4, 4, bn_momentum=0.3).norm2.bn.momentum == 0.3


def test_a_strided_block_without_a_way_for_its_input_is_an_error():
    with pytest.raises(AssertionError, match="different sites"):
        made(resnet_block.BasicBlock, 4, 4, stride=2)(cloud())


@pytest.mark.parametrize("counts", [(20, 13), (9, 0, 6)])
def test_channels_are_weighed_by_sample(counts):
    x, layer = cloud(counts, channels=32), senet_block.SELayer(32, reduction=4)
    y = layer(x)
    assert layer.fc[0].linear.out_features == 8
    for sample in x.C[:, 0].unique():
        rows = x.C[:, 0] == sample
        alone = x.C[rows].clone()
        alone[:, 0] = 0
        torch.testing.assert_close(y.F[rows], weighed(layer, alone, x.F[rows]))
