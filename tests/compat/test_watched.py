"""Whoever looks at a tensor, or watches a layer, changes nothing and misses nothing."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from gossamer.compat.spconv import pytorch as spconv

SHAPE = [9, 8, 7]


def scene(channels: int = 4) -> "spconv.SparseConvTensor":
    """Unsorted rows, so that features have to be permuted for their caller."""
    cells = torch.randperm(9 * 8 * 7)[:150]
    axes = torch.stack([cells // 56, cells // 7 % 8, cells % 7], 1)
    indices = torch.cat([torch.zeros_like(axes[:, :1]), axes], 1).int()
    return spconv.SparseConvTensor(torch.randn(150, channels), indices, SHAPE, 1)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("look", [repr, lambda y: y.features.mean(), lambda y: y.dense()])
def test_a_look_without_gradients_takes_none_away(mode, look):
    layer = spconv.SubMConv3d(4, 5, 3)
    y = layer(scene())
    with mode():
        look(y)
    y.features.square().sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.abs().sum() > 0


def test_a_tensor_made_without_gradients_has_none():
    layer = spconv.SubMConv3d(4, 5, 3)
    with torch.no_grad():
        y = layer(scene())
    assert not y.features.requires_grad


@pytest.mark.parametrize("key", [None, "key"])
def test_a_tensor_that_inference_has_used_can_be_trained_on(key):
    down, up = spconv.SparseConv3d(4, 5, 3, 2, indice_key="down"), None
    up = spconv.SparseInverseConv3d(5, 4, 3, "down")
    net = spconv.SparseSequential(spconv.SubMConv3d(4, 4, 3, indice_key=key), down, up)
    x = scene()
    with torch.inference_mode():
        expected = net(x).features.clone()
    y = net(x).features
    y.sum().backward()
    torch.testing.assert_close(y, expected)
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_an_edit_is_seen_in_inference_mode():
    layer = spconv.SubMConv3d(4, 5, 3)
    with torch.inference_mode():
        x = scene()
        layer(x)
        x.indices[:, 3] = 6 - x.indices[:, 3]
        fresh = spconv.SparseConvTensor(x.features, x.indices.clone(), SHAPE, 1)
        torch.testing.assert_close(layer(x).features, layer(fresh).features)


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_residual_block_can_be_run_again_for_its_gradients(reentrant):
    stem, layer = spconv.SubMConv3d(4, 5, 3), spconv.SubMConv3d(5, 5, 3)

    def block(x):
        y = layer(x)
        return y.replace_feature(torch.relu(y.features + x.features))

    x = scene()
    block(stem(x)).features.square().sum().backward()
    wanted = [p.grad.clone() for p in (*stem.parameters(), *layer.parameters())]
    for parameter in (*stem.parameters(), *layer.parameters()):
        parameter.grad = None
    y = stem(x)
    if reentrant:  # takes and returns tensors alone
        values = checkpoint(
            lambda f: block(y.replace_feature(f)).features, y.features, use_reentrant=True
        )
    else:
        values = checkpoint(block, y, use_reentrant=False).features
    values.square().sum().backward()
    for parameter, grad in zip((*stem.parameters(), *layer.parameters()), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, grad)


def test_copies_share_what_is_written_into_features():
    with torch.no_grad():
        y = spconv.SubMConv3d(4, 5, 3)(scene())
        copy, same = y.shadow_copy(), spconv.SparseSequential(nn.Identity())(y)
        y.features.add_(1)
        assert torch.equal(copy.features, y.features)
        assert torch.equal(same.features, y.features)
        positive = spconv.SparseSequential(nn.ReLU(inplace=True))(y)
        assert torch.equal(positive.features, y.features)
        assert (y.features >= 0).all()


def chain() -> "spconv.SparseSequential":
    return spconv.SparseSequential(
        spconv.SubMConv3d(4, 5, 3), nn.BatchNorm1d(5), nn.ReLU(), spconv.SparseConv3d(5, 6, 2, 2)
    )


@pytest.mark.parametrize("training", [False, True])
def test_a_forward_that_is_put_in_place_of_a_layers_own_is_called(training, monkeypatch):
    net, seen = chain().train(training), []
    for place, module in enumerate(net):
        own = module.forward
        monkeypatch.setattr(
            module, "forward", lambda *x, own=own, place=place: (seen.append(place), own(*x))[1]
        )
    with torch.set_grad_enabled(training):
        net(scene())
    assert seen == [0, 1, 2, 3]


@pytest.mark.parametrize("training", [False, True])
def test_a_forward_that_is_put_into_a_class_is_called(training, monkeypatch):
    net, seen = chain().train(training), []
    for kind in (spconv.conv.SparseConvolution, nn.BatchNorm1d, nn.ReLU):
        own = kind.forward
        monkeypatch.setattr(
            kind,
            "forward",
            lambda self, *x, own=own, **more: (seen.append(type(self)), own(self, *x, **more))[1],
        )
    with torch.set_grad_enabled(training):
        net(scene())
    assert seen == [type(module) for module in net]


@pytest.mark.parametrize("place", [1, 2])
def test_a_hook_on_gradients_is_called(place):
    net, seen = chain(), []
    net[place].register_full_backward_hook(lambda *_: seen.append(place))
    net(scene()).features.sum().backward()
    assert seen == [place]
