"""Dtypes, autocast and eval-mode gradients of the MinkowskiEngine layers."""

import pytest
import torch
from torch import nn

from gossamer.compat.minkowski.MinkowskiChannelwiseConvolution import (
    MinkowskiChannelwiseConvolution,
)
from gossamer.compat.minkowski.MinkowskiConvolution import (
    MinkowskiConvolution,
    MinkowskiConvolutionTranspose,
    MinkowskiGenerativeConvolutionTranspose,
)
from gossamer.compat.minkowski.MinkowskiPooling import (
    MinkowskiAvgPooling,
    MinkowskiGlobalAvgPooling,
    MinkowskiMaxPooling,
    MinkowskiPoolingTranspose,
)
from gossamer.compat.minkowski.MinkowskiSparseTensor import SparseTensor
from gossamer.compat.minkowski.MinkowskiTensor import SparseTensorQuantizationMode
from tests.compat import minkowski_by_hand as hand

HALF = [torch.float16, torch.bfloat16]
LAYERS = {
    "conv": lambda: MinkowskiConvolution(3, 3, 3, bias=True, dimension=2),
    "strided": lambda: MinkowskiConvolution(3, 3, 2, 2, bias=True, dimension=2),
    "one": lambda: MinkowskiConvolution(3, 3, 1, bias=True, dimension=2),
    "generative": lambda: MinkowskiGenerativeConvolutionTranspose(3, 3, 2, 1, dimension=2),
    "channelwise": lambda: MinkowskiChannelwiseConvolution(3, 3, bias=True, dimension=2),
    "avg": lambda: MinkowskiAvgPooling(2, 2, dimension=2),
    "max": lambda: MinkowskiMaxPooling(3, 2, dimension=2),
    "unpool": lambda: MinkowskiPoolingTranspose(2, 1, dimension=2),
    "global": MinkowskiGlobalAvgPooling,
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, *HALF])
def test_a_layer_computes_in_the_dtype_of_its_input(backend, name, dtype):
    layer = LAYERS[name]().to(dtype)
    wide = LAYERS[name]().double()
    wide.load_state_dict(layer.state_dict())
    x = hand.tensor(2)
    y = layer(SparseTensor(x.F.to(dtype), x.C))
    wanted = wide(SparseTensor(x.F.to(dtype).double(), x.C))
    assert y.dtype == dtype
    error = 20 * torch.finfo(dtype).eps
    torch.testing.assert_close(y.F.double(), wanted.F, rtol=error, atol=error)


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("name", ["conv", "strided", "one", "generative", "channelwise"])
def test_under_autocast_a_convolution_gives_what_autocast_asks_for(backend, name, dtype):
    layer, x = LAYERS[name](), hand.tensor(2, dtype=torch.float32)
    x.requires_grad_()
    with torch.autocast("cpu", dtype):
        y = layer(x)
    assert y.dtype == dtype
    y.F.float().square().sum().backward()
    assert layer.kernel.grad.dtype == x.F.grad.dtype == torch.float32
    error = 30 * torch.finfo(dtype).eps
    torch.testing.assert_close(y.F.float(), layer(x).F, rtol=error, atol=error)


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_in_eval_mode_are_those_of_training(name):
    layer, x = LAYERS[name]().double(), hand.tensor(2)
    features = x.F.clone().requires_grad_()
    grads = []
    for mode in (True, False):
        layer.train(mode)
        y = layer(SparseTensor(features, x.C))
        grads.append(torch.autograd.grad(y.F.square().sum(), features)[0])
    assert torch.equal(*grads) and grads[0].abs().sum() > 0


def test_a_mean_of_half_numbers_does_not_pass_their_range():
    rows = torch.zeros(1000, 2, dtype=torch.int32)
    mode = SparseTensorQuantizationMode.UNWEIGHTED_AVERAGE
    x = SparseTensor(torch.full((1000, 1), 200.0).half(), rows, quantization_mode=mode)
    assert x.F.item() == 200


def test_a_network_trains_whichever_way_rows_come():
    torch.manual_seed(0)
    x = hand.tensor(3, rows=60, dtype=torch.float32)
    down = MinkowskiConvolution(3, 8, 2, 2, dimension=3)
    net = nn.ModuleList([down, MinkowskiConvolutionTranspose(8, 3, 2, 2, dimension=3)])
    optimizer = torch.optim.Adam(net.parameters(), 0.02)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = (net[1](net[0](x)).F - x.F).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_what_was_built_without_gradients_serves_with_them():
    x = hand.tensor(2)
    conv = MinkowskiConvolution(3, 2, 3, 2, dimension=2).double()
    with torch.inference_mode():
        first = conv(x).F.clone()
    y = conv(x)
    y.F.sum().backward()
    torch.testing.assert_close(y.F.detach(), first)
    assert conv.kernel.grad.abs().sum() > 0
