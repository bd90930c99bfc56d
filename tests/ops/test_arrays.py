"""Memory for large results."""

import pytest
import torch
from torch import nn

from gossamer import SparseTensor
from gossamer import nn as gnn
from gossamer.ops.arrays import LARGE, PAGE, fresh

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("bytes_more", [-64, 0, 64])
def test_a_large_result_lies_on_whole_pages_and_is_no_view(dtype, bytes_more):
    rows = (LARGE + bytes_more) // dtype.itemsize // 8
    x = fresh(rows, 8, dtype)
    assert x.shape == (rows, 8) and x.dtype == dtype and x.is_contiguous()
    assert not x._is_view()
    assert bytes_more < 0 or x.data_ptr() % PAGE == 0
    x.fill_(3)
    assert x.sum(dtype=torch.float64) == 3 * x.numel()


@pytest.mark.parametrize("layer", ["conv", "norm", "linear"])
@pytest.mark.parametrize("rows", [100, 20_000])
def test_the_result_of_a_layer_can_be_written_into(cpu_backend, layer, rows):
    """As activations with inplace=True do, however large it is."""
    cells = torch.arange(rows).unsqueeze(1)
    coords = torch.cat([torch.zeros_like(cells), cells, cells % 7, cells % 5], 1)
    features = torch.randn(rows, 64, requires_grad=True)
    kinds = {
        "conv": gnn.SubMConv3d(64, 64, 1),
        "norm": gnn.BatchNorm(64),
        "linear": gnn.Linear(64, 64),
    }
    torch.relu_(kinds[layer](SparseTensor(features, coords)).features).square().sum().backward()
    written = features.grad.clone()
    features.grad = None
    torch.relu(kinds[layer](SparseTensor(features, coords)).features).square().sum().backward()
    torch.testing.assert_close(written, features.grad, rtol=1e-4, atol=1e-5)


def test_a_chain_of_torch_may_write_into_large_results(cpu_backend):
    layers = nn.Sequential(gnn.BatchNorm(64), gnn.ReLU(inplace=True))
    cells = torch.arange(20_000).unsqueeze(1)
    coords = torch.cat([torch.zeros_like(cells), cells], 1)
    x = SparseTensor(torch.randn(20_000, 64, requires_grad=True), coords)
    layers(x).features.sum().backward()
