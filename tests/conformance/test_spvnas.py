"""SPVNAS's models, unmodified: only where `run --spvnas CHECKOUT` names a checkout of them."""

# Its modules are there only after what stands above their imports.
# ruff: noqa: E402

import os
import random
import sys
import types

import pytest
import torch
from torch import Tensor, nn

from tests.conformance.libraries import LIBRARY, TORCHSPARSE

CHECKOUT = os.environ.get("CONFORMANCE_SPVNAS", "")
if LIBRARY != "gossamer" or TORCHSPARSE != "2.1" or not CHECKOUT:
    pytest.skip("no checkout of SPVNAS is named", allow_module_level=True)


def scatter_mean(src: Tensor, index: Tensor, dim: int = 0) -> Tensor:
    """[max + 1, C]: what SPVNAS takes from torch_scatter, of which there are no wheels."""
    assert dim == 0
    index = index.reshape(-1)  # which may be a column
    rows = int(index.max()) + 1
    total = src.new_zeros(rows, src.shape[1]).index_add(0, index, src)
    return total / torch.bincount(index, minlength=rows).clamp(min=1).unsqueeze(1)


try:
    import torch_scatter
except ImportError:
    torch_scatter = sys.modules["torch_scatter"] = types.ModuleType("torch_scatter")
    torch_scatter.scatter_mean = scatter_mean
sys.path.append(CHECKOUT)

from core.models.semantic_kitti.minkunet import MinkUNet
from core.models.semantic_kitti.spvcnn import SPVCNN
from core.models.semantic_kitti.spvnas import SPVNAS
from core.modules.dynamic_sparseop import SparseDynamicConv3d
from torchsparse import SparseTensor

from tests.conformance import clouds
from tests.conformance.clouds import Cloud, cloud

# Built and never called.
IDLE = {"MinkUNet": ("point_transforms",), "SPVCNN": (), "SPVNAS": ()}
CLASSES = 5


def minkunet() -> nn.Module:
    torch.manual_seed(0)
    return MinkUNet(cr=0.25, num_classes=CLASSES)


def spvcnn() -> nn.Module:
    torch.manual_seed(0)
    return SPVCNN(cr=0.25, num_classes=CLASSES, pres=0.05, vres=0.05)


def supernet(seed: int = 0) -> SPVNAS:
    torch.manual_seed(seed)
    random.seed(seed)
    net = SPVNAS(CLASSES, macro_depth_constraint=1, pres=0.05, vres=0.05)
    net.random_sample()
    return net


def segment(net: nn.Module, scene: Cloud) -> Tensor:
    rows = torch.cat([scene.batch[:, None], scene.places.long()], dim=1).int()
    return net(SparseTensor(scene.features, rows))


def scan() -> Cloud:
    """Voxels, each once: what its dataset gives."""
    return cloud(whole=True)


@pytest.mark.parametrize("build", [minkunet, spvcnn, supernet])
def test_its_numbers_are_those_of_dictionaries(build):
    clouds.check_numbers(build(), segment, scan())


@pytest.mark.parametrize("build", [minkunet, spvcnn])
def test_every_parameter_gets_a_gradient(build):
    net = build()
    clouds.check_gradients(net, segment, scan(), IDLE[type(net).__name__])


@pytest.mark.parametrize("build", [minkunet, spvcnn])
def test_the_order_of_voxels_does_not_matter(build):
    clouds.check_order(build(), segment, scan())


@pytest.mark.parametrize("seed", [1, 2])
def test_every_part_of_the_supernet_that_is_chosen_gets_a_gradient(seed):
    net = supernet(seed).train()
    segment(net, scan()).square().mean().backward()
    for name, module in net.named_modules():
        if isinstance(module, SparseDynamicConv3d) and module.kernel.grad is not None:
            grad = module.kernel.grad
            assert grad.isfinite().all() and grad.any(), name
            assert not grad[..., module.runtime_outc :].any(), name
    learned = [p for p in net.parameters() if p.grad is not None]
    assert len(learned) > len(list(net.parameters())) // 2


def test_a_network_cut_out_of_the_supernet_computes_the_same():
    net = supernet().eval()
    with torch.no_grad():
        expected = segment(net, scan())
        alone = net.determinize().eval()
        y = segment(alone, scan())
    assert not any(isinstance(module, SparseDynamicConv3d) for module in alone.modules())
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-5 * expected.abs().max().item())
    clouds.check_gradients(alone, segment, scan())
