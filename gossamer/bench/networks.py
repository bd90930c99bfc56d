"""Whole networks, their rulebooks included: from a scan's voxels to scores, and a training step."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from gossamer.bench.cases import CLASSES, NETWORK_INPUTS, Problem, Values, Work
from gossamer.models.minkunet import MinkUNet
from gossamer.models.second import SECONDEncoder
from gossamer.nn.conv import SparseConvolution
from gossamer.nn.fuse import fuse
from gossamer.nn.linear import Linear
from gossamer.nn.norm import BatchNorm
from gossamer.tensor import SparseTensor

WIDTH = 0.5  # of MinkUNet
LEARNING_RATE = 1e-4


@dataclass(frozen=True)
class Network:
    """A network of one library.

    Args:
        module: its layers.
        call: from features [N, NETWORK_INPUTS] to scores [N, CLASSES], both in the order of the
            scene, or to a bird's-eye view.
        native: brings a tensor shaped like one of the parameters into gossamer's layout.
    """

    module: nn.Module
    call: Callable[[Tensor], Tensor]
    native: Callable[[Tensor], Tensor]


def build(problem: Problem) -> nn.Module:
    """The network of gossamer for a problem, with the same weights and statistics at every call.

    The statistics of its batch norms are those of the scene. Without them the deep layers of a
    fresh network would fade, and comparing outputs would not see what they do.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        minkunet = problem.kind == "minkunet"
        module = (
            MinkUNet(NETWORK_INPUTS, CLASSES, width=WIDTH)
            if minkunet
            else SECONDEncoder(NETWORK_INPUTS)
        )
    # In float64, so that rounding leaves them the same for any number of threads.
    _learn_statistics(module.double(), problem)
    return module.to(problem.dtype)


def network(problem: Problem) -> Network:
    """The network of gossamer on the voxels of a problem; fused, as for inference, in a forward."""
    module = build(problem)
    if problem.case == "network forward":
        module = fuse(module)
    return Network(module, partial(_scores, module, problem), lambda tensor: tensor)


def network_work(problem: Problem, network: Network) -> Work:
    """A forward pass in eval mode, or a training step: loss, gradients, plain descent."""
    features = problem.features()
    if problem.case == "network forward":
        network.module.eval()
        forward = torch.no_grad()(lambda: network.call(features))
        return Work(forward, lambda output: {"output": output})
    network.module.train()
    optimizer = torch.optim.SGD(network.module.parameters(), LEARNING_RATE)
    labels = problem.labels()

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = _loss(network.call(features), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return Work(step, lambda loss: {"loss": loss, **_gradients(network)})


def cost(problem: Problem) -> tuple[int, float]:
    """The pairs of all convolutions, and the useful operations of the case.

    An operation is a multiplication or an addition of a convolution or a linear layer; a training
    step does each three times, but for the gradient of the network's input, which nobody wants.
    """
    pairs: list[int] = []
    products: list[int] = []

    def count(module: nn.Module, inputs: tuple[SparseTensor]) -> None:
        if isinstance(module, SparseConvolution):
            rulebook, _ = module.route(inputs[0].sites)
            pairs.append(rulebook.pair_count())
            products.append(pairs[-1] * module.in_channels * module.out_channels)
        elif isinstance(module, Linear):
            products.append(len(inputs[0]) * module.in_features * module.out_features)

    network = build(problem).eval()
    for module in network.modules():
        module.register_forward_pre_hook(count)
    with torch.no_grad():
        _scores(network, problem, problem.features())
    flops = 2.0 * sum(products)
    if problem.case == "network step":
        flops = 3 * flops - 2.0 * products[0]
    return sum(pairs), flops


def _scores(module: nn.Module, problem: Problem, features: Tensor) -> Tensor:
    scene = problem.scene
    y = module(SparseTensor(features, scene.coords, scene.spatial_shape, 1))
    return y.given_order() if isinstance(y, SparseTensor) else y


def _learn_statistics(module: nn.Module, problem: Problem) -> None:
    norms = [norm for norm in module.modules() if isinstance(norm, BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        _scores(module, problem, problem.features().double())
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def _loss(output: Tensor, labels: Tensor) -> Tensor:
    if output.ndim == 2:
        return functional.cross_entropy(output, labels)
    return output.square().sum() / len(labels)


def _gradients(network: Network) -> Values:
    named = network.module.named_parameters()
    return {
        f"gradient of {name}": network.native(p.grad) for name, p in named if p.grad is not None
    }
