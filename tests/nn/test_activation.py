"""Activations are torch's, on the features, with the sites as they were."""

import inspect

import pytest
import torch
from torch import nn

from gossamer import SparseTensor
from gossamer import nn as gnn
from gossamer.nn import activation
from tests.scenes import scene

ARGUMENTS = {
    "Linear": (4, 7),
    "Softmax": (1,),
    "LogSoftmax": (1,),
    "Softmin": (1,),
    "Threshold": (0.1, 20),
}
# Of torch.nn's activations these mix positions or need targets, so they are no map of one vector.
ELSEWHERE = {"MultiheadAttention", "Softmax2d", "AdaptiveLogSoftmaxWithLoss"}


def torch_activations() -> set[str]:
    module = inspect.getmodule(nn.ReLU)
    return {
        name
        for name, value in vars(nn).items()
        if inspect.isclass(value) and inspect.getmodule(value) is module
    }


def test_there_is_one_for_every_activation_of_torch():
    assert torch_activations() - ELSEWHERE <= set(activation.__all__) <= set(gnn.__all__)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("name", activation.__all__)
def test_it_does_to_the_features_what_torch_does(name, train):
    arguments = ARGUMENTS.get(name, ())
    ours, theirs = getattr(gnn, name)(*arguments).train(train), getattr(nn, name)(*arguments)
    theirs.load_state_dict(ours.state_dict())
    theirs.train(train)
    x = scene(channels=4)
    leaf = x.features.clone().requires_grad_()
    other = x.features.clone().requires_grad_()
    torch.manual_seed(3)
    y = ours(x.with_features(leaf))
    torch.manual_seed(3)
    expected = theirs(other)
    assert isinstance(y, SparseTensor)
    assert y.sites is x.sites
    assert torch.equal(y.features, expected)
    y.features.sum().backward()
    expected.sum().backward()
    assert torch.equal(leaf.grad, other.grad)
    assert isinstance(ours, getattr(nn, name))


@pytest.mark.parametrize("name", activation.__all__)
def test_it_takes_a_plain_tensor_as_torch_does(name):
    layer = getattr(gnn, name)(*ARGUMENTS.get(name, ())).eval()
    x = scene(channels=4)
    assert torch.equal(layer(x.features), layer(x).features)


def test_in_place_is_the_callers_own_features():
    x = scene()
    y = gnn.ReLU(inplace=True)(x)
    assert y.features.data_ptr() == x.features.data_ptr()
    assert (x.features >= 0).all()
